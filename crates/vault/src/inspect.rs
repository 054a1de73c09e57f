use std::io::{self, BufRead, Write};

use crate::{
    Identities, Recipients, VaultError,
    header::{self, Header, PAYLOAD_NONCE_LEN},
    stream,
};

/// What can be seen of a protected file without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The kind of each stanza, in order: `X25519`, `scrypt`, and what others there are. Some programs add one
    /// that means nothing (`…-grease`).
    pub stanzas: Vec<String>,
    /// The work of its passphrase as a power of two, if it has one.
    pub passphrase_work: Option<u8>,
    /// Length of the header in bytes.
    pub header_len: u64,
}

impl Inspection {
    /// Length of what is in a protected file of `len` bytes; `None` when no such file is so long: it is cut.
    pub fn plain_len(&self, len: u64) -> Option<u64> {
        let payload = len.checked_sub(self.header_len + PAYLOAD_NONCE_LEN as u64)?;
        stream::plain_len(payload)
    }
}

/// Looks at the header of a protected file, and reads no further.
///
/// # Errors
/// [`VaultError`] when it is none, or its header is damaged or cut.
pub fn inspect(input: &mut dyn BufRead) -> Result<Inspection, VaultError> {
    let header = Header::read(input)?;
    let scrypt = header.stanzas.iter().find(|s| s.tag == header::SCRYPT);
    let work = scrypt.and_then(|stanza| stanza.args.get(1)?.parse().ok());
    Ok(Inspection {
        passphrase_work: work,
        header_len: header.len,
        stanzas: header.stanzas.into_iter().map(|s| s.tag).collect(),
    })
}

/// Writes a protected file anew that `recipients` can open too. Who asks must be able to open it; the contents
/// are copied as they are, without being looked at.
///
/// # Errors
/// [`VaultError::PassphraseAlone`] where a passphrase is among the old or new, and what
/// [`Opener::new`](crate::Opener::new) says.
pub fn add_recipients(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    identities: &Identities,
    recipients: &Recipients,
) -> Result<(), VaultError> {
    let header = Header::read(input)?;
    if header.has_passphrase() || recipients.has_passphrase() {
        return Err(VaultError::PassphraseAlone);
    }
    let key = identities.unwrap(&header)?;
    let mut stanzas = header.stanzas;
    stanzas.extend(recipients.wrap(&key)?);
    output.write_all(&header::encode(&stanzas, &key)?)?;
    // A file without even a nonce would be made into one that looks whole.
    let copied = io::copy(input, output)?;
    match copied < PAYLOAD_NONCE_LEN as u64 + stream::TAG_LEN as u64 {
        true => Err(VaultError::Truncated),
        false => Ok(()),
    }
}
