//! The payload: chunks, their numbers, and where they are.

use chacha20poly1305::{
    AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Nonce, Tag, aead::Error as Mismatch,
};
use zeroize::Zeroizing;

use crate::header::{FileKey, PAYLOAD_NONCE_LEN};

/// Plaintext bytes of a chunk; only the last is shorter.
pub const CHUNK_LEN: usize = 64 * 1024;
/// Bytes that each chunk is longer by when it is sealed.
pub(crate) const TAG_LEN: usize = 16;
/// A chunk, sealed.
pub(crate) const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Seals and opens the chunks of one file.
pub(crate) struct ChunkCipher(ChaCha20Poly1305);

impl ChunkCipher {
    pub(crate) fn new(file_key: &FileKey, nonce: &[u8; PAYLOAD_NONCE_LEN]) -> Self {
        let key = Zeroizing::new(file_key.derive(nonce, b"payload"));
        Self(ChaCha20Poly1305::new((&*key).into()))
    }

    /// Seals a chunk in place: its plaintext, and room for the tag behind.
    ///
    /// Two plaintexts sealed under one number would tell their difference and let anybody forge: whoever calls
    /// this sees to it that a number has one plaintext.
    pub(crate) fn seal(&self, number: u64, is_last: bool, chunk: &mut [u8]) {
        let (plain, tag) = chunk.split_at_mut(chunk.len() - TAG_LEN);
        let made = self
            .0
            .encrypt_inout_detached(&nonce(number, is_last), b"", plain.into());
        // It fails for more than 256 GiB only.
        tag.copy_from_slice(&made.expect("a chunk is 64 KiB at most"));
    }

    /// Opens a sealed chunk in place; where it is not what was sealed there, it is left as it was.
    pub(crate) fn open<'a>(
        &self,
        number: u64,
        is_last: bool,
        chunk: &'a mut [u8],
    ) -> Result<&'a mut [u8], Mismatch> {
        let len = chunk.len().checked_sub(TAG_LEN).ok_or(Mismatch)?;
        let (sealed, tag) = chunk.split_at_mut(len);
        let tag = Tag::try_from(&*tag).map_err(|_| Mismatch)?;
        self.0
            .decrypt_inout_detached(&nonce(number, is_last), b"", (&mut *sealed).into(), &tag)?;
        Ok(sealed)
    }
}

/// Eleven bytes of number, big-endian, and one that marks the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce.into()
}

/// How many chunks a plaintext of this length is: an empty one has an empty chunk.
pub(crate) fn chunks(plain_len: u64) -> u64 {
    plain_len.div_ceil(CHUNK_LEN as u64).max(1)
}

/// Length of the chunks of a plaintext of this length; `None` beyond 2^64.
pub(crate) fn sealed_len(plain_len: u64) -> Option<u64> {
    plain_len.checked_add(chunks(plain_len) * TAG_LEN as u64)
}

/// Length of the plaintext of so many bytes of chunks; `None` when no plaintext makes so many.
pub(crate) fn plain_len(sealed: u64) -> Option<u64> {
    let chunks = sealed.div_ceil(SEALED_CHUNK_LEN as u64);
    let plain = sealed.checked_sub(chunks * TAG_LEN as u64)?;
    (chunks > 0 && sealed_len(plain) == Some(sealed)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_lead_back() {
        let chunk = CHUNK_LEN as u64;
        for plain in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 7] {
            let sealed = sealed_len(plain).unwrap();
            assert_eq!(plain_len(sealed), Some(plain));
        }
        assert_eq!((sealed_len(0), sealed_len(chunk)), (Some(16), Some(65_552)));
        for none in [0, 15, 65_553, 65_552 + 16] {
            assert_eq!(plain_len(none), None, "{none}");
        }
        assert_eq!(sealed_len(u64::MAX), None);
    }

    #[test]
    fn numbers_are_big_endian_and_the_last_is_marked() {
        assert_eq!(
            nonce(0x0102, false)[..],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0]
        );
        assert_eq!(nonce(0, true)[11], 1);
    }
}
