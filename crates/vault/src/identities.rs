use std::{fmt, fs, path::Path};

use age::{Identity as _, secrecy::ExposeSecret as _, secrecy::SecretString};
use age_core::format::Stanza;
use zeroize::Zeroizing;

use crate::{
    PASSPHRASE_WORK_MAX, VaultError,
    header::{FileKey, Header, is_age},
};

/// What belongs in a file of identities.
const EXPECTED: &str = "age identity (AGE-SECRET-KEY-…)";

/// What opens files: secret keys, a passphrase, or both. Wiped when dropped.
#[derive(Default)]
pub struct Identities {
    keys: Vec<age::x25519::Identity>,
    passphrase: Option<age::scrypt::Identity>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passphrase = self.passphrase.as_ref().map_or("", |_| " and a passphrase");
        write!(f, "Identities({} keys{passphrase})", self.keys.len())
    }
}

impl Identities {
    /// Adds all keys of a file: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`VaultError`] when it cannot be read, is itself encrypted, has a line that is no key, or has none.
    pub fn add_file(&mut self, path: &Path) -> Result<(), VaultError> {
        let file = path.display().to_string();
        let text = fs::read(path).map(Zeroizing::new);
        let text = text.map_err(|source| VaultError::Keys {
            file: file.clone(),
            source,
        })?;
        self.add_lines(&text, file)
    }

    fn add_lines(&mut self, text: &[u8], file: String) -> Result<(), VaultError> {
        if is_age(text) {
            return Err(VaultError::KeysEncrypted { file });
        }
        let before = self.keys.len();
        for (line, text) in text.split(|byte| *byte == b'\n').enumerate() {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = std::str::from_utf8(text).ok();
            let key = key.and_then(|text| text.parse::<age::x25519::Identity>().ok());
            self.keys.push(key.ok_or_else(|| VaultError::BadLine {
                file: file.clone(),
                line: line + 1,
                expected: EXPECTED,
            })?);
        }
        let expected = EXPECTED;
        match self.keys.len() > before {
            true => Ok(()),
            false => Err(VaultError::NoKeys { file, expected }),
        }
    }

    /// Adds a passphrase; only one is kept.
    ///
    /// # Errors
    /// [`VaultError::EmptyPassphrase`].
    pub fn set_passphrase(&mut self, passphrase: &Zeroizing<String>) -> Result<(), VaultError> {
        if passphrase.is_empty() {
            return Err(VaultError::EmptyPassphrase);
        }
        let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.as_str()));
        identity.set_max_work_factor(PASSPHRASE_WORK_MAX);
        self.passphrase = Some(identity);
        Ok(())
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.passphrase.is_none()
    }

    /// The key of a file.
    pub(crate) fn unwrap(&self, header: &Header) -> Result<FileKey, VaultError> {
        let key = if header.has_passphrase() {
            let passphrase = self
                .passphrase
                .as_ref()
                .ok_or(VaultError::NeedsPassphrase)?;
            passphrase.unwrap_stanzas(&header.stanzas)
        } else if self.keys.is_empty() {
            return Err(VaultError::NeedsIdentity);
        } else {
            let known = |stanza: &&Stanza| stanza.tag == "X25519";
            let mut stanzas = header.stanzas.iter().filter(known);
            stanzas.find_map(|stanza| self.keys.iter().find_map(|key| key.unwrap_stanza(stanza)))
        };
        let key = key.ok_or(VaultError::NotForUs)?.map_err(refused)?;
        let key = FileKey::of(key);
        header.check(&key)?;
        Ok(key)
    }
}

fn refused(error: age::DecryptError) -> VaultError {
    match error {
        age::DecryptError::ExcessiveWork { required, .. } => VaultError::TooMuchWork {
            required,
            max: PASSPHRASE_WORK_MAX,
        },
        // Only a passphrase says so: a key that does not fit is passed over.
        age::DecryptError::DecryptionFailed => VaultError::WrongPassphrase,
        _ => VaultError::BadHeader,
    }
}

/// Makes a key: the secret one, as a line of a file of identities, and its public one, `age1…`.
pub fn keygen() -> (Zeroizing<String>, String) {
    let key = age::x25519::Identity::generate();
    let secret = Zeroizing::new(key.to_string().expose_secret().to_owned());
    (secret, key.to_public().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_keys_are_named_by_number_only() {
        let (secret, _) = keygen();
        let text = format!("# mine\n\n{}\nnot-a-key\n", *secret);
        let error = Identities::default().add_lines(text.as_bytes(), "f".into());
        let error = error.unwrap_err();
        assert!(matches!(error, VaultError::BadLine { line: 4, .. }));
        assert!(!error.to_string().contains("not-a-key"));
        let none = Identities::default().add_lines(b"# nothing\n", "f".into());
        assert!(matches!(none, Err(VaultError::NoKeys { .. })));
        let sealed = Identities::default().add_lines(b"age-encryption.org/v1\n", "f".into());
        assert!(matches!(sealed, Err(VaultError::KeysEncrypted { .. })));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let (secret, _) = keygen();
        let mut identities = Identities::default();
        identities.add_lines(secret.as_bytes(), "f".into()).unwrap();
        identities
            .set_passphrase(&Zeroizing::new("tell nobody".to_owned()))
            .unwrap();
        assert_eq!(
            format!("{identities:?}"),
            "Identities(1 keys and a passphrase)"
        );
    }
}
