//! The header: who can open the file.

use std::io::{self, BufRead, Read as _};

use age_core::{
    format::{Stanza, read, write},
    primitives::hkdf,
    secrecy::ExposeSecret as _,
};
use base64ct::{Base64Unpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::VaultError;

/// What every age file begins with.
pub const MAGIC: &str = "age-encryption.org/";
/// Longest header that is read, in bytes: about 7,000 recipients.
pub const HEADER_LEN_MAX: u64 = 1 << 20;
/// Behind the header, ahead of the chunks.
pub(crate) const PAYLOAD_NONCE_LEN: usize = 16;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const MAC_MARK: &[u8] = b"---";
/// The stanza of a passphrase.
pub(crate) const SCRYPT: &str = "scrypt";

/// Whether a file that begins with these bytes is an age file.
pub fn is_age(start: &[u8]) -> bool {
    start.starts_with(MAGIC.as_bytes())
}

/// The key of one file, wiped when dropped.
pub(crate) struct FileKey(age_core::format::FileKey);

impl FileKey {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let made = age_core::format::FileKey::try_init_with_mut(|key| getrandom::fill(key));
        made.map(Self)
    }

    pub(crate) fn of(key: age_core::format::FileKey) -> Self {
        Self(key)
    }

    pub(crate) fn inner(&self) -> &age_core::format::FileKey {
        &self.0
    }

    pub(crate) fn derive(&self, salt: &[u8], label: &[u8]) -> [u8; 32] {
        hkdf(salt, label, self.0.expose_secret())
    }

    /// The code of a header, up to and with its `---`.
    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        let key = Zeroizing::new(self.derive(b"", b"header"));
        let mac = Hmac::<Sha256>::new_from_slice(&*key);
        let mut mac = mac.expect("a key may have any length");
        mac.update(text);
        mac
    }
}

/// A header as it stands in a file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) stanzas: Vec<Stanza>,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// What the code is of: as it was read, whatever we would have written.
    text: Vec<u8>,
    mac: [u8; 32],
}

impl Header {
    /// Reads a header, and nothing of what is behind it.
    pub(crate) fn read(input: &mut dyn BufRead) -> Result<Self, VaultError> {
        let mut input = input.take(HEADER_LEN_MAX);
        let mut text = Vec::new();
        input.read_until(b'\n', &mut text)?;
        check_version(&text)?;
        loop {
            let start = text.len();
            if input.read_until(b'\n', &mut text)? == 0 || text.last() != Some(&b'\n') {
                return Err(match input.limit() {
                    0 => VaultError::BadHeader,
                    _ => VaultError::Truncated,
                });
            }
            if text[start..].starts_with(MAC_MARK) {
                return Self::parse(text, start);
            }
        }
    }

    fn parse(mut text: Vec<u8>, mac_line: usize) -> Result<Self, VaultError> {
        let len = text.len() as u64;
        let mut mac = [0; 32];
        let code = text[mac_line + MAC_MARK.len()..].strip_prefix(b" ");
        let code = code.and_then(|code| code.strip_suffix(b"\n"));
        let decoded = code.and_then(|code| Base64Unpadded::decode(code, &mut mac).ok());
        if decoded.is_none_or(|decoded| decoded.len() != 32) {
            return Err(VaultError::BadHeader);
        }
        text.truncate(mac_line + MAC_MARK.len());
        let mut rest = &text[VERSION_LINE.len()..mac_line];
        let mut stanzas = Vec::new();
        while !rest.is_empty() {
            let (behind, stanza) = read::age_stanza(rest).map_err(|_| VaultError::BadHeader)?;
            stanzas.push(Stanza::from(stanza));
            rest = behind;
        }
        let passphrases = stanzas.iter().filter(|s| s.tag == SCRYPT).count();
        if stanzas.is_empty() || (passphrases > 0 && stanzas.len() > 1) {
            return Err(VaultError::BadHeader);
        }
        Ok(Self {
            stanzas,
            len,
            text,
            mac,
        })
    }

    /// Whether this is a file with a passphrase.
    pub(crate) fn has_passphrase(&self) -> bool {
        self.stanzas.iter().any(|stanza| stanza.tag == SCRYPT)
    }

    /// That nobody has altered the header who does not have the file's key.
    pub(crate) fn check(&self, key: &FileKey) -> Result<(), VaultError> {
        let mac = key.mac(&self.text);
        mac.verify_slice(&self.mac)
            .map_err(|_| VaultError::AlteredHeader)
    }
}

fn check_version(line: &[u8]) -> Result<(), VaultError> {
    if line == VERSION_LINE {
        return Ok(());
    }
    Err(if line.starts_with(ARMOR) {
        VaultError::Armored
    } else if !is_age(line) {
        VaultError::NotAge
    } else if line.last() == Some(&b'\n') {
        VaultError::UnknownVersion
    } else {
        VaultError::Truncated
    })
}

/// The bytes of a header with these stanzas.
pub(crate) fn encode(stanzas: &[Stanza], key: &FileKey) -> io::Result<Vec<u8>> {
    let mut text = VERSION_LINE.to_vec();
    for stanza in stanzas {
        let Stanza { tag, args, body } = stanza;
        cookie_factory::gen_simple(write::age_stanza(tag, args, body), &mut text)
            .map_err(io::Error::other)?;
    }
    text.extend_from_slice(MAC_MARK);
    let mac = key.mac(&text).finalize().into_bytes();
    text.push(b' ');
    text.extend_from_slice(Base64Unpadded::encode_string(&mac).as_bytes());
    text.push(b'\n');
    Ok(text)
}
