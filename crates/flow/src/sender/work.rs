use std::collections::BTreeMap;

use haul_wire::{BlockAddr, BlockNo, Part, Stream};

use super::parts::Parts;
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
    parts: Parts,
    /// A block whose parts are being taken one after the other, and whether they go again.
    opened: Option<(BlockAddr, bool)>,
    /// Taken, and put back because it did not go with the others.
    put_back: Option<(BlockAddr, bool)>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            list: StreamWork::new(),
            content: StreamWork::new(),
            is_complete: false,
            copies: BTreeMap::new(),
            parts: Parts::new(),
            opened: None,
            put_back: None,
        }
    }

    /// From now on the path carries blocks in so many parts.
    pub(crate) fn set_parts(&mut self, count: usize) {
        self.parts.set_count(count);
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
            && self.opened.is_none()
            && self.put_back.is_none()
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
        let has_begun = self.opened.is_some() || self.put_back.is_some();
        has_begun || self.queued() > 0 || self.list.has_fresh() || self.content.has_fresh()
    }

    /// Blocks that wait to be sent again.
    pub(crate) fn queued(&self) -> u64 {
        self.list.queued_count + self.content.queued_count
    }

    /// All blocks of the stream below have arrived.
    pub(crate) fn floor(&self, stream: Stream) -> BlockNo {
        BlockNo(self.stream(stream).floor)
    }

    /// Takes what was begun, if anything was, and whether it goes again: what was put back, then the
    /// other parts of a block.
    pub(crate) fn take_begun(&mut self) -> Option<(BlockAddr, bool)> {
        if let Some((block, is_repeat)) = self.put_back.take()
            && !self.has_arrived(block)
        {
            if self.parts.fits(block) {
                return Some((block, is_repeat));
            }
            if block.part == Part::WHOLE && self.parts.cut(block) {
                self.opened = Some((block, is_repeat));
            } else {
                self.queue(block);
            }
        }
        let (block, is_repeat) = self.opened.take()?;
        if self.has_arrived(block) {
            return None;
        }
        if !self.parts.cut(block) {
            return Some((block.with_part(Part::WHOLE), is_repeat));
        }
        let (part, has_more) = self.parts.take_pending(block)?;
        self.opened = has_more.then_some((block, is_repeat));
        Some((part, is_repeat))
    }

    /// Takes the most urgent block that must be sent again: the list before the content it
    /// describes, then the oldest, which is what the receiver waits for.
    pub(crate) fn take_queued(&mut self) -> Option<BlockAddr> {
        loop {
            let list = self.list.take_queued().map(BlockAddr::list);
            let block = list.or_else(|| self.content.take_queued().map(BlockAddr::content))?;
            if !self.parts.cut(block) {
                return Some(block);
            }
            if let Some((part, has_more)) = self.parts.take_pending(block) {
                self.opened = has_more.then_some((block, true));
                return Some(part);
            }
        }
    }

    /// What was begun, or else the oldest that must be sent again, left where it is.
    pub(crate) fn first_queued(&mut self) -> Option<BlockAddr> {
        let begun = [self.put_back, self.opened];
        for (block, _) in begun.into_iter().flatten() {
            if !self.has_arrived(block) {
                return self.instead_of(block);
            }
        }
        let list = self.list.first_queued().map(BlockAddr::list);
        let block = list.or_else(|| self.content.first_queued().map(BlockAddr::content))?;
        self.instead_of(block)
    }

    /// What to send in place of something that has been sent, on the path as it is now.
    pub(crate) fn instead_of(&mut self, block: BlockAddr) -> Option<BlockAddr> {
        if self.parts.fits(block) {
            return Some(block);
        }
        if !self.parts.cut(block) {
            return Some(block.with_part(Part::WHOLE));
        }
        let part = self.parts.any_missing(block)?;
        if self.parts.is_pending(part) {
            self.queue(block);
        }
        Some(part)
    }

    /// Takes the next block that has never been sent, or the first part of it.
    pub(crate) fn take_fresh(&mut self) -> Option<BlockAddr> {
        let list = self.list.take_fresh().map(BlockAddr::list);
        let block = list.or_else(|| self.content.take_fresh().map(BlockAddr::content))?;
        if !self.parts.cut(block) {
            return Some(block);
        }
        let (part, has_more) = self.parts.take_pending(block)?;
        self.opened = has_more.then_some((block, false));
        Some(part)
    }

    /// Puts back what was taken last; it comes first the next time.
    pub(crate) fn put_back(&mut self, block: BlockAddr, is_repeat: bool) {
        self.put_back = Some((block, is_repeat));
    }

    /// Whether the path carries it.
    pub(crate) fn fits(&self, block: BlockAddr) -> bool {
        self.parts.fits(block)
    }

    /// Whether the block, or this part of it, has arrived.
    pub(crate) fn has_arrived(&self, block: BlockAddr) -> bool {
        self.stream(block.stream).has_arrived(block.block.0) || self.parts.has_arrived(block)
    }

    /// A further copy goes out while one is in flight or queued.
    pub(crate) fn add_copy(&mut self, block: BlockAddr) {
        let is_queued = if self.parts.is_split(block) {
            self.parts.is_pending(block)
        } else {
            self.stream(block.stream).queued.contains(block.block.0)
        };
        if !is_queued {
            *self.copies.entry(block).or_insert(1) += 1;
            return;
        }
        // None is in flight: this one takes the queued one's place.
        if !self.parts.unqueue(block) {
            self.stream_mut(block.stream).unqueue(block.block.0);
        }
    }

    /// Whether more than one copy is on its way.
    pub(crate) fn has_other_copies(&self, block: BlockAddr) -> bool {
        self.copies.contains_key(&block)
    }

    /// A copy arrived; whether it completes the block for the first time.
    pub(crate) fn arrive(&mut self, block: BlockAddr) -> bool {
        if block.part != Part::WHOLE {
            self.copies.remove(&block);
            if !self.parts.arrive(block) {
                return false;
            }
        }
        let is_first = self.stream_mut(block.stream).arrive(block.block.0);
        if is_first {
            self.copies.remove(&block.with_part(Part::WHOLE));
            self.parts.forget(block);
        }
        is_first
    }

    /// A copy was lost: queues it unless it has arrived or another copy is on its way.
    pub(crate) fn lose(&mut self, block: BlockAddr) {
        if self.has_arrived(block) {
            return;
        }
        match self.copies.get_mut(&block) {
            Some(copies) if *copies > 2 => *copies -= 1,
            Some(_) => {
                self.copies.remove(&block);
            }
            // A whole that has been cut since: its parts have taken over.
            None if block.part == Part::WHOLE && self.parts.is_split(block) => {}
            None if block.part == Part::WHOLE || self.parts.lose(block) => self.queue(block),
            None => {}
        }
    }

    fn queue(&mut self, block: BlockAddr) {
        let is_same = |other: BlockAddr| other.with_part(block.part) == block;
        if !self.opened.is_some_and(|(opened, _)| is_same(opened)) {
            self.stream_mut(block.stream).queue(block.block.0);
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

    #[test]
    fn a_block_whose_parts_are_being_taken_can_be_probed_for() {
        let mut work = work(0, 2);
        work.set_parts(2);
        let first = work.take_fresh().unwrap();
        assert_eq!((first.part.index(), first.part.count()), (0, 2));
        work.lose(first);
        assert_eq!(work.queued(), 0, "its other part is still to be taken");
        assert_eq!(work.first_queued(), Some(first));
        work.add_copy(first);
        let second = BlockAddr::content(0).with_part(Part::new(1, 2).unwrap());
        assert_eq!(work.take_begun(), Some((second, false)));
        assert_eq!(work.take_begun(), None);
        assert!(!work.arrive(first) && work.arrive(second));
        assert_eq!(work.floor(Stream::Content), BlockNo(1));
    }

    #[test]
    fn what_is_put_back_comes_first_and_is_cut_when_the_path_has_shrunk() {
        let mut work = work(0, 2);
        let whole = work.take_fresh().unwrap();
        work.put_back(whole, false);
        assert!(!work.is_exhausted() && work.has_any());
        work.set_parts(3);
        let parts: Vec<_> = std::iter::from_fn(|| work.take_begun()).collect();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|(part, is_repeat)| {
            !is_repeat && part.part.count() == 3 && part.block == BlockNo(0)
        }));
    }
}
