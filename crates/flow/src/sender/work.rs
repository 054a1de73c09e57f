mod had;
mod stream;

use std::collections::BTreeMap;

use haul_wire::{BlockAddr, BlockNo, Part, Stream};

use super::parts::Parts;
use stream::StreamWork;

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
    /// With `waits_for_judgement` no content is there to be taken before [`Self::arrive_had`] says
    /// that it has been judged.
    pub(crate) fn new(waits_for_judgement: bool) -> Self {
        let judged = if waits_for_judgement { 0 } else { u64::MAX };
        Self {
            list: StreamWork::new(u64::MAX),
            content: StreamWork::new(judged),
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
        self.stream_mut(stream).set_available(blocks);
    }

    /// No more content will come to exist, and list only to tell what changed while it was read.
    pub(crate) fn set_complete(&mut self) {
        self.is_complete = true;
    }

    /// Whether everything there will ever be has been sent at least once, or need not be.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_complete
            && !self.has_begun()
            && self.list.is_exhausted()
            && self.content.is_exhausted()
    }

    /// Whether everything there will ever be has arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        self.is_complete && self.list.is_delivered() && self.content.is_delivered()
    }

    /// Whether everything that was taken so far has arrived.
    pub(crate) fn is_settled(&self) -> bool {
        self.list.is_settled() && self.content.is_settled()
    }

    /// Whether a block could be planned.
    pub(crate) fn has_any(&self) -> bool {
        self.has_begun() || self.queued() > 0 || self.list.has_fresh() || self.content.has_fresh()
    }

    fn has_begun(&self) -> bool {
        let mut begun = [self.opened, self.put_back].into_iter().flatten();
        begun.any(|(block, _)| !self.has_arrived(block))
    }

    /// Blocks that wait to be sent again.
    pub(crate) fn queued(&self) -> u64 {
        self.list.queued_count() + self.content.queued_count()
    }

    /// All blocks of the stream below have arrived.
    pub(crate) fn floor(&self, stream: Stream) -> BlockNo {
        BlockNo(self.stream(stream).floor())
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

    /// What to send in place of something that has been sent, on the path as it is now; `None` when
    /// all of the block has arrived.
    pub(crate) fn instead_of(&mut self, block: BlockAddr) -> Option<BlockAddr> {
        if self.has_arrived(block.with_part(Part::WHOLE)) {
            return None;
        }
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
            self.stream(block.stream).is_queued(block.block.0)
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

    /// The receiver has these content blocks, from the first to before the second number of each
    /// pair, and has judged all below `judged`. Returns how many of them had been taken: those have
    /// arrived now, the others will have once their turn comes.
    pub(crate) fn arrive_had(&mut self, ranges: &[(u64, u64)], judged: u64) -> u64 {
        self.content.set_judged(judged);
        for (start, end) in ranges {
            self.content.remember_had(*start, *end);
        }
        let mut arrived = 0;
        // United by now, so that nothing is looked at twice however often it was told.
        while let Some((start, end)) = self.content.take_told() {
            let mut from = start;
            while let Some(block) = self.content.first_missing(from, end) {
                arrived += u64::from(self.arrive(BlockAddr::content(block)));
                from = block + 1;
            }
        }
        self.content.skip_had();
        arrived
    }

    /// Content blocks that the receiver had and that were never sent.
    pub(crate) fn had_count(&self) -> u64 {
        self.content.had_count()
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
mod tests;
