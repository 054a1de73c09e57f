//! The server's own key, and the keys of those who may log in.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PublicKey,
    ssh_key::{
        LineEnding,
        rand_core::{TryCryptoRng, TryRng, UnwrapErr},
    },
};

use crate::log;

/// Largest authorized keys file that is read: some thousand keys.
const AUTHORIZED_KEYS_BYTES_MAX: u64 = 4 << 20;

/// Reads the host key, or makes one that only its owner can read.
pub(crate) fn host_key(file: &Path) -> anyhow::Result<PrivateKey> {
    if file.exists() {
        return PrivateKey::read_openssh_file(file)
            .with_context(|| format!("host key {}", file.display()));
    }
    let key = PrivateKey::random(&mut UnwrapErr(SystemRng), Algorithm::Ed25519)
        .context("making a host key")?;
    let text = key
        .to_openssh(LineEnding::LF)
        .context("making a host key")?;
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("host key folder {}", folder.display()))?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .with_context(|| format!("host key {}", file.display()))?;
    Ok(key)
}

/// What clients pin: `SHA256:…`.
pub(crate) fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

/// Whether `key` is listed. A line with options this server does not enforce grants nothing: the
/// option was meant to restrict.
pub(crate) fn is_authorized(file: &Path, key: &PublicKey) -> bool {
    match listed(file, key) {
        Ok(answer) => answer,
        Err(error) => {
            log(&format!("authorized keys {}: {error:#}", file.display()));
            false
        }
    }
}

fn listed(file: &Path, key: &PublicKey) -> anyhow::Result<bool> {
    let size = fs::metadata(file)?.len();
    anyhow::ensure!(size <= AUTHORIZED_KEYS_BYTES_MAX, "larger than 4 MiB");
    let text = fs::read_to_string(file)?;
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let Some((options, listed)) = parse(line) else {
            continue;
        };
        if listed.key_data() != key.key_data() {
            continue;
        }
        let harmless = |option: &str| option == "restrict" || option.starts_with("no-");
        if options.is_empty() || options.split(',').all(harmless) {
            return Ok(true);
        }
        log("a listed key has options that only sshd enforces: it grants nothing here");
    }
    Ok(false)
}

/// Options and key of a line; the options end at the first space outside quotes.
fn parse(line: &str) -> Option<(&str, PublicKey)> {
    if let Ok(key) = line.parse() {
        return Some(("", key));
    }
    let mut quoted = false;
    let (options, key) = line.split_once(|c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    })?;
    Some((options, key.parse().ok()?))
}

/// The operating system's generator, in the form the key crate asks for.
struct SystemRng;

impl TryRng for SystemRng {
    type Error = getrandom::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        getrandom::u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        getrandom::u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        getrandom::fill(out)
    }
}

impl TryCryptoRng for SystemRng {}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_key() -> PrivateKey {
        PrivateKey::random(&mut UnwrapErr(SystemRng), Algorithm::Ed25519).unwrap()
    }

    #[test]
    fn a_host_key_is_made_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/host_key");
        let made = host_key(&file).unwrap();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fingerprint(&host_key(&file).unwrap()), fingerprint(&made));
    }

    #[test]
    fn only_listed_keys_without_unknown_options_may_enter() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorized_keys");
        let (plain, forced, stranger) = (new_key(), new_key(), new_key());
        let line = |key: &PrivateKey| key.public_key().to_openssh().unwrap();
        let text = format!(
            "# people\n\ngarbage line\nrestrict,no-pty {}\ncommand=\"id\" {}\n",
            line(&plain),
            line(&forced)
        );
        fs::write(&file, text).unwrap();
        assert!(is_authorized(&file, plain.public_key()));
        assert!(!is_authorized(&file, forced.public_key()));
        assert!(!is_authorized(&file, stranger.public_key()));
        assert!(!is_authorized(
            &folder.path().join("missing"),
            plain.public_key()
        ));
    }
}
