use std::{fmt, fs, io, path::Path};

use age::secrecy::SecretString;
use age_core::format::Stanza;
use zeroize::Zeroizing;

use crate::{VaultError, header::FileKey};

/// Work that a passphrase is written with, as a power of two: 256 MiB and about a second.
pub const PASSPHRASE_WORK: u8 = 18;
/// Most work that is done to read a file, as a power of two: 4 GiB.
pub const PASSPHRASE_WORK_MAX: u8 = 22;
/// What belongs in a file of recipients.
const EXPECTED: &str = "age recipient";
/// Characters of a text that is no key that are repeated.
const SHOWN_MAX: usize = 80;

/// Whom a file is sealed for: holders of keys, or whoever knows a passphrase.
pub struct Recipients {
    kind: Kind,
}

enum Kind {
    Keys(Vec<age::x25519::Recipient>),
    Passphrase(age::scrypt::Recipient),
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Keys(keys) => write!(f, "Recipients({} keys)", keys.len()),
            Kind::Passphrase(_) => f.write_str("Recipients(passphrase)"),
        }
    }
}

impl Default for Recipients {
    fn default() -> Self {
        Self {
            kind: Kind::Keys(Vec::new()),
        }
    }
}

impl Recipients {
    /// Whoever knows this passphrase. Each file takes about a second and 256 MiB for a moment.
    ///
    /// # Errors
    /// [`VaultError::EmptyPassphrase`].
    pub fn passphrase(passphrase: &Zeroizing<String>) -> Result<Self, VaultError> {
        Self::passphrase_with(passphrase, PASSPHRASE_WORK)
    }

    pub(crate) fn passphrase_with(
        passphrase: &Zeroizing<String>,
        work: u8,
    ) -> Result<Self, VaultError> {
        if passphrase.is_empty() {
            return Err(VaultError::EmptyPassphrase);
        }
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.as_str()));
        recipient.set_work_factor(work);
        Ok(Self {
            kind: Kind::Passphrase(recipient),
        })
    }

    /// Adds the holder of a key, `age1…`.
    ///
    /// # Errors
    /// [`VaultError::BadRecipient`], [`VaultError::SecretRecipient`] or [`VaultError::SshRecipient`] for other
    /// texts; [`VaultError::PassphraseAlone`] beside a passphrase.
    pub fn add(&mut self, text: &str) -> Result<(), VaultError> {
        let key = parse(text.trim())?;
        match &mut self.kind {
            Kind::Keys(keys) => keys.push(key),
            Kind::Passphrase(_) => return Err(VaultError::PassphraseAlone),
        }
        Ok(())
    }

    /// Adds all keys of a file: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`VaultError`] when it cannot be read, has a line that is no key, or has none.
    pub fn add_file(&mut self, path: &Path) -> Result<(), VaultError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| VaultError::Keys {
            file: file.clone(),
            source,
        })?;
        let mut found = false;
        for (line, text) in text.lines().map(str::trim).enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            found = true;
            self.add(text).map_err(|error| match error {
                VaultError::BadRecipient { .. } => VaultError::BadLine {
                    file: file.clone(),
                    line: line + 1,
                    expected: EXPECTED,
                },
                other => other,
            })?;
        }
        let expected = EXPECTED;
        match found {
            true => Ok(()),
            false => Err(VaultError::NoKeys { file, expected }),
        }
    }

    /// Whether there is nobody yet.
    pub fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Keys(keys) if keys.is_empty())
    }

    pub(crate) fn has_passphrase(&self) -> bool {
        matches!(self.kind, Kind::Passphrase(_))
    }

    /// The key of a file, wrapped for each.
    pub(crate) fn wrap(&self, key: &FileKey) -> Result<Vec<Stanza>, VaultError> {
        let wrap = |recipient: &dyn age::Recipient| {
            let wrapped = recipient.wrap_file_key(key.inner());
            // Neither kind of recipient fails, nor has conditions for the others.
            wrapped
                .map(|(stanzas, _)| stanzas)
                .map_err(|error| VaultError::Io(io::Error::other(error.to_string())))
        };
        let mut stanzas = Vec::new();
        match &self.kind {
            Kind::Passphrase(recipient) => stanzas = wrap(recipient)?,
            Kind::Keys(keys) => {
                for key in keys {
                    stanzas.extend(wrap(key)?);
                }
            }
        }
        match stanzas.is_empty() {
            true => Err(VaultError::NoRecipient),
            false => Ok(stanzas),
        }
    }
}

fn parse(text: &str) -> Result<age::x25519::Recipient, VaultError> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err(VaultError::SecretRecipient);
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(VaultError::SshRecipient);
    }
    Err(VaultError::BadRecipient {
        text: text.chars().take(SHOWN_MAX).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_recipients_are_refused_without_repeating_secrets() {
        let mut recipients = Recipients::default();
        let secret = "AGE-SECRET-KEY-1QQQQ";
        let error = recipients.add(secret).unwrap_err();
        assert!(matches!(error, VaultError::SecretRecipient));
        assert!(!error.to_string().contains("QQQQ"));
        let error = recipients.add("ssh-ed25519 AAAA").unwrap_err();
        assert!(matches!(error, VaultError::SshRecipient));
        for bad in ["", "age1", "age1qqqq", "nobody"] {
            let error = recipients.add(bad).unwrap_err();
            assert!(matches!(error, VaultError::BadRecipient { .. }), "{bad}");
        }
        assert!(recipients.is_empty());
    }
}
