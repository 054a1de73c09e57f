//! Whom what is uploaded is encrypted for.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use haul_transfer::{Protection, escaped};
use haul_vault::{Recipients, VaultError, Zeroizing};

/// Longest passphrase that is read from a file, in bytes.
const PASSPHRASE_LEN_MAX: u64 = 4096;

/// Content protection.
#[derive(Debug, clap::Args)]
pub(crate) struct ProtectArgs {
    /// Encrypt what is uploaded for the holder of this key (age1…), or of those in a file, before it
    /// leaves this machine: FILE becomes FILE.age there; may be repeated
    #[arg(long, value_name = "KEY|@FILE", group = "protection")]
    pub(crate) protect_to: Vec<String>,
    /// The same for whoever knows a passphrase, which is asked for; takes a second for each file
    #[arg(long, group = "protection")]
    pub(crate) protect_passphrase: bool,
    /// The same, with the first line of this file as passphrase
    #[arg(
        long,
        value_name = "FILE",
        group = "protection",
        hide_short_help = true
    )]
    pub(crate) protect_passphrase_file: Option<PathBuf>,
    /// What the names of files that are encrypted end in
    #[arg(long, value_name = "SUFFIX", default_value = ".age", requires = "protection",
          value_parser = crate::args::suffix, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) protect_suffix: String,
}

/// Why there can be no protection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtectError {
    /// A key that is none, and what else keys can be.
    #[error(transparent)]
    Keys(#[from] VaultError),
    /// The passphrase is not to be had.
    #[error("cannot read the passphrase from {path}: {source}; check its name and permissions")]
    File {
        /// As typed, escaped.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody to ask.
    #[error("there is no terminal to ask for the passphrase on; use --protect-passphrase-file")]
    NoTerminal,
    /// A slip of the finger, most likely.
    #[error("the two passphrases differ; nothing was sent")]
    Differ,
}

impl ProtectArgs {
    /// What was asked for, if anything.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub(crate) fn resolve(&self) -> Result<Option<Protection>, ProtectError> {
        let recipients = if let Some(path) = &self.protect_passphrase_file {
            Recipients::passphrase(&first_line(path)?)?
        } else if self.protect_passphrase {
            Recipients::passphrase(&ask()?)?
        } else if self.protect_to.is_empty() {
            return Ok(None);
        } else {
            let mut recipients = Recipients::default();
            for key in &self.protect_to {
                match key.strip_prefix('@') {
                    Some(file) => recipients.add_file(Path::new(file))?,
                    None => recipients.add(key)?,
                }
            }
            recipients
        };
        Ok(Some(Protection {
            recipients: Arc::new(recipients),
            suffix: self.protect_suffix.clone(),
        }))
    }
}

/// Asked for twice: what it is nobody could tell later.
fn ask() -> Result<Zeroizing<String>, ProtectError> {
    let ask = |prompt| {
        let answer = rpassword::prompt_password(prompt).map(Zeroizing::new);
        answer.map_err(|_| ProtectError::NoTerminal)
    };
    let passphrase = ask("Passphrase to encrypt with: ")?;
    match *ask("Again: ")? == *passphrase {
        true => Ok(passphrase),
        false => Err(ProtectError::Differ),
    }
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, ProtectError> {
    let failed = |source| ProtectError::File {
        path: escaped(path.as_os_str().as_encoded_bytes()),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut line = Zeroizing::new(String::with_capacity(PASSPHRASE_LEN_MAX as usize));
    BufReader::new(file.take(PASSPHRASE_LEN_MAX))
        .read_line(&mut line)
        .map_err(failed)?;
    let len = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(len);
    Ok(line)
}
