//! One file into something that takes bytes only in their order: standard output, a pipe.
//!
//! What comes early waits in memory. The sender is kept from running further ahead than there is room for
//! by being told late which blocks it may send ([`Had::judged`]).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write as _},
    sync::Arc,
};

use haul_batch::Batch;
use haul_manifest::{ContentMap, Entry, FileNo, Layout, RangeSet, TORN, VOID};
use haul_wire::{BlockAddr, Stream, control::Had};

use super::{EXTENTS_MAX, FileEvent, Inflow, Placed, Received, payload};
use crate::{DiskError, Sink, WAITING_BYTES_MAX};

/// How far the sender may run ahead of what has been written: this by the round trip is as fast as it
/// goes (5 Gbit/s at 100 ms).
const WINDOW_BYTES: u64 = 64 << 20;
/// Bytes that are gathered for one write.
const OUT_BYTES: usize = 256 << 10;
/// Zeros that are written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What is being received and written in order.
#[derive(Debug)]
pub struct Outlet {
    block_len: usize,
    out: BufWriter<Arc<File>>,
    inflow: Inflow,
    map: ContentMap,
    /// Bytes of content, the padding of the last block included.
    arrived: RangeSet,
    /// Those that others must be written before, by their place.
    early: BTreeMap<u64, Box<[u8]>>,
    early_bytes: u64,
    /// Content before this has been written.
    next: u64,
    /// Bytes of the file that have been written, holes included.
    position: u64,
    file: Option<Known>,
    /// Blocks that the sender has been told it may send.
    judged: u64,
}

/// What the list has said of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It has so many bytes, holes included.
    Size(u64),
    /// It has not ended.
    Open,
}

impl Outlet {
    /// Prepares to receive blocks of `block_len` bytes of one file.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(out: Arc<File>, block_len: usize) -> Self {
        assert!(block_len > 0);
        Self {
            block_len,
            out: BufWriter::with_capacity(OUT_BYTES, out),
            inflow: Inflow::default(),
            map: ContentMap::new(),
            arrived: RangeSet::new(),
            early: BTreeMap::new(),
            early_bytes: 0,
            next: 0,
            position: 0,
            file: None,
            judged: 0,
        }
    }

    fn read_list(&mut self) -> Result<(), DiskError> {
        while let Some(entry) = self.inflow.next_entry()? {
            match entry {
                Entry::File { size, layout, .. } if self.file.is_none() => {
                    self.file = Some(Known::Size(size));
                    self.expect(size, &layout)?;
                }
                Entry::Stream { .. } if self.file.is_none() => {
                    self.file = Some(Known::Open);
                    self.map.push(FileNo(0), 0, TORN * self.block_len as u64)?;
                }
                Entry::Closed { size, .. } => {
                    self.file = Some(Known::Size(size));
                    self.map.set_end(size);
                }
                Entry::End { .. } | Entry::Digest { .. } | Entry::Torn { .. } | Entry::Extra(_) => {
                }
                Entry::Changed { .. } => {
                    let path = "the file".into();
                    return Err(DiskError::Changed { path });
                }
                Entry::File { name, .. }
                | Entry::Stream { name, .. }
                | Entry::Dir { name, .. }
                | Entry::Symlink { name, .. }
                | Entry::HardLink { name, .. }
                | Entry::Skipped { name, .. } => {
                    let name = name.as_bytes().to_vec();
                    return Err(DiskError::Unexpected { name });
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, size: u64, layout: &Layout) -> Result<(), DiskError> {
        for extent in layout.extents(size) {
            self.map.push(FileNo(0), extent.offset, extent.len)?;
        }
        Ok(())
    }

    /// Takes content; returns how much of it had not arrived before.
    fn take(&mut self, at: u64, bytes: &[u8]) -> u64 {
        let end = at + bytes.len() as u64;
        let gaps: Vec<_> = self.arrived.gaps(at..end).collect();
        for gap in &gaps {
            let piece = &bytes[(gap.start - at) as usize..(gap.end - at) as usize];
            self.early.insert(gap.start, piece.into());
            self.early_bytes += piece.len() as u64;
        }
        gaps.into_iter().map(|gap| self.arrived.insert(gap)).sum()
    }

    /// Content before this may be written when its turn comes: of a stream that is open the last block
    /// may end in padding.
    fn writable(&self) -> u64 {
        match self.file {
            None => 0,
            Some(Known::Size(_)) => u64::MAX,
            Some(Known::Open) => self
                .arrived
                .first_gap()
                .saturating_sub(self.block_len as u64),
        }
    }

    fn write(&mut self) -> Result<(), DiskError> {
        let writable = self.writable();
        while let Some(entry) = self.early.first_entry()
            && *entry.key() == self.next
            && *entry.key() < writable
        {
            let (at, bytes) = entry.remove_entry();
            let len = bytes.len().min((writable - at) as usize);
            let (now, later) = bytes.split_at(len);
            if !later.is_empty() {
                self.early.insert(at + len as u64, later.into());
            }
            self.early_bytes -= len as u64;
            self.next += len as u64;
            let pieces: Vec<_> = self.map.pieces(at..at + len as u64).collect();
            for piece in pieces {
                let range = piece.content.start - at..piece.content.end - at;
                self.fill_hole(piece.file_offset)?;
                self.put(&now[range.start as usize..range.end as usize])?;
            }
            self.map.release(self.next.min(self.map.end()));
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        let flushed = self.out.flush();
        flushed.map_err(|cause| DiskError::Output { cause })
    }

    /// Zeros up to this byte of the file.
    fn fill_hole(&mut self, until: u64) -> Result<(), DiskError> {
        while self.position < until {
            let len = (until - self.position).min(ZEROS.len() as u64);
            self.put(&ZEROS[..len as usize])?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let put = self.out.write_all(bytes);
        put.map_err(|cause| DiskError::Output { cause })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

impl Sink for Outlet {
    fn place(&mut self, batch: Batch, segments: &[(BlockAddr, u8)]) -> Result<Placed, DiskError> {
        let mut placed = Placed::default();
        for (addr, index) in segments {
            let bytes = payload(&batch, *index, addr.part, self.block_len)?;
            let number = addr.block.0;
            if addr.stream == Stream::Content && number != VOID {
                if number & TORN != 0 {
                    let path = "the file".into();
                    return Err(DiskError::Changed { path });
                }
                if number >= self.judged {
                    return Err(DiskError::TooMuchWaiting);
                }
            }
            let at = (number & !TORN) * self.block_len as u64;
            let at = at + addr.part.range(self.block_len).start as u64;
            let (list, content) = match addr.stream {
                Stream::List if self.inflow.take(at, bytes) => (bytes.len() as u64, 0),
                Stream::Content if number != VOID => (0, self.take(at, bytes)),
                _ => (0, 0),
            };
            placed.written_bytes += list + content;
            placed.content_bytes += content;
            placed.duplicate_blocks += u64::from(list + content == 0);
        }
        drop(batch);
        self.read_list()?;
        if self.inflow.waiting_bytes() > WAITING_BYTES_MAX || self.early.len() > EXTENTS_MAX {
            return Err(DiskError::TooMuchWaiting);
        }
        self.write()?;
        placed.complete = self.inflow.is_complete(&self.arrived, self.block_len)?;
        placed.waiting_bytes = self.early_bytes;
        Ok(placed)
    }

    fn poll_event(&mut self) -> Option<FileEvent> {
        None
    }

    /// More may come when a quarter of the room has been freed.
    fn poll_had(&mut self) -> Option<Had> {
        let window = (WINDOW_BYTES / self.block_len as u64).max(4);
        let judged = self.next / self.block_len as u64 + window;
        if judged < self.judged + window / 4 {
            return None;
        }
        self.judged = judged;
        Some(Had {
            ranges: Vec::new(),
            judged,
        })
    }

    fn finish(mut self: Box<Self>) -> Result<Received, DiskError> {
        let Some(Known::Size(size)) = self.file else {
            return Ok(Received::default());
        };
        self.fill_hole(size)?;
        self.flush()?;
        Ok(Received {
            files: 1,
            bytes: size,
            ..Received::default()
        })
    }
}
