use std::collections::VecDeque;

use crate::header::PAYLOAD_NONCE_LEN;

/// Chunks kept: those at the front of a few files, and one or two asked for again.
const CHUNKS_MAX: usize = 8;

/// The sealed chunks that were used last, of any number of [`Sealer`](crate::Sealer)s: 512 KiB at most.
///
/// Who asks for a file in pieces that are no multiples of a chunk would have each sealed more than once
/// otherwise.
#[derive(Debug, Default)]
pub struct Kept {
    /// The one used last is in front.
    chunks: VecDeque<Chunk>,
}

/// A sealed chunk, and whose it is.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    file: [u8; PAYLOAD_NONCE_LEN],
    number: u64,
    bytes: Vec<u8>,
}

impl Kept {
    /// Finds a chunk, if it is kept: it is in [front](Self::front) then.
    pub(crate) fn bring_to_front(&mut self, file: &[u8; PAYLOAD_NONCE_LEN], number: u64) -> bool {
        let is_it = |chunk: &Chunk| chunk.number == number && chunk.file == *file;
        let Some(at) = self.chunks.iter().position(is_it) else {
            return false;
        };
        if at > 0 {
            let chunk = self.chunks.remove(at);
            self.chunks.extend(chunk);
            self.chunks.rotate_right(1);
        }
        true
    }

    /// The chunk used last.
    pub(crate) fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| &chunk.bytes)
    }

    /// Memory for a chunk of `len` bytes, of the chunk that was used longest ago where there are enough.
    pub(crate) fn room(&mut self, len: usize) -> Vec<u8> {
        let oldest = match self.chunks.len() {
            CHUNKS_MAX => self.chunks.pop_back(),
            _ => None,
        };
        let mut bytes = oldest.unwrap_or_default().bytes;
        bytes.resize(len, 0);
        bytes
    }

    /// Keeps a chunk, in front.
    pub(crate) fn put(&mut self, file: [u8; PAYLOAD_NONCE_LEN], number: u64, bytes: Vec<u8>) {
        self.chunks.push_front(Chunk {
            file,
            number,
            bytes,
        });
    }
}
