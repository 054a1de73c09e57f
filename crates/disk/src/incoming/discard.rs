//! Blocks into nothing, for measuring without a disk: counted, and forgotten.

use haul_batch::Batch;
use haul_manifest::{Entry, RangeSet, TORN, VOID};
use haul_wire::{BlockAddr, Stream};

use super::{EXTENTS_MAX, FileEvent, Inflow, Placed, Received, payload};
use crate::{DiskError, Sink, WAITING_BYTES_MAX};

/// What is being received and thrown away. Needs no list to take content; the list, when it
/// comes, says how much there should be.
#[derive(Debug)]
pub struct Discard {
    block_len: usize,
    inflow: Inflow,
    /// Bytes of content, the padding of the last block included.
    arrived: RangeSet,
}

impl Discard {
    /// Prepares to receive blocks of `block_len` bytes.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(block_len: usize) -> Self {
        assert!(block_len > 0);
        Self {
            block_len,
            inflow: Inflow::default(),
            arrived: RangeSet::new(),
        }
    }

    /// One file is all that a measurement lists.
    fn read_list(&mut self) -> Result<(), DiskError> {
        while let Some(entry) = self.inflow.next_entry()? {
            match entry {
                Entry::File { .. } | Entry::End { .. } => {}
                Entry::Dir { name, .. }
                | Entry::Symlink { name, .. }
                | Entry::Stream { name, .. }
                | Entry::Skipped { name, .. }
                | Entry::HardLink { name, .. } => {
                    let name = name.as_bytes().to_vec();
                    return Err(DiskError::Unexpected { name });
                }
                Entry::Changed { .. }
                | Entry::Torn { .. }
                | Entry::Digest { .. }
                | Entry::Extra(_)
                | Entry::Closed { .. } => {
                    return Err(DiskError::BlockBeyondEnd);
                }
            }
        }
        Ok(())
    }
}

impl Sink for Discard {
    fn place(&mut self, batch: Batch, segments: &[(BlockAddr, u8)]) -> Result<Placed, DiskError> {
        let mut placed = Placed::default();
        for (addr, index) in segments {
            let bytes = payload(&batch, *index, addr.part, self.block_len)?;
            let number = addr.block.0;
            if addr.stream == Stream::Content && (TORN..VOID).contains(&number) {
                return Err(DiskError::BlockBeyondEnd);
            }
            let at = number * self.block_len as u64 + addr.part.range(self.block_len).start as u64;
            let len = bytes.len() as u64;
            let (list, content) = match addr.stream {
                Stream::List if self.inflow.take(at, bytes) => (len, 0),
                Stream::Content if number != VOID => (0, self.arrived.insert(at..at + len)),
                _ => (0, 0),
            };
            placed.written_bytes += list + content;
            placed.content_bytes += content;
            placed.duplicate_blocks += u64::from(list + content == 0);
        }
        self.read_list()?;
        if self.inflow.waiting_bytes() > WAITING_BYTES_MAX {
            return Err(DiskError::TooMuchWaiting);
        }
        let ranges = self.arrived.ranges();
        if ranges.len() > EXTENTS_MAX {
            return Err(DiskError::TooManyUnfinished);
        }
        placed.complete = self.inflow.is_complete(&self.arrived, self.block_len)?;
        Ok(placed)
    }

    fn poll_event(&mut self) -> Option<FileEvent> {
        None
    }

    fn finish(self: Box<Self>) -> Result<Received, DiskError> {
        Ok(Received {
            bytes: self.inflow.content_bytes(),
            ..Received::default()
        })
    }
}
