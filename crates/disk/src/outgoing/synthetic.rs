//! Bytes out of nothing, for measuring without a disk. Where time decides, the list comes last: only
//! then is it known how long the one file in it is.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use haul_batch::Batch;
use haul_manifest::{DirId, Entry, Layout, ListWriter, Meta, Name, TORN, VOID};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, BlockNo, HEADER_LEN, Stream};

use super::{Available, Totals};
use crate::{DiskError, FileFailure, Supply};

/// Noise that blocks are cut from: longer than what compressors on the way look back.
const NOISE_BYTES: usize = 1 << 20;
/// Distance between the beginnings of two neighbouring blocks in the noise, in bytes: odd, so that
/// all of it is used.
const NOISE_STEP: u64 = 104_729;
/// Blocks are made available ahead of the last one asked for: an eighth of what was asked for,
/// within these bytes. That outruns any rate that grows by a factor in a round trip, and when the
/// time is over little is left to be sent.
const AHEAD_MIN: u64 = 1 << 20;
const AHEAD_MAX: u64 = 64 << 20;
/// What the receiver is told it gets.
const NAME: &[u8] = b"measurement";

/// When it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After this time from the beginning of the scan.
    Elapsed(Duration),
    /// After so many bytes.
    Bytes(u64),
}

/// Blocks of noise, as many as are wanted.
#[derive(Debug)]
pub struct Synthetic {
    block_len: usize,
    until: Until,
    noise: Vec<u8>,
    state: Mutex<State>,
    /// Signalled when the scan is to end.
    stopped: Condvar,
}

#[derive(Debug)]
struct State {
    list: ListWriter,
    list_floor: u64,
    /// Blocks below this have been asked for.
    asked: u64,
    available: Available,
    totals: Totals,
    stopped: bool,
}

impl Synthetic {
    /// Prepares to send blocks of `block_len` bytes.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(block_len: usize, until: Until) -> Arc<Self> {
        assert!(block_len > 0);
        let mut state = State {
            list: ListWriter::new(block_len),
            list_floor: 0,
            asked: 0,
            available: Available::default(),
            totals: Totals::default(),
            stopped: false,
        };
        if let Until::Bytes(bytes) = until {
            state.finish_list(bytes);
        }
        let this = Self {
            block_len,
            until,
            noise: noise(NOISE_BYTES + block_len),
            stopped: Condvar::new(),
            state: Mutex::new(state),
        };
        this.raise(&mut this.lock());
        Arc::new(this)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes more available, up to the end.
    fn raise(&self, state: &mut State) {
        if state.available.complete {
            return;
        }
        let len = self.block_len as u64;
        let ahead = (state.asked * len / 8).clamp(AHEAD_MIN, AHEAD_MAX) / len;
        let wanted = (state.asked + ahead).max(state.available.content_blocks);
        match self.until {
            Until::Bytes(bytes) if wanted * len >= bytes => self.end(state, bytes),
            _ if wanted >= TORN => self.end(state, state.available.content_blocks * len),
            _ => state.available.content_blocks = wanted,
        }
        if !state.totals.scanned {
            let bytes = state.available.content_blocks * len;
            state.totals.bytes = bytes;
            state.totals.content_bytes = bytes;
        }
    }

    /// Nothing more comes.
    fn end(&self, state: &mut State, bytes: u64) {
        if !state.totals.scanned {
            state.finish_list(bytes);
        }
        state.available.content_blocks = bytes.div_ceil(self.block_len as u64);
        state.available.complete = true;
        self.stopped.notify_all();
    }

    /// The bytes of a content block.
    fn block(&self, number: u64) -> &[u8] {
        let at = (number.wrapping_mul(NOISE_STEP) % NOISE_BYTES as u64) as usize;
        &self.noise[at..at + self.block_len]
    }
}

impl State {
    /// Lists what it comes to.
    fn finish_list(&mut self, bytes: u64) {
        if let Ok(name) = Name::new(NAME) {
            self.list.push(&Entry::File {
                parent: DirId::DESTINATION,
                name,
                meta: Meta::default(),
                size: bytes,
                layout: Layout::Dense,
                digest: None,
            });
        }
        self.list.push(&Entry::End {
            content_bytes: bytes,
            files: 1,
            entries: 1,
            unlisted: 0,
        });
        self.list.pad();
        self.available.list_blocks = self.list.blocks();
        self.totals.bytes = bytes;
        self.totals.content_bytes = bytes;
        self.totals.scanned = true;
    }
}

impl Supply for Synthetic {
    fn scan(&self, listed: &mut dyn FnMut(Available)) -> Result<(), DiskError> {
        let began = Instant::now();
        listed(self.lock().available);
        let mut state = self.lock();
        while !state.stopped && !state.available.complete {
            let Until::Elapsed(limit) = self.until else {
                // The blocks asked for decide, not this.
                return Ok(());
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                let bytes = state.available.content_blocks * self.block_len as u64;
                self.end(&mut state, bytes);
            } else {
                let waited = self.stopped.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let available = state.available;
        drop(state);
        listed(available);
        Ok(())
    }

    fn fill(
        &self,
        blocks: &[BlockAddr],
        batch: &mut Batch,
    ) -> Result<Option<Available>, DiskError> {
        let mut state = self.lock();
        for (addr, segment) in blocks.iter().zip(batch.segments_mut()) {
            let (head, rest) = segment[HEADER_LEN..].split_at_mut(BLOCK_ADDR_LEN);
            let block = &mut rest[..self.block_len];
            let number = addr.block.0;
            let known = match addr.stream {
                Stream::List if number < state.list_floor => None,
                Stream::List => Some(
                    state
                        .list
                        .block(number)
                        .ok_or(DiskError::NotAvailable(*addr))?,
                ),
                Stream::Content if number < state.available.content_blocks => {
                    Some(self.block(number))
                }
                Stream::Content => return Err(DiskError::NotAvailable(*addr)),
            };
            if let Some(bytes) = known {
                block.copy_from_slice(bytes);
                head.copy_from_slice(&addr.encode());
            } else {
                block.fill(0);
                head.copy_from_slice(&BlockAddr::content(VOID).encode());
            }
            if addr.stream == Stream::Content {
                state.asked = state.asked.max(number + 1);
            }
        }
        let before = state.available;
        self.raise(&mut state);
        Ok((state.available != before).then_some(state.available))
    }

    fn release(&self, stream: Stream, floor: BlockNo) -> Option<Available> {
        if stream == Stream::List {
            let mut state = self.lock();
            state.list_floor = state.list_floor.max(floor.0);
            state.list.release(floor.0);
        }
        None
    }

    fn totals(&self) -> Totals {
        self.lock().totals
    }

    fn failures(&self) -> Vec<FileFailure> {
        Vec::new()
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.stopped.notify_all();
    }
}

/// What no compressor can shorten (xorshift64*, Vigna 2016).
fn noise(len: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(len + 8);
    while noise.len() < len {
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        noise.extend(word.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    noise.truncate(len);
    noise
}
