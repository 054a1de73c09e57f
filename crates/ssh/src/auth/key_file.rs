//! Private key files: what can be known of one without its passphrase.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

use super::agent::string;
use crate::host_key::blob_type;

/// Largest key file read; a 16384-bit RSA key takes some 13 KB.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// First bytes of the format `ssh-keygen` writes (OpenSSH, PROTOCOL.key).
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// A key file that could be read.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// The private key as it stands in the file; `None` if only the public key is there, which can
    /// still select a key of the agent.
    pub(super) private: Option<Zeroizing<String>>,
    /// The public key, if it can be known without the passphrase.
    pub(super) public: Option<Vec<u8>>,
    /// Whether a passphrase is needed.
    pub(super) encrypted: bool,
}

impl KeyFile {
    /// Reads a private key, and its public key from within it or from `path.pub` beside it.
    ///
    /// # Errors
    /// The kernel's, or `PermissionDenied` for a key other users could read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".pub");
        let beside = || read_public(Path::new(&name));
        let text = match read_private(path) {
            Ok(text) => text,
            Err(e) => {
                let public = Some(beside().ok_or(e)?);
                return Ok(Self {
                    path: path.to_owned(),
                    private: None,
                    public,
                    encrypted: false,
                });
            }
        };
        if let Some(blob) = parse_public(&text) {
            let (path, public) = (path.to_owned(), Some(blob));
            return Ok(Self {
                path,
                private: None,
                public,
                encrypted: false,
            });
        }
        let (public, encrypted) = match inspect(&text) {
            Some((blob, encrypted)) => (Some(blob), encrypted),
            None => (beside(), text.contains("ENCRYPTED")),
        };
        Ok(Self {
            path: path.to_owned(),
            private: Some(text),
            public,
            encrypted,
        })
    }

    /// The public key as a line of text, the form libssh2 wants it in.
    pub(super) fn public_line(&self) -> Option<String> {
        let blob = self.public.as_ref()?;
        Some(format!(
            "{} {}",
            blob_type(blob)?,
            Base64::encode_string(blob)
        ))
    }
}

fn read_private(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let own = metadata.uid() == rustix::process::getuid().as_raw();
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    let is_private = parse_public(&text).is_none();
    if is_private && own && metadata.mode() & 0o077 != 0 {
        let reason = "other users can read it: chmod 600 it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(text)
}

fn read_public(path: &Path) -> Option<Vec<u8>> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    parse_public(&text)
}

/// Reads `type base64 comment`.
fn parse_public(text: &str) -> Option<Vec<u8>> {
    let mut words = text.lines().next()?.split_ascii_whitespace();
    let (name, digits) = (words.next()?, words.next()?);
    let blob = Base64::decode_vec(digits).ok()?;
    (blob_type(&blob)? == name).then_some(blob)
}

/// The public key inside a private key of OpenSSH's format, which is never encrypted, and whether
/// the rest is. `None` for other formats.
fn inspect(text: &str) -> Option<(Vec<u8>, bool)> {
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let mut digits = Zeroizing::new(body.to_owned());
    digits.retain(|c| !c.is_ascii_whitespace());
    let bytes = Zeroizing::new(Base64::decode_vec(&digits).ok()?);
    let (cipher, rest) = string(bytes.strip_prefix(MAGIC)?)?;
    let (_kdf, rest) = string(rest)?;
    let (_kdf_options, rest) = string(rest)?;
    let (_count, rest) = rest.split_first_chunk::<4>()?;
    let (blob, _private) = string(rest)?;
    Some((blob.to_vec(), cipher != b"none"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn keygen(arguments: &[&str], path: &Path) {
        let mut command = Command::new("ssh-keygen");
        let output = command
            .arg("-q")
            .args(arguments)
            .arg("-f")
            .arg(path)
            .output();
        let output = output.expect("ssh-keygen must be installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn the_public_key_and_encryption_show_without_a_passphrase() {
        let directory = tempfile::tempdir().unwrap();
        for (kind, format, passphrase, known) in [
            ("ed25519", "RFC4716", "", true),
            ("ed25519", "RFC4716", "secret", true),
            ("ecdsa", "RFC4716", "secret", true),
            ("rsa", "PEM", "", false),
            ("rsa", "PEM", "secret", false),
            ("ecdsa", "PKCS8", "secret", false),
        ] {
            let path = directory
                .path()
                .join(format!("{kind}-{format}-{passphrase}"));
            keygen(&["-t", kind, "-m", format, "-N", passphrase], &path);
            let public = path.with_extension("pub");
            let expected = read_public(&public).unwrap();
            assert_eq!(KeyFile::read(&path).unwrap().public, Some(expected.clone()));
            let text = std::fs::read_to_string(&public).unwrap();
            std::fs::remove_file(&public).unwrap();
            let key = KeyFile::read(&path).unwrap();
            assert_eq!(key.encrypted, !passphrase.is_empty(), "{kind} {format}");
            assert_eq!(key.public.is_some(), known, "{kind} {format}");
            if let Some(line) = key.public_line() {
                assert!(text.starts_with(&line), "{line}");
            }
        }
    }

    #[test]
    fn a_public_key_alone_is_kept_and_an_exposed_private_key_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        keygen(&["-t", "ed25519", "-N", ""], &path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::rename(path.with_extension("pub"), directory.path().join("public")).unwrap();
        let error = KeyFile::read(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let public = KeyFile::read(&directory.path().join("public")).unwrap();
        assert!(public.private.is_none() && public.public.is_some());
    }
}
