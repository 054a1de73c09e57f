use super::had::Had;
use crate::bits::BitRing;

/// Most blocks a stream may run ahead of its oldest block that has not arrived: 6 GB of the usual
/// blocks. Costs two bits each.
pub(super) const BLOCK_WINDOW_MAX: u64 = 1 << 22;
const BLOCK_WINDOW_FIRST: u64 = 1 << 12;

/// One stream's blocks: which exist, which have been sent once, which must be sent again, which
/// have arrived.
///
/// ```text
///       floor                 fresh            available
///  ───────┬─────────────────────┬──────────────────┬───► blocks
///  arrived│ in flight, arrived, │ never sent       │ not there yet
///         │ or queued again     │                  │
/// ```
///
/// Blocks that the receiver had before they were sent count as arrived as soon as `fresh` reaches
/// them.
#[derive(Debug)]
pub(super) struct StreamWork {
    available: u64,
    /// Nothing from here on is sent for the first time.
    judged: u64,
    fresh: u64,
    floor: u64,
    /// How far `fresh` may be ahead of `floor` before the sets must be widened.
    window: u64,
    arrived: BitRing,
    queued: BitRing,
    queued_count: u64,
    /// Nothing below is queued.
    queued_from: u64,
    /// What the receiver has from `fresh` on.
    had: Had,
    /// Blocks that the receiver had and that were never sent.
    had_count: u64,
}

impl StreamWork {
    /// Blocks from `judged` on are held back.
    pub(super) fn new(judged: u64) -> Self {
        Self {
            available: 0,
            judged,
            fresh: 0,
            floor: 0,
            window: BLOCK_WINDOW_FIRST,
            arrived: BitRing::new(BLOCK_WINDOW_FIRST),
            queued: BitRing::new(BLOCK_WINDOW_FIRST),
            queued_count: 0,
            queued_from: 0,
            had: Had::default(),
            had_count: 0,
        }
    }

    /// Blocks below exist; never falls.
    pub(super) fn set_available(&mut self, blocks: u64) {
        self.available = self.available.max(blocks);
        self.skip_had();
    }

    /// Blocks below are not held back any more; never falls.
    pub(super) fn set_judged(&mut self, blocks: u64) {
        self.judged = self.judged.max(blocks);
    }

    /// All blocks below have arrived.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn had_count(&self) -> u64 {
        self.had_count
    }

    /// Whether every block there is has been taken, or need not be.
    pub(super) fn is_exhausted(&self) -> bool {
        self.fresh == self.available
    }

    /// Whether every block there is has arrived.
    pub(super) fn is_delivered(&self) -> bool {
        self.floor == self.available
    }

    /// Whether every block that was taken has arrived.
    pub(super) fn is_settled(&self) -> bool {
        self.floor == self.fresh
    }

    pub(super) fn has_fresh(&self) -> bool {
        let end = self.available.min(self.judged);
        self.fresh < end && self.fresh - self.floor < BLOCK_WINDOW_MAX
    }

    /// Takes the next block that was never sent.
    pub(super) fn take_fresh(&mut self) -> Option<u64> {
        self.has_fresh().then(|| {
            let block = self.fresh;
            self.advance(block + 1);
            self.skip_had();
            block
        })
    }

    fn advance(&mut self, fresh: u64) {
        self.fresh = fresh;
        while self.fresh - self.floor > self.window {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.window *= 2;
        let end = self.floor + self.window;
        self.arrived.reserve(self.floor, end);
        self.queued.reserve(self.floor, end);
    }

    /// Remembers that the receiver has the blocks from `start` to below `end`, if any. Those that
    /// were taken already must be fetched by [`Self::take_told`] before anything else is done.
    pub(super) fn remember_had(&mut self, start: u64, end: u64) {
        self.had.insert(start.max(self.floor), end);
    }

    /// Fetches a range of blocks that the receiver was said to have and that were taken already.
    pub(super) fn take_told(&mut self) -> Option<(u64, u64)> {
        self.had.take_below(self.fresh)
    }

    /// Goes past the blocks that the receiver has and that were never sent, as far as they exist and
    /// the window allows.
    pub(super) fn skip_had(&mut self) {
        while self.had.first() == Some(self.fresh) {
            let is_settled = self.is_settled();
            let limit = if is_settled {
                self.available
            } else {
                self.available.min(self.floor + BLOCK_WINDOW_MAX)
            };
            let Some((start, end)) = self.had.take_below(limit) else {
                return;
            };
            if is_settled {
                // Neither set holds anything: both ends move on at once, however far.
                self.floor = end;
            }
            self.advance(end);
            if !is_settled {
                self.arrived.insert_range(start, end);
            }
            self.had_count += end - start;
        }
    }

    pub(super) fn queued_count(&self) -> u64 {
        self.queued_count
    }

    pub(super) fn is_queued(&self, block: u64) -> bool {
        self.queued.contains(block)
    }

    pub(super) fn first_queued(&self) -> Option<u64> {
        if self.queued_count == 0 {
            return None;
        }
        let from = self.queued_from.max(self.floor);
        self.queued.first(from, self.fresh)
    }

    pub(super) fn take_queued(&mut self) -> Option<u64> {
        let block = self.first_queued()?;
        self.unqueue(block);
        self.queued_from = block + 1;
        Some(block)
    }

    pub(super) fn queue(&mut self, block: u64) {
        if self.queued.insert(block) {
            self.queued_count += 1;
            self.queued_from = self.queued_from.min(block);
        }
    }

    pub(super) fn unqueue(&mut self, block: u64) {
        self.queued_count -= u64::from(self.queued.remove(block));
    }

    pub(super) fn has_arrived(&self, block: u64) -> bool {
        block < self.floor || self.arrived.contains(block)
    }

    /// The first block of those from `from` to below `end`, all of them taken, that has not arrived.
    pub(super) fn first_missing(&self, from: u64, end: u64) -> Option<u64> {
        let missing = self.arrived.first_missing(from.max(self.floor), end);
        (missing < end).then_some(missing)
    }

    /// Notes an arrival; whether it is the block's first.
    pub(super) fn arrive(&mut self, block: u64) -> bool {
        if block < self.floor || !self.arrived.insert(block) {
            return false;
        }
        self.unqueue(block);
        if block == self.floor {
            let floor = self.arrived.first_missing(self.floor, self.fresh);
            self.arrived.remove_range(self.floor, floor);
            self.floor = floor;
            self.skip_had();
        }
        true
    }
}
