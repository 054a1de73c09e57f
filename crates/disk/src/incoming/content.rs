//! Content into files.

use std::{cmp::Reverse, io::IoSlice, ops::Range};

use haul_batch::{Batch, MAX_SEGMENTS};
use haul_manifest::{ChangeKind, FileNo, Layout, Piece};
use haul_wire::{BLOCK_ADDR_LEN, HEADER_LEN, Part, TAG_LEN, part_len};
use smallvec::SmallVec;

use super::{Incoming, waiting::Held};
use crate::DiskError;

/// As many as a batch holds without asking for memory.
pub(super) type Fragments<'a> = SmallVec<[Fragment<'a>; MAX_SEGMENTS]>;
type Slices<'a> = SmallVec<[IoSlice<'a>; MAX_SEGMENTS]>;
/// Pieces of files in a batch of one large file, or of a few.
type Pieces = SmallVec<[Piece; 4]>;

/// A block of content, or a part of one, by its bytes' place in content space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) at: u64,
    pub(super) is_torn: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn range(&self) -> Range<u64> {
        self.at..self.end()
    }

    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// The bytes of it that lie at `range`.
    fn cut(self, range: Range<u64>) -> Self {
        let bytes: &'a [u8] = self.bytes;
        Self {
            at: range.start,
            bytes: &bytes[(range.start - self.at) as usize..(range.end - self.at) as usize],
            ..self
        }
    }
}

impl Incoming {
    /// Gives the next file that has content its number, and the range that its content has.
    pub(super) fn map_content(
        &mut self,
        layout: &Layout,
        size: u64,
    ) -> Result<(FileNo, Range<u64>), DiskError> {
        let (file, start) = (FileNo(self.next_file), self.map.end());
        for extent in layout.extents(size) {
            self.map.push(file, extent.offset, extent.len)?;
        }
        self.next_file += u64::from(self.map.end() > start);
        Ok((file, start..self.map.end()))
    }

    /// Places what can be placed and keeps the rest; returns how many had arrived before.
    pub(super) fn place_contents(&mut self, fragments: Fragments<'_>) -> Result<u64, DiskError> {
        let (fragments, duplicates) = self.news(fragments);
        let placeable = self.placeable();
        let mut next = 0;
        while let Some(fragment) = fragments.get(next) {
            if self.total_bytes().is_some_and(|total| fragment.at >= total) {
                return Err(DiskError::BlockBeyondEnd);
            }
            if fragment.end() > placeable {
                self.waiting.hold_unlisted(fragment);
                next += 1;
            } else if fragment.is_torn {
                self.place_torn(fragment)?;
                next += 1;
            } else {
                let run = run_len(&fragments[next..], placeable);
                self.write_run(&fragments[next..next + run])?;
                next += run;
            }
        }
        Ok(duplicates)
    }

    /// Places what has been waiting for the list.
    pub(super) fn settle(&mut self) -> Result<(), DiskError> {
        let placeable = self.placeable();
        while let Some((at, Held { bytes, is_torn })) = self.waiting.take_below(placeable) {
            let fragment = Fragment {
                at,
                is_torn,
                bytes: &bytes,
            };
            if is_torn {
                self.place_torn(&fragment)?;
            } else {
                self.write_missing(&fragment)?;
            }
        }
        Ok(())
    }

    /// The list has said of a torn block what is whole in it.
    pub(super) fn announce_torn(&mut self, block: u64) -> Result<(), DiskError> {
        let range = self.block_range(block);
        for (at, bytes) in self.waiting.announce(block, range.clone())? {
            self.write_missing(&Fragment {
                at,
                is_torn: true,
                bytes: &bytes,
            })?;
        }
        if self.arrived.covers(range) {
            self.waiting.forget_announced(block);
        }
        Ok(())
    }

    /// What of the fragments has not arrived, in order and each byte once; and how many of them had
    /// arrived altogether.
    fn news<'a>(&self, mut fragments: Fragments<'a>) -> (Fragments<'a>, u64) {
        // Of those that begin at the same byte the longest has it all.
        fragments.sort_unstable_by_key(|fragment| (fragment.at, Reverse(fragment.bytes.len())));
        let mut news = Fragments::new();
        let mut duplicates = 0;
        let mut end = 0;
        for fragment in fragments {
            let before = news.len();
            let range = fragment.at.max(end)..fragment.end();
            if !range.is_empty() && !self.waiting.contains(&fragment) {
                let gaps = self.arrived.gaps(range);
                news.extend(gaps.map(|gap| fragment.cut(gap)));
            }
            duplicates += u64::from(news.len() == before);
            end = end.max(fragment.end());
        }
        (news, duplicates)
    }

    /// Bytes with zeros among them, in place of what could not be read.
    fn place_torn(&mut self, fragment: &Fragment<'_>) -> Result<(), DiskError> {
        let block = fragment.at / self.block_len as u64;
        let range = self.block_range(block);
        if self.arrived.covers(fragment.range()) {
            // An intact copy came meanwhile, and what was announced of the block is forgotten.
            return Ok(());
        }
        if self.map.is_shared(range.clone()) {
            if !self.waiting.is_announced(block) {
                self.waiting.hold_torn(fragment);
                return Ok(());
            }
        } else if let Some(piece) = self.map.pieces(range.clone()).next() {
            let why = ChangeKind::Modified;
            self.files.spoil(&mut self.tree, piece.file, why)?;
        }
        self.write_missing(fragment)?;
        if self.arrived.covers(range) {
            self.waiting.forget_announced(block);
        }
        Ok(())
    }

    /// Writes what has not been written: parts of a block may overlap the whole of it.
    fn write_missing(&mut self, fragment: &Fragment<'_>) -> Result<(), DiskError> {
        let gaps: SmallVec<[_; 4]> = self.arrived.gaps(fragment.range()).collect();
        for gap in gaps {
            self.write_run(&[fragment.cut(gap)])?;
        }
        Ok(())
    }

    /// Writes a run of fragments that follow each other, none of which has been written.
    fn write_run(&mut self, run: &[Fragment<'_>]) -> Result<(), DiskError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Ok(());
        };
        let range = first.at..last.end();
        let pieces: Pieces = self.map.pieces(range.clone()).collect();
        let mut slices = Slices::new();
        for piece in &pieces {
            let piece_range = piece.content.start - range.start..piece.content.end - range.start;
            gather(run, piece_range, &mut slices);
            self.files.write(&mut self.tree, piece, &mut slices)?;
            slices.clear();
        }
        self.written += self.arrived.insert(range);
        self.release_map()
    }

    /// Forgets where content goes that has arrived.
    pub(super) fn release_map(&mut self) -> Result<(), DiskError> {
        self.advance_proof()?;
        let block_len = self.block_len as u64;
        let floor = self.arrived.first_gap() / block_len * block_len;
        self.map.release(floor.min(self.map.end()));
        Ok(())
    }

    /// The content before this byte has all its files listed.
    pub(super) fn placeable(&self) -> u64 {
        if self.stream.is_some() {
            return self.map.end();
        }
        let block_len = self.block_len as u64;
        let whole = self.inflow.content_bytes() / block_len * block_len;
        self.total_bytes().unwrap_or(whole)
    }

    fn block_range(&self, block: u64) -> Range<u64> {
        let start = block.saturating_mul(self.block_len as u64);
        start..start.saturating_add(self.block_len as u64)
    }
}

/// How many fragments follow each other from the first on, whole, not beyond `end`, and as long as
/// the first but for the last of them.
fn run_len(fragments: &[Fragment<'_>], end: u64) -> usize {
    let len = fragments.first().map_or(0, |first| first.bytes.len());
    let pairs = fragments.windows(2);
    1 + pairs
        .take_while(|pair| {
            let (before, next) = (&pair[0], &pair[1]);
            before.bytes.len() == len
                && next.at == before.end()
                && next.bytes.len() <= len
                && next.end() <= end
                && !next.is_torn
        })
        .count()
}

/// The bytes `range` of a run of fragments, taken as one.
fn gather<'a>(run: &[Fragment<'a>], range: Range<u64>, slices: &mut Slices<'a>) {
    let len = run.first().map_or(1, |first| first.bytes.len());
    let (start, end) = (range.start as usize, range.end as usize);
    let (first, last) = (start / len, (end - 1) / len);
    for (index, fragment) in run.iter().enumerate().take(last + 1).skip(first) {
        let base = index * len;
        let from = start.saturating_sub(base);
        let to = (end - base).min(fragment.bytes.len());
        slices.push(IoSlice::new(&fragment.bytes[from..to]));
    }
}

/// The block in a segment, or the part of one.
pub(super) fn payload(
    batch: &Batch,
    index: u8,
    part: Part,
    block_len: usize,
) -> Result<&[u8], DiskError> {
    let segment = batch.segment(usize::from(index));
    let end = segment.len().saturating_sub(TAG_LEN);
    let len = part.range(block_len).len();
    match segment.get(HEADER_LEN + BLOCK_ADDR_LEN..end) {
        Some(bytes) if len > 0 && bytes.len() == part_len(block_len, part.count()) => {
            Ok(&bytes[..len])
        }
        other => Err(DiskError::BlockLength(other.map_or(0, <[u8]>::len))),
    }
}
