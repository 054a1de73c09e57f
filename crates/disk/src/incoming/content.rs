//! Content blocks into files.

use std::{io::IoSlice, ops::Range};

use haul_manifest::{ChangeKind, Piece, TORN};

use super::{Incoming, waiting::Held};
use crate::DiskError;

impl Incoming {
    /// Places what can be placed and keeps the rest; returns how many blocks had arrived before.
    /// Numbers still carry their mark.
    pub(super) fn place_contents(
        &mut self,
        blocks: &mut Vec<(u64, &[u8])>,
    ) -> Result<u64, DiskError> {
        let count = blocks.len();
        blocks.sort_by_key(|(block, _)| *block & !TORN);
        blocks.dedup_by_key(|(block, _)| *block & !TORN);
        blocks.retain(|(block, _)| {
            let block = *block & !TORN;
            !self.arrived.contains(block) && !self.waiting.contains(block)
        });
        let duplicates = count - blocks.len();
        let placeable = self.placeable();
        let mut at = 0;
        while let Some((first, bytes)) = blocks.get(at) {
            let block = first & !TORN;
            if self.total_blocks().is_some_and(|total| block >= total) {
                return Err(DiskError::BlockBeyondEnd);
            }
            if block >= placeable {
                self.waiting.hold_unlisted(block, bytes, first & TORN != 0);
                at += 1;
            } else if first & TORN != 0 {
                self.place_torn(block, bytes)?;
                at += 1;
            } else {
                let run = run_len(&blocks[at..], placeable);
                self.write_run(block, &blocks[at..at + run])?;
                at += run;
            }
        }
        Ok(duplicates as u64)
    }

    /// Places what has been waiting for the list.
    pub(super) fn settle(&mut self) -> Result<(), DiskError> {
        let placeable = self.placeable();
        while let Some((block, Held { bytes, is_torn })) = self.waiting.take_below(placeable) {
            if is_torn {
                self.place_torn(block, &bytes)?;
            } else {
                self.write_run(block, &[(block, &bytes)])?;
            }
        }
        Ok(())
    }

    /// The list has said of a torn block what is whole in it.
    pub(super) fn announce_torn(&mut self, block: u64) -> Result<(), DiskError> {
        if self.arrived.contains(block) {
            return Ok(());
        }
        match self.waiting.announce(block)? {
            Some(bytes) => self.write_run(block, &[(block, &bytes)]),
            None => Ok(()),
        }
    }

    /// A block with zeros in place of what could not be read.
    fn place_torn(&mut self, block: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let range = self.range(block, 1);
        if self.map.is_shared(range.clone()) {
            if !self.waiting.take_announced(block) {
                self.waiting.hold_torn(block, bytes);
                return Ok(());
            }
        } else if let Some(piece) = self.map.pieces(range).next() {
            let why = ChangeKind::Modified;
            self.files.spoil(&mut self.tree, piece.file, why)?;
        }
        self.write_run(block, &[(block, bytes)])
    }

    /// Writes consecutive blocks, the first of which is `first`.
    fn write_run(&mut self, first: u64, blocks: &[(u64, &[u8])]) -> Result<(), DiskError> {
        let run = self.range(first, blocks.len());
        let pieces: Vec<Piece> = self.map.pieces(run.clone()).collect();
        let mut slices = Vec::with_capacity(blocks.len());
        for piece in &pieces {
            let range = piece.content.start - run.start..piece.content.end - run.start;
            gather(blocks, self.block_len, range, &mut slices);
            self.files.write(&mut self.tree, piece, &mut slices)?;
            slices.clear();
        }
        self.arrived.insert(first..first + blocks.len() as u64);
        self.written += (blocks.len() * self.block_len) as u64;
        let floor = self.arrived.first_gap() * self.block_len as u64;
        self.map.release(floor.min(self.map.end()));
        Ok(())
    }

    /// Blocks below this have all their files listed.
    fn placeable(&self) -> u64 {
        let whole = self.inflow.content_bytes() / self.block_len as u64;
        self.total_blocks().unwrap_or(whole)
    }

    fn range(&self, first: u64, count: usize) -> Range<u64> {
        let block_len = self.block_len as u64;
        first * block_len..(first + count as u64) * block_len
    }
}

/// How many blocks follow each other from the first on, whole and below `end`.
fn run_len(blocks: &[(u64, &[u8])], end: u64) -> usize {
    let pairs = blocks.windows(2);
    1 + pairs
        .take_while(|pair| pair[1].0 == pair[0].0 + 1 && pair[1].0 < end)
        .count()
}

/// The bytes `range` of the blocks, taken as one.
fn gather<'a>(
    blocks: &[(u64, &'a [u8])],
    block_len: usize,
    range: Range<u64>,
    slices: &mut Vec<IoSlice<'a>>,
) {
    let (start, end) = (range.start as usize, range.end as usize);
    let (first, last) = (start / block_len, (end - 1) / block_len);
    for (index, (_, bytes)) in blocks.iter().enumerate().take(last + 1).skip(first) {
        let base = index * block_len;
        let from = start.saturating_sub(base);
        let to = (end - base).min(block_len);
        slices.push(IoSlice::new(&bytes[from..to]));
    }
}
