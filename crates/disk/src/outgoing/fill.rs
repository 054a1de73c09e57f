//! Blocks into batches: what `fill` is asked for is a run of addresses, nearly always consecutive.
//!
//! ```text
//!  slots     [ block n ][ block n+1 ][ block n+2 ]
//!  pieces    [ a ][  b  ][        c       ][zeros]     one preadv each, straight into the slots
//! ```

use std::{io::IoSliceMut, ops::Range};

use arrayvec::ArrayVec;
use haul_batch::{Batch, MAX_SEGMENTS};
use haul_manifest::{ChangeKind, Entry, Piece, TORN, VOID};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, HEADER_LEN, Stream};
use smallvec::SmallVec;

use super::{Available, Outgoing, files::Origin, protect::Shared};
use crate::{Digests, DiskError, FailureKind, digest};

/// Where one block goes in a batch.
struct Slot<'a> {
    addr: &'a mut [u8],
    block: &'a mut [u8],
}

impl Slot<'_> {
    fn void(&mut self) {
        self.block.fill(0);
        self.addr
            .copy_from_slice(&BlockAddr::content(VOID).encode());
    }
}

/// Those of a batch of one large file, or of a few, without asking for memory.
type Parts = SmallVec<[Part; 4]>;

/// One piece of a file to be read, and what became of it.
struct Part {
    piece: Piece,
    origin: Origin,
    /// What makes the file of what is read, if it is protected.
    sealer: Option<Shared>,
    /// Whether something of the file was asked for before.
    is_begun: bool,
    /// How many bytes the file has.
    outcome: Result<u64, ChangeKind>,
}

impl Outgoing {
    /// Fills the segments of a shaped batch with the blocks asked for: address and bytes. Room for
    /// header and tag is left alone.
    ///
    /// A file that is no longer what was listed does not fail this: its bytes are zeros then, the
    /// block is marked [torn](haul_manifest::TORN), and the list says so. Returns what may be sent
    /// now, when the list has grown for that. A block that has been released since it was planned
    /// is replaced by one that means [nothing](haul_manifest::VOID).
    ///
    /// # Errors
    /// [`DiskError::NotAvailable`] when a block was never made available.
    ///
    /// # Panics
    /// When the batch is not shaped into one segment of full length for each block.
    pub fn fill(
        &self,
        blocks: &[BlockAddr],
        batch: &mut Batch,
    ) -> Result<Option<Available>, DiskError> {
        let stride = haul_wire::segment_len(self.block_len);
        assert!(batch.stride() == stride && batch.len() == stride * blocks.len());
        let mut slots: ArrayVec<Slot<'_>, MAX_SEGMENTS> = batch
            .segments_mut()
            .map(|segment| {
                let (addr, rest) = segment[HEADER_LEN..].split_at_mut(BLOCK_ADDR_LEN);
                let block = &mut rest[..self.block_len];
                Slot { addr, block }
            })
            .collect();
        let mut grown = None;
        let mut at = 0;
        while at < blocks.len() {
            let first = blocks[at];
            let run = run_len(&blocks[at..]);
            let slots = &mut slots[at..at + run];
            match first.stream {
                Stream::List => self.fill_list(first.block.0, slots)?,
                Stream::Content => grown = self.fill_content(first.block.0, slots)?.or(grown),
            }
            at += run;
        }
        Ok(grown)
    }

    fn fill_list(&self, first: u64, slots: &mut [Slot<'_>]) -> Result<(), DiskError> {
        let state = self.lock();
        for (number, slot) in (first..).zip(slots) {
            if number < state.listing.list_floor() {
                slot.void();
                continue;
            }
            let addr = BlockAddr::list(number);
            let bytes = state.listing.list_block(number);
            slot.block
                .copy_from_slice(bytes.ok_or(DiskError::NotAvailable(addr))?);
            slot.addr.copy_from_slice(&addr.encode());
        }
        Ok(())
    }

    fn fill_content(
        &self,
        first: u64,
        slots: &mut [Slot<'_>],
    ) -> Result<Option<Available>, DiskError> {
        let floor = self.lock().listing.content_floor();
        let released = floor.saturating_sub(first).min(slots.len() as u64);
        let (gone, slots) = slots.split_at_mut(released as usize);
        gone.iter_mut().for_each(Slot::void);
        if slots.is_empty() {
            return Ok(None);
        }
        let first = first + released;
        let run = self.content_range(first, slots.len());
        let Some(mut parts) = self.parts(first, &run)? else {
            // Released between the two looks: take another.
            return self.fill_content(first, slots);
        };
        for part in &mut parts {
            if part.outcome.is_ok() {
                part.outcome = self.read(part, &run, slots);
            }
        }
        let end = parts
            .last()
            .map_or(run.start, |part| part.piece.content.end);
        zero(slots, end - run.start..run.end - run.start);
        for (number, slot) in (first..).zip(&mut *slots) {
            slot.addr
                .copy_from_slice(&BlockAddr::content(number).encode());
        }
        let asked = self.note_asked(&parts, &run, slots);
        if parts.iter().all(|part| part.outcome.is_ok()) && !self.lock().damage.any_torn() {
            return Ok(asked);
        }
        Ok(self.tear(first, &parts, slots).or(asked))
    }

    /// What lies in a run of content blocks; `None` when the first has been released.
    fn parts(&self, first: u64, run: &Range<u64>) -> Result<Option<Parts>, DiskError> {
        let missing = || DiskError::NotAvailable(BlockAddr::content(first));
        let state = self.lock();
        if first < state.listing.content_floor() {
            return Ok(None);
        }
        let mut at = run.start;
        let mut parts = Parts::new();
        for piece in state.listing.map().pieces(run.clone()) {
            if piece.content.start != at {
                return Err(missing());
            }
            at = piece.content.end;
            let origin = state.files.get(piece.file).ok_or_else(missing)?;
            let sealer = state.sealers.get(piece.file);
            // Nothing of a protected file goes as it is, whatever befalls its sealer.
            let is_bare = self.wanted.protection.is_some() && sealer.is_none();
            let outcome = if is_bare || state.damage.is_spoiled(piece.file) {
                Err(ChangeKind::Modified)
            } else {
                Ok(0)
            };
            parts.push(Part {
                origin,
                sealer,
                is_begun: state.has_begun(piece.file),
                outcome,
                piece,
            });
        }
        // Only the very last block may lack bytes, and never all of them.
        let lacking = run.end - at;
        if lacking >= self.block_len as u64 || (lacking > 0 && !state.totals.scanned) {
            return Err(missing());
        }
        Ok(Some(parts))
    }

    fn read(
        &self,
        part: &Part,
        run: &Range<u64>,
        slots: &mut [Slot<'_>],
    ) -> Result<u64, ChangeKind> {
        let range = part.piece.content.start - run.start..part.piece.content.end - run.start;
        let mut slices = slices(slots, range);
        let mut reader = self
            .reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let route = |place, dirs: &mut _| self.lock().places.route(place, dirs);
        let piece = &part.piece;
        let (file, origin, offset) = (piece.file, &part.origin, piece.file_offset);
        match &part.sealer {
            Some(sealer) => reader.seal(file, origin, sealer, offset, &mut slices, &route),
            None => reader.read(file, origin, offset, &mut slices, &route),
        }
    }

    /// Has proved what was asked for now for the first time; what may be sent now, when the list has
    /// grown for that. A file that is all here need not be read again.
    fn note_asked(
        &self,
        parts: &[Part],
        run: &Range<u64>,
        slots: &mut [Slot<'_>],
    ) -> Option<Available> {
        if !self.proofs.wanted {
            return None;
        }
        let digests: SmallVec<[Option<Digests>; 4]> = parts
            .iter()
            .map(|part| {
                let is_whole = part.piece.file_offset == 0 && part.outcome == Ok(part.piece.len());
                let range =
                    part.piece.content.start - run.start..part.piece.content.end - run.start;
                (is_whole && !part.is_begun).then(|| {
                    let bytes = slices(slots, range);
                    let bytes = bytes.iter().map(|slice| &**slice);
                    digest::of_bytes(self.proofs.digests, bytes)
                })
            })
            .collect();
        let mut state = self.lock();
        let before = state.listing.available();
        for (part, digests) in parts.iter().zip(digests) {
            if let Ok(size) = part.outcome {
                state.begin_proof(&part.piece, size, digests);
            }
        }
        state.ask(run.clone());
        let available = state.listing.available();
        drop(state);
        self.moved.notify_all();
        (available != before).then_some(available)
    }

    /// Zeros what could not be read, marks the blocks it was in, and lists it.
    fn tear(&self, first: u64, parts: &[Part], slots: &mut [Slot<'_>]) -> Option<Available> {
        let run = self.content_range(first, slots.len());
        let mut state = self.lock();
        let before = state.listing.available();
        for part in parts {
            let Err(why) = part.outcome else { continue };
            let range = &part.piece.content;
            zero(slots, range.start - run.start..range.end - run.start);
            let file = part.piece.file;
            if state.damage.spoil(file) {
                state.listing.push(&Entry::Changed { file, why });
                let path = state.path(file).unwrap_or_default();
                state.fail(path, FailureKind::Changed(why));
            }
        }
        for (number, slot) in (first..).zip(slots) {
            let range = self.content_range(number, 1);
            if number < state.listing.content_floor() {
                // What is shared with what can no longer be told, and nobody needs it.
                slot.void();
                continue;
            }
            if let Some(bytes) = state.damage.torn(number) {
                slot.block.copy_from_slice(bytes);
            } else {
                let within = |part: &&Part| {
                    part.piece.content.start < range.end && range.start < part.piece.content.end
                };
                if !parts
                    .iter()
                    .filter(within)
                    .any(|part| part.outcome.is_err())
                {
                    continue;
                }
                if state.listing.map().is_shared(range) {
                    state.damage.tear(number, slot.block);
                    state.listing.push(&Entry::Torn { block: number });
                }
            }
            let addr = BlockAddr::content(number | TORN);
            slot.addr.copy_from_slice(&addr.encode());
        }
        // The receiver holds back what a torn block touches: do not let it wait for more entries.
        state.listing.pad();
        let available = state.listing.available();
        (available != before).then_some(available)
    }

    fn content_range(&self, first: u64, count: usize) -> Range<u64> {
        let block_len = self.block_len as u64;
        first * block_len..(first + count as u64) * block_len
    }
}

/// How many of `blocks` follow each other in one stream, from the first on.
fn run_len(blocks: &[BlockAddr]) -> usize {
    let pairs = blocks.windows(2);
    1 + pairs
        .take_while(|pair| {
            pair[0].stream == pair[1].stream && pair[0].block.0 + 1 == pair[1].block.0
        })
        .count()
}

/// The bytes `range` of the slots' blocks, taken as one.
fn slices<'a>(
    slots: &'a mut [Slot<'_>],
    range: Range<u64>,
) -> ArrayVec<IoSliceMut<'a>, MAX_SEGMENTS> {
    let block_len = slots.first().map_or(1, |slot| slot.block.len());
    let (start, end) = (range.start as usize, range.end as usize);
    let mut slices = ArrayVec::new();
    if start < end {
        let (first, last) = (start / block_len, (end - 1) / block_len);
        for (index, slot) in slots.iter_mut().enumerate().take(last + 1).skip(first) {
            let base = index * block_len;
            let from = start.saturating_sub(base);
            let to = (end - base).min(block_len);
            slices.push(IoSliceMut::new(&mut slot.block[from..to]));
        }
    }
    slices
}

fn zero(slots: &mut [Slot<'_>], range: Range<u64>) {
    for mut slice in slices(slots, range) {
        slice.fill(0);
    }
}
