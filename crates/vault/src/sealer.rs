use std::{
    fmt,
    io::{self, Read, Write},
    ops::Range,
};

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    CHUNK_LEN, Kept, Recipients, VaultError,
    header::{self, FileKey, PAYLOAD_NONCE_LEN},
    stream::{ChunkCipher, SEALED_CHUNK_LEN, TAG_LEN, chunks, sealed_len},
};

/// What a chunk was when it was sealed: BLAKE3 under a key nobody else has, so that nobody can look for
/// two chunks with one mark, and half of it is enough.
type Mark = [u8; 16];

/// One protected file in the making, with a key of its own: knows how long it is, and makes any bytes of it
/// from a plaintext that can be read anywhere.
///
/// A chunk that is asked for again is read and sealed again, unless it is still [`Kept`]. It comes out the
/// same or not at all: sealed twice with different contents, a chunk would tell the difference of both and
/// let anybody forge others. So what was sealed is remembered, 17 bytes for each 64 KiB, and a source that
/// has changed is refused.
pub struct Sealer {
    /// Header and payload nonce.
    head: Box<[u8]>,
    nonce: [u8; PAYLOAD_NONCE_LEN],
    cipher: ChunkCipher,
    plain_len: u64,
    mark_key: [u8; 32],
    /// By number, as far as any was sealed.
    marks: Vec<Option<Mark>>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} bytes)", self.plain_len)
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.mark_key.zeroize();
    }
}

impl Sealer {
    /// Begins a file for `recipients` of a plaintext of `plain_len` bytes: with a fresh key and nonce.
    ///
    /// # Errors
    /// [`VaultError::NoRecipient`]; [`VaultError::OutOfRange`] for lengths near
    /// 2^64; [`VaultError::Randomness`].
    pub fn new(recipients: &Recipients, plain_len: u64) -> Result<Self, VaultError> {
        let payload_len = sealed_len(plain_len).ok_or(VaultError::OutOfRange)?;
        let Beginning {
            head,
            nonce,
            cipher,
        } = Beginning::new(recipients)?;
        payload_len
            .checked_add(head.len() as u64)
            .ok_or(VaultError::OutOfRange)?;
        let mut mark_key = [0; 32];
        getrandom::fill(&mut mark_key)?;
        Ok(Self {
            head: head.into(),
            nonce,
            cipher,
            plain_len,
            mark_key,
            marks: Vec::new(),
        })
    }

    /// Length of the protected file in bytes.
    pub fn sealed_len(&self) -> u64 {
        let chunks = chunks(self.plain_len) * TAG_LEN as u64;
        self.head.len() as u64 + self.plain_len + chunks
    }

    /// Length of what is in it.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// What tells this file from every other, also from one of the same source: drawn for it alone, and no secret.
    pub fn identity(&self) -> [u8; 16] {
        self.nonce
    }

    /// Fills `out` with the bytes of the protected file from `offset` on. `read` reads the plaintext at an offset,
    /// as `pread` does: fewer bytes than asked for mean to ask again, none the end.
    ///
    /// # Errors
    /// [`VaultError::SourceChanged`] when the plaintext is not what it was, [`VaultError::OutOfRange`] when the file
    /// is not so long, [`VaultError::Io`] what `read` says. What `out` holds is not to be used then.
    pub fn fill(
        &mut self,
        offset: u64,
        out: &mut [u8],
        kept: &mut Kept,
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    ) -> Result<(), VaultError> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.sealed_len()) {
            return Err(VaultError::OutOfRange);
        }
        let head = self.head.len() as u64;
        let (mut at, mut out) = (offset, out);
        if at < head {
            let part = &self.head[at as usize..];
            let len = part.len().min(out.len());
            let (now, rest) = out.split_at_mut(len);
            now.copy_from_slice(&part[..len]);
            (at, out) = (at + len as u64, rest);
        }
        while !out.is_empty() {
            let place = at - head;
            let number = place / SEALED_CHUNK_LEN as u64;
            let within = (place % SEALED_CHUNK_LEN as u64) as usize;
            let chunk = self.chunk(number, kept, read)?;
            let len = (chunk.len() - within).min(out.len());
            let (now, rest) = out.split_at_mut(len);
            now.copy_from_slice(&chunk[within..within + len]);
            (at, out) = (at + len as u64, rest);
        }
        Ok(())
    }

    /// A sealed chunk: one that is kept, or sealed now.
    fn chunk<'k>(
        &mut self,
        number: u64,
        kept: &'k mut Kept,
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    ) -> Result<&'k [u8], VaultError> {
        if kept.bring_to_front(&self.nonce, number) {
            return Ok(kept.front());
        }
        let plain = self.plain_range(number);
        let len = (plain.end - plain.start) as usize;
        let mut bytes = kept.room(len + TAG_LEN);
        let sealed = read_exactly(&plain, &mut bytes[..len], read)
            .and_then(|()| self.mark(number, &plain, &bytes[..len]));
        if let Err(error) = sealed {
            bytes.zeroize();
            return Err(error);
        }
        self.cipher
            .seal(number, plain.end == self.plain_len, &mut bytes);
        kept.put(self.nonce, number, bytes);
        Ok(kept.front())
    }

    fn plain_range(&self, number: u64) -> Range<u64> {
        let start = number * CHUNK_LEN as u64;
        start..(start + CHUNK_LEN as u64).min(self.plain_len)
    }

    /// Remembers what is sealed as a chunk, or finds that it is what was.
    fn mark(&mut self, number: u64, plain: &Range<u64>, bytes: &[u8]) -> Result<(), VaultError> {
        let hash = blake3::keyed_hash(&self.mark_key, bytes);
        let mut mark = Mark::default();
        mark.copy_from_slice(&hash.as_bytes()[..16]);
        let index = number as usize;
        if self.marks.len() <= index {
            self.marks.resize(index + 1, None);
        }
        match *self.marks[index].get_or_insert(mark) {
            before if before == mark => Ok(()),
            _ => Err(VaultError::SourceChanged { at: plain.start }),
        }
    }
}

fn read_exactly(
    plain: &Range<u64>,
    out: &mut [u8],
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> Result<(), VaultError> {
    let mut filled = 0;
    while filled < out.len() {
        match read(plain.start + filled as u64, &mut out[filled..]) {
            Ok(0) => return Err(VaultError::SourceChanged { at: plain.start }),
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What a protected file begins with, and what seals the rest of it.
struct Beginning {
    head: Vec<u8>,
    nonce: [u8; PAYLOAD_NONCE_LEN],
    cipher: ChunkCipher,
}

impl Beginning {
    fn new(recipients: &Recipients) -> Result<Self, VaultError> {
        let key = FileKey::random()?;
        let stanzas = recipients.wrap(&key)?;
        let mut nonce = [0; PAYLOAD_NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut head = header::encode(&stanzas, &key)?;
        head.extend_from_slice(&nonce);
        Ok(Self {
            head,
            nonce,
            cipher: ChunkCipher::new(&key, &nonce),
        })
    }
}

/// Makes a protected file of `input`, of whatever length, from front to back; how many bytes went in.
///
/// # Errors
/// As [`Sealer::new`], and [`VaultError::Io`].
pub fn seal(
    recipients: &Recipients,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<u64, VaultError> {
    let Beginning { head, cipher, .. } = Beginning::new(recipients)?;
    output.write_all(&head)?;
    let mut chunk = Zeroizing::new(vec![0; SEALED_CHUNK_LEN]);
    let mut next = Zeroizing::new(vec![0; SEALED_CHUNK_LEN]);
    let mut len = read_chunk(input, &mut chunk[..CHUNK_LEN])?;
    let mut total = len as u64;
    for number in 0.. {
        // Only the one behind tells whether a full chunk is the last.
        let behind = match len {
            CHUNK_LEN => read_chunk(input, &mut next[..CHUNK_LEN])?,
            _ => 0,
        };
        let sealed = &mut chunk[..len + TAG_LEN];
        cipher.seal(number, behind == 0, sealed);
        output.write_all(sealed)?;
        if behind == 0 {
            break;
        }
        std::mem::swap(&mut chunk, &mut next);
        len = behind;
        total += behind as u64;
    }
    Ok(total)
}

/// Reads until `out` is full or there is no more.
pub(crate) fn read_chunk(input: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match input.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
