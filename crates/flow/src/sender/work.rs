use std::collections::BTreeMap;

use haul_wire::{BlockAddr, BlockNo, Stream};

use crate::bits::BitRing;

/// Most blocks a stream may run ahead of its oldest block that has not arrived: 6 GB of the usual
/// blocks. Costs two bits each.
pub(crate) const BLOCK_WINDOW_MAX: u64 = 1 << 22;
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
#[derive(Debug)]
pub(crate) struct StreamWork {
    available: u64,
    fresh: u64,
    floor: u64,
    /// How far `fresh` may be ahead of `floor` before the sets must be widened.
    window: u64,
    arrived: BitRing,
    queued: BitRing,
    queued_count: u64,
    /// Nothing below is queued.
    queued_from: u64,
}

impl StreamWork {
    fn new() -> Self {
        Self {
            available: 0,
            fresh: 0,
            floor: 0,
            window: BLOCK_WINDOW_FIRST,
            arrived: BitRing::new(BLOCK_WINDOW_FIRST),
            queued: BitRing::new(BLOCK_WINDOW_FIRST),
            queued_count: 0,
            queued_from: 0,
        }
    }

    fn has_fresh(&self) -> bool {
        self.fresh < self.available && self.fresh - self.floor < BLOCK_WINDOW_MAX
    }

    fn take_fresh(&mut self) -> Option<u64> {
        self.has_fresh().then(|| {
            let block = self.fresh;
            self.fresh += 1;
            if self.fresh - self.floor > self.window {
                self.widen();
            }
            block
        })
    }

    fn widen(&mut self) {
        self.window *= 2;
        let end = self.floor + self.window;
        self.arrived.reserve(self.floor, end);
        self.queued.reserve(self.floor, end);
    }

    fn first_queued(&self) -> Option<u64> {
        if self.queued_count == 0 {
            return None;
        }
        let from = self.queued_from.max(self.floor);
        self.queued.first(from, self.fresh)
    }

    fn take_queued(&mut self) -> Option<u64> {
        let block = self.first_queued()?;
        self.unqueue(block);
        self.queued_from = block + 1;
        Some(block)
    }

    fn queue(&mut self, block: u64) {
        if self.queued.insert(block) {
            self.queued_count += 1;
            self.queued_from = self.queued_from.min(block);
        }
    }

    fn unqueue(&mut self, block: u64) {
        self.queued_count -= u64::from(self.queued.remove(block));
    }

    fn has_arrived(&self, block: u64) -> bool {
        block < self.floor || self.arrived.contains(block)
    }

    /// Notes an arrival; whether it is the block's first.
    fn arrive(&mut self, block: u64) -> bool {
        if block < self.floor || !self.arrived.insert(block) {
            return false;
        }
        self.unqueue(block);
        if block == self.floor {
            let floor = self.arrived.first_missing(self.floor, self.fresh);
            for done in self.floor..floor {
                self.arrived.remove(done);
            }
            self.floor = floor;
        }
        true
    }
}

/// What is to be sent: both streams' blocks, and how many copies of a block are on their way.
#[derive(Debug)]
pub(crate) struct Work {
    list: StreamWork,
    content: StreamWork,
    is_complete: bool,
    /// Copies in flight of blocks that have more than one; all others have one or none. Bounded by
    /// the repeats the tail chase and the probes are allowed.
    copies: BTreeMap<BlockAddr, u32>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            list: StreamWork::new(),
            content: StreamWork::new(),
            is_complete: false,
            copies: BTreeMap::new(),
        }
    }

    /// Blocks below `blocks` exist. Never falls; content does not grow any more once complete.
    pub(crate) fn set_available(&mut self, stream: Stream, blocks: u64) {
        if self.is_complete && stream == Stream::Content {
            return;
        }
        let work = self.stream_mut(stream);
        work.available = work.available.max(blocks);
    }

    /// No more content will come to exist, and list only to tell what changed while it was read.
    pub(crate) fn set_complete(&mut self) {
        self.is_complete = true;
    }

    /// Whether everything there will ever be has been sent at least once.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_complete
            && [&self.list, &self.content]
                .iter()
                .all(|work| work.fresh == work.available)
    }

    /// Whether everything there will ever be has arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        self.is_complete
            && [&self.list, &self.content]
                .iter()
                .all(|work| work.floor == work.available)
    }

    /// Whether a block could be planned.
    pub(crate) fn has_any(&self) -> bool {
        self.queued() > 0 || self.list.has_fresh() || self.content.has_fresh()
    }

    /// Blocks that wait to be sent again.
    pub(crate) fn queued(&self) -> u64 {
        self.list.queued_count + self.content.queued_count
    }

    /// All blocks of the stream below have arrived.
    pub(crate) fn floor(&self, stream: Stream) -> BlockNo {
        BlockNo(self.stream(stream).floor)
    }

    /// Takes the most urgent block that must be sent again: the list before the content it
    /// describes, then the oldest, which is what the receiver waits for.
    pub(crate) fn take_queued(&mut self) -> Option<BlockAddr> {
        let list = self.list.take_queued().map(BlockAddr::list);
        list.or_else(|| self.content.take_queued().map(BlockAddr::content))
    }

    /// The oldest block that must be sent again, left where it is.
    pub(crate) fn first_queued(&self) -> Option<BlockAddr> {
        let list = self.list.first_queued().map(BlockAddr::list);
        list.or_else(|| self.content.first_queued().map(BlockAddr::content))
    }

    /// Takes the next block that has never been sent.
    pub(crate) fn take_fresh(&mut self) -> Option<BlockAddr> {
        let list = self.list.take_fresh().map(BlockAddr::list);
        list.or_else(|| self.content.take_fresh().map(BlockAddr::content))
    }

    /// Whether the block has arrived.
    pub(crate) fn has_arrived(&self, block: BlockAddr) -> bool {
        self.stream(block.stream).has_arrived(block.block.0)
    }

    /// A further copy of a block goes out while one is in flight or queued.
    pub(crate) fn add_copy(&mut self, block: BlockAddr) {
        let number = block.block.0;
        let work = self.stream_mut(block.stream);
        if work.queued.contains(number) {
            // None is in flight: this one takes the queued one's place.
            work.unqueue(number);
        } else {
            *self.copies.entry(block).or_insert(1) += 1;
        }
    }

    /// Whether more than one copy of the block is on its way.
    pub(crate) fn has_other_copies(&self, block: BlockAddr) -> bool {
        self.copies.contains_key(&block)
    }

    /// A copy arrived; whether it is the block's first arrival.
    pub(crate) fn arrive(&mut self, block: BlockAddr) -> bool {
        let is_first = self.stream_mut(block.stream).arrive(block.block.0);
        if is_first {
            self.copies.remove(&block);
        }
        is_first
    }

    /// A copy was lost: queues the block unless it has arrived or another copy is on its way.
    pub(crate) fn lose(&mut self, block: BlockAddr) {
        if self.has_arrived(block) {
            return;
        }
        match self.copies.get_mut(&block) {
            Some(copies) if *copies > 2 => *copies -= 1,
            Some(_) => {
                self.copies.remove(&block);
            }
            None => self.stream_mut(block.stream).queue(block.block.0),
        }
    }

    fn stream(&self, stream: Stream) -> &StreamWork {
        match stream {
            Stream::List => &self.list,
            Stream::Content => &self.content,
        }
    }

    fn stream_mut(&mut self, stream: Stream) -> &mut StreamWork {
        match stream {
            Stream::List => &mut self.list,
            Stream::Content => &mut self.content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(list: u64, content: u64) -> Work {
        let mut work = Work::new();
        work.set_available(Stream::List, list);
        work.set_available(Stream::Content, content);
        work.set_complete();
        work
    }

    fn take_all_fresh(work: &mut Work) -> Vec<BlockAddr> {
        std::iter::from_fn(|| work.take_fresh()).collect()
    }

    #[test]
    fn the_list_goes_before_the_content_and_old_before_new() {
        let mut work = work(2, 100);
        let fresh = take_all_fresh(&mut work);
        assert_eq!(
            fresh[..3],
            [
                BlockAddr::list(0),
                BlockAddr::list(1),
                BlockAddr::content(0)
            ]
        );
        assert!(work.is_exhausted() && !work.has_any());
        for block in [70, 5, 30] {
            work.lose(BlockAddr::content(block));
        }
        work.lose(BlockAddr::list(1));
        assert_eq!(work.take_queued(), Some(BlockAddr::list(1)));
        assert_eq!(work.take_queued(), Some(BlockAddr::content(5)));
        work.lose(BlockAddr::content(2));
        assert_eq!(work.take_queued(), Some(BlockAddr::content(2)));
        assert_eq!(work.take_queued(), Some(BlockAddr::content(30)));
        assert_eq!(work.take_queued(), Some(BlockAddr::content(70)));
        assert_eq!(work.take_queued(), None);
    }

    #[test]
    fn a_block_is_queued_once_and_never_after_it_arrived() {
        let mut work = work(0, 10);
        take_all_fresh(&mut work);
        work.lose(BlockAddr::content(3));
        work.lose(BlockAddr::content(3));
        assert_eq!(work.queued(), 1);
        assert!(work.arrive(BlockAddr::content(3)), "late after all");
        assert_eq!((work.queued(), work.take_queued()), (0, None));
        work.lose(BlockAddr::content(3));
        assert_eq!(work.queued(), 0);
        assert!(!work.arrive(BlockAddr::content(3)));
    }

    #[test]
    fn a_block_with_another_copy_in_flight_is_not_queued() {
        let mut work = work(0, 1);
        take_all_fresh(&mut work);
        let block = BlockAddr::content(0);
        work.add_copy(block);
        work.add_copy(block);
        work.lose(block);
        work.lose(block);
        assert_eq!(work.queued(), 0);
        work.lose(block);
        assert_eq!(work.queued(), 1, "all three are lost");
        work.add_copy(block);
        assert_eq!(work.queued(), 0, "the copy is the retransmission");
        work.lose(block);
        assert_eq!(work.queued(), 1);
    }

    #[test]
    fn the_floor_is_the_oldest_block_that_is_missing() {
        let mut work = work(0, 10_000);
        take_all_fresh(&mut work);
        for block in (1..10_000).rev() {
            assert!(work.arrive(BlockAddr::content(block)));
        }
        assert_eq!(work.floor(Stream::Content), BlockNo(0));
        assert!(!work.is_delivered());
        work.arrive(BlockAddr::content(0));
        assert_eq!(work.floor(Stream::Content), BlockNo(10_000));
        assert!(work.is_delivered());
    }

    #[test]
    fn a_missing_block_holds_the_stream_back_in_the_end() {
        let mut work = work(0, u64::MAX >> 17);
        for block in 0..BLOCK_WINDOW_MAX {
            assert_eq!(work.take_fresh(), Some(BlockAddr::content(block)));
            if block > 0 {
                work.arrive(BlockAddr::content(block));
            }
        }
        assert_eq!(work.take_fresh(), None);
        work.arrive(BlockAddr::content(0));
        assert!(work.take_fresh().is_some());
    }

    #[test]
    fn only_the_list_grows_after_the_end() {
        let mut work = work(1, 1);
        work.set_available(Stream::Content, 5);
        assert_eq!(take_all_fresh(&mut work).len(), 2);
        work.set_available(Stream::List, 2);
        assert_eq!(work.take_fresh(), Some(BlockAddr::list(1)));
    }
}
