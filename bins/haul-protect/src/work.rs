//! One file after the other: what fails is told of, and the others are done all the same.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use haul_vault::{
    Identities, Opener, Recipients, VaultError, add_recipients, inspect, keygen, seal,
};

use crate::{
    args::{AddArgs, Command, DecryptArgs, EncryptArgs, KeygenArgs, OutputArgs},
    failure::{Failure, shown},
    keys, place,
};

/// Permissions of what has a secret in it, or whose source says nothing of permissions.
const PRIVATE: u32 = 0o600;

/// Does what was asked for.
///
/// # Errors
/// [`Failure`]: the cause, or, of several files, that some failed.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Encrypt(args) => encrypt(args),
        Command::Decrypt(args) => decrypt(args),
        Command::Inspect(args) => each(&args.file, look),
        Command::AddRecipient(args) => add(args),
        Command::Keygen(args) => make_key(args),
    }
}

/// Does all of several files, whatever becomes of the others.
fn each(files: &[PathBuf], work: impl Fn(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    if let [file] = files {
        return work(file);
    }
    let failures = files.iter().filter_map(|file| work(file).err());
    let failed = failures.inspect(Failure::say).count();
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Some {
            failed,
            all: files.len(),
        }),
    }
}

fn check_output(files: &[PathBuf], output: &OutputArgs) -> Result<(), Failure> {
    match output.output.is_some() && files.len() > 1 {
        true => Err(Failure::OneOutput),
        false => Ok(()),
    }
}

fn of_file(path: &Path) -> impl Fn(VaultError) -> Failure {
    move |source| Failure::File {
        path: path.to_owned(),
        source,
    }
}

fn encrypt(args: &EncryptArgs) -> Result<(), Failure> {
    check_output(&args.file, &args.output)?;
    let recipients = keys::recipients(&args.for_whom, &args.passphrase)?;
    each(&args.file, |file| encrypt_one(file, args, &recipients))
}

fn encrypt_one(file: &Path, args: &EncryptArgs, recipients: &Recipients) -> Result<(), Failure> {
    let path = place::beside(file, &args.output, place::with_suffix)?;
    let (mut input, mode) = place::open(file)?;
    let mode = mode.unwrap_or(PRIVATE);
    place::write(&path, args.output.force, mode, |out| {
        let sealed = seal(recipients, &mut input, out);
        sealed.map(drop).map_err(of_file(file))
    })
}

fn decrypt(args: &DecryptArgs) -> Result<(), Failure> {
    check_output(&args.file, &args.output)?;
    let identities = keys::identities(&args.identity, &args.passphrase)?;
    each(&args.file, |file| decrypt_one(file, args, &identities))
}

fn decrypt_one(file: &Path, args: &DecryptArgs, identities: &Identities) -> Result<(), Failure> {
    let path = place::beside(file, &args.output, place::without_suffix)?;
    let (input, _) = place::open(file)?;
    place::write(&path, args.output.force, args.mode, |out| {
        let opened = Opener::new(input, identities).and_then(|mut opener| opener.copy_to(out));
        opened.map(drop).map_err(of_file(file))
    })
}

fn look(file: &Path) -> Result<(), Failure> {
    let (mut input, _) = place::open(file)?;
    let seen = inspect(&mut input).map_err(of_file(file))?;
    let rest = io::copy(&mut input, &mut io::sink());
    let len = seen.header_len + rest.map_err(|source| of_file(file)(source.into()))?;
    let contents = match seen.plain_len(len) {
        Some(len) => format!("{len} bytes of contents"),
        None => "cut short".to_owned(),
    };
    let work = seen.passphrase_work;
    let work = work.map_or_else(String::new, |work| format!(" (work 2^{work})"));
    let kinds: Vec<_> = seen
        .stanzas
        .iter()
        .map(|kind| kind.escape_debug().to_string())
        .collect();
    let line = format!(
        "{}: age v1, for {}{work}; {contents}\n",
        shown(file),
        kinds.join(", ")
    );
    print(&line)
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let identities = keys::of_files(&args.identity)?;
    let recipients = keys::named(&args.for_whom)?;
    if recipients.is_empty() {
        return Err(VaultError::NoRecipient.into());
    }
    each(&args.file, |file| add_one(file, &identities, &recipients))
}

fn add_one(file: &Path, identities: &Identities, recipients: &Recipients) -> Result<(), Failure> {
    let (mut input, mode) = place::open(file)?;
    // A link stays one: what it leads to is replaced.
    let path = match mode {
        None => file.to_owned(),
        Some(_) => fs::canonicalize(file).map_err(|source| Failure::Input {
            path: file.to_owned(),
            source,
        })?,
    };
    place::write(&path, true, mode.unwrap_or(PRIVATE), |out| {
        add_recipients(&mut input, out, identities, recipients).map_err(of_file(file))
    })
}

fn make_key(args: &KeygenArgs) -> Result<(), Failure> {
    let (secret, public) = keygen();
    let path = args.output.as_deref().unwrap_or_else(|| Path::new("-"));
    place::write(path, false, PRIVATE, |out| {
        let written = writeln!(out, "# recipient: {public}\n{}", *secret);
        written.map_err(|source| Failure::Output {
            path: path.to_owned(),
            source,
        })
    })?;
    match args.output {
        Some(_) => print(&format!("{public}\n")),
        None => Ok(()),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|source| Failure::Output {
        path: "-".into(),
        source,
    })
}
