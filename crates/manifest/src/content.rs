use std::{collections::VecDeque, ops::Range};

use crate::{FileNo, ListError};

/// Part of the content space that lies in one piece of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub file: FileNo,
    /// Where the piece begins in the file.
    pub file_offset: u64,
    /// Where it lies in the content space.
    pub content: Range<u64>,
}

impl Piece {
    /// Bytes of the piece.
    pub fn len(&self) -> u64 {
        self.content.end - self.content.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

/// From an offset in the content space to a file and an offset there.
///
/// Extents are appended in list order and released from below once they are no longer needed. About
/// 24 bytes each.
#[derive(Debug, Default)]
pub struct ContentMap {
    chunks: VecDeque<Chunk>,
    end: u64,
    extents: usize,
}

/// Extents are allocated, and released, this many at a time.
const CHUNK: usize = 1024;

#[derive(Debug)]
struct Chunk {
    first_file: u64,
    extents: Vec<Placed>,
}

#[derive(Debug)]
struct Placed {
    content: u64,
    file_offset: u64,
    /// Above the chunk's first file.
    file: u32,
}

impl ContentMap {
    /// A map of an empty content space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an extent of `len` bytes (at least 1) of `file`, which is not below the one before.
    ///
    /// # Errors
    /// [`ListError::Overflow`] when the content space would exceed 2^64 bytes.
    pub fn push(&mut self, file: FileNo, file_offset: u64, len: u64) -> Result<(), ListError> {
        let end = self.end.checked_add(len).ok_or(ListError::Overflow)?;
        let delta = |chunk: &Chunk| {
            let above = file.0.checked_sub(chunk.first_file)?;
            u32::try_from(above)
                .ok()
                .filter(|_| chunk.extents.len() < CHUNK)
        };
        let delta = match self.chunks.back().and_then(delta) {
            Some(delta) => delta,
            None => {
                self.chunks.push_back(Chunk {
                    first_file: file.0,
                    extents: Vec::with_capacity(if self.chunks.is_empty() { 1 } else { CHUNK }),
                });
                0
            }
        };
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.extents.push(Placed {
                content: self.end,
                file_offset,
                file: delta,
            });
        }
        self.end = end;
        self.extents += 1;
        Ok(())
    }

    /// Moves the end of the last extent, and with it that of the content space; not before where that
    /// extent begins.
    pub fn set_end(&mut self, end: u64) {
        let last = self.chunks.back().and_then(|chunk| chunk.extents.last());
        self.end = end.max(last.map_or(0, |last| last.content));
    }

    /// Bytes of the content space so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many extents have not been released.
    pub fn extents(&self) -> usize {
        self.extents
    }

    /// The pieces of `range` in order, as far as they are mapped and have not been released.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let mut at = self.position(range.start);
        std::iter::from_fn(move || {
            let (chunk_index, index) = at;
            let chunk = self.chunks.get(chunk_index)?;
            let placed = chunk.extents.get(index)?;
            at = if index + 1 < chunk.extents.len() {
                (chunk_index, index + 1)
            } else {
                (chunk_index + 1, 0)
            };
            let next = self.chunks.get(at.0).map(|chunk| &chunk.extents[at.1]);
            let end = next.map_or(self.end, |next| next.content).min(range.end);
            let start = placed.content.max(range.start);
            (start < end).then(|| Piece {
                file: FileNo(chunk.first_file + u64::from(placed.file)),
                file_offset: placed.file_offset + (start - placed.content),
                content: start..end,
            })
        })
    }

    /// Whether bytes of more than one file lie in `range`.
    pub fn is_shared(&self, range: Range<u64>) -> bool {
        let mut pieces = self.pieces(range);
        let first = pieces.next().map(|piece| piece.file);
        pieces.any(|piece| Some(piece.file) != first)
    }

    /// Forgets what lies wholly below `floor`, as far as that frees memory.
    pub fn release(&mut self, floor: u64) {
        while self.chunks.len() > 1 && self.chunks[1].extents[0].content <= floor {
            self.drop_front();
        }
        if floor >= self.end && !self.chunks.is_empty() {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.extents -= chunk.extents.len();
        }
    }

    /// Chunk and index of the last extent that begins at or below `offset`, or of the first.
    fn position(&self, offset: u64) -> (usize, usize) {
        let above = self
            .chunks
            .partition_point(|chunk| chunk.extents[0].content <= offset);
        let Some(chunk) = above.checked_sub(1) else {
            return (0, 0);
        };
        let above = self.chunks[chunk]
            .extents
            .partition_point(|placed| placed.content <= offset);
        (chunk, above.saturating_sub(1))
    }
}
