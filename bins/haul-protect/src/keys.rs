//! Recipients, identities and passphrases, as the command line names them.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use haul_vault::{Identities, Recipients, VaultError};
use zeroize::Zeroizing;

use crate::{
    args::{ForWhom, PassphraseArgs},
    failure::Failure,
};

/// Longest passphrase that is read from a file, in bytes.
const PASSPHRASE_LEN_MAX: u64 = 4096;

/// Whom to encrypt for.
pub(crate) fn recipients(
    for_whom: &ForWhom,
    passphrase: &PassphraseArgs,
) -> Result<Recipients, Failure> {
    let keys = named(for_whom)?;
    match read_passphrase(passphrase, true)? {
        Some(_) if !keys.is_empty() => Err(Failure::PassphraseAndKeys),
        Some(passphrase) => Ok(Recipients::passphrase(&passphrase)?),
        None if keys.is_empty() => Err(VaultError::NoRecipient.into()),
        None => Ok(keys),
    }
}

/// The keys that were named.
pub(crate) fn named(for_whom: &ForWhom) -> Result<Recipients, Failure> {
    let mut recipients = Recipients::default();
    for key in &for_whom.recipient {
        recipients.add(key)?;
    }
    for file in &for_whom.recipients_file {
        recipients.add_file(file)?;
    }
    Ok(recipients)
}

/// What to decrypt with.
pub(crate) fn identities(
    files: &[PathBuf],
    passphrase: &PassphraseArgs,
) -> Result<Identities, Failure> {
    let mut identities = of_files(files)?;
    if let Some(passphrase) = read_passphrase(passphrase, false)? {
        identities.set_passphrase(&passphrase)?;
    }
    match identities.is_empty() {
        true => Err(Failure::NoKeys),
        false => Ok(identities),
    }
}

/// The keys of these files.
pub(crate) fn of_files(files: &[PathBuf]) -> Result<Identities, Failure> {
    let mut identities = Identities::default();
    for file in files {
        identities.add_file(file)?;
    }
    Ok(identities)
}

/// The passphrase, if there is to be one; asked for twice where a slip of the finger would lose a file.
fn read_passphrase(
    wanted: &PassphraseArgs,
    is_new: bool,
) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = &wanted.passphrase_file {
        return first_line(path).map(Some);
    }
    if !wanted.passphrase {
        return Ok(None);
    }
    let ask = |prompt| {
        let answer = rpassword::prompt_password(prompt).map(Zeroizing::new);
        answer.map_err(|_| Failure::NoTerminal)
    };
    let passphrase = ask("Passphrase: ")?;
    if is_new && *ask("Again: ")? != *passphrase {
        return Err(Failure::PassphrasesDiffer);
    }
    Ok(Some(passphrase))
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |source| Failure::Input {
        path: path.to_owned(),
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
