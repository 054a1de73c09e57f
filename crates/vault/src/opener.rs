use std::{
    fmt,
    io::{self, BufRead, Write},
};

use zeroize::Zeroizing;

use crate::{
    CHUNK_LEN, Identities, VaultError,
    header::{Header, PAYLOAD_NONCE_LEN},
    sealer::read_chunk,
    stream::{ChunkCipher, SEALED_CHUNK_LEN},
};

/// Opens a protected file from front to back, as it comes.
///
/// What it gives was sealed like that, chunk for chunk; that it is all of it is known only at the end. Nobody
/// should use anything of it before [`Self::next_chunk`] has returned `None`.
pub struct Opener<R> {
    input: R,
    cipher: ChunkCipher,
    number: u64,
    /// A sealed chunk, `len` bytes of it.
    chunk: Zeroizing<Vec<u8>>,
    len: usize,
    /// The one behind, to know which is the last.
    next: Zeroizing<Vec<u8>>,
    is_done: bool,
}

impl<R> fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(at chunk {})", self.number)
    }
}

impl<R: BufRead> Opener<R> {
    /// Reads the header, and finds the key of the file with one of `identities`.
    ///
    /// # Errors
    /// [`VaultError`]: not an age file, damaged, cut short, not for these identities, another passphrase, or one
    /// that takes too much work.
    pub fn new(mut input: R, identities: &Identities) -> Result<Self, VaultError> {
        let header = Header::read(&mut input)?;
        let key = identities.unwrap(&header)?;
        let mut nonce = [0; PAYLOAD_NONCE_LEN];
        input.read_exact(&mut nonce).map_err(cut)?;
        let mut chunk = Zeroizing::new(vec![0; SEALED_CHUNK_LEN]);
        let len = read_chunk(&mut input, &mut chunk)?;
        Ok(Self {
            input,
            cipher: ChunkCipher::new(&key, &nonce),
            number: 0,
            chunk,
            len,
            next: Zeroizing::new(vec![0; SEALED_CHUNK_LEN]),
            is_done: false,
        })
    }

    /// The next part of the plaintext; `None` at the end, when all of it was what was sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::Truncated`], [`VaultError::Trailing`] or [`VaultError::Io`]. Nothing
    /// more comes after an error.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, VaultError> {
        if self.is_done {
            return Ok(None);
        }
        self.is_done = true;
        if self.len == 0 {
            return Err(VaultError::Truncated);
        }
        let behind = match self.len {
            SEALED_CHUNK_LEN => read_chunk(&mut self.input, &mut self.next)?,
            _ => 0,
        };
        let (number, is_last) = (self.number, behind == 0);
        let chunk = &mut self.chunk[..self.len];
        let Ok(plain) = self.cipher.open(number, is_last, chunk) else {
            return Err(self.why_not(is_last));
        };
        if plain.is_empty() && number > 0 {
            return Err(VaultError::Damaged { at: self.at() });
        }
        let len = plain.len();
        std::mem::swap(&mut self.chunk, &mut self.next);
        self.len = behind;
        self.number += 1;
        self.is_done = is_last;
        Ok(Some(&self.next[..len]))
    }

    /// Why a chunk does not open: it opens as what it is not, or as nothing.
    fn why_not(&mut self, is_last: bool) -> VaultError {
        let chunk = &mut self.chunk[..self.len];
        match (self.cipher.open(self.number, !is_last, chunk), is_last) {
            (Ok(_), true) => VaultError::Truncated,
            (Ok(_), false) => VaultError::Trailing,
            (Err(_), _) => VaultError::Damaged { at: self.at() },
        }
    }

    /// Where the chunk that is looked at begins in the plaintext.
    fn at(&self) -> u64 {
        self.number * CHUNK_LEN as u64
    }

    /// Opens all that is left; how many bytes came out.
    ///
    /// # Errors
    /// As [`Self::next_chunk`], and what `output` says.
    pub fn copy_to(&mut self, output: &mut dyn Write) -> Result<u64, VaultError> {
        let mut total = 0;
        while let Some(plain) = self.next_chunk()? {
            output.write_all(plain)?;
            total += plain.len() as u64;
        }
        Ok(total)
    }
}

pub(crate) fn cut(error: io::Error) -> VaultError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => VaultError::Truncated,
        _ => VaultError::Io(error),
    }
}
