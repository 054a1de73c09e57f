use std::collections::BTreeMap;

use haul_wire::{BlockAddr, Part};

/// A set of a block's parts, by index.
type PartMask = u128;

/// How far a block has got that travels in parts.
#[derive(Debug, Clone, Copy)]
struct Split {
    count: usize,
    arrived: PartMask,
    /// To be sent, for the first time or again.
    pending: PartMask,
}

impl Split {
    fn new(count: usize) -> Self {
        Self {
            count,
            arrived: 0,
            pending: Self::all(count),
        }
    }

    fn all(count: usize) -> PartMask {
        PartMask::MAX >> (PartMask::BITS as usize - count)
    }

    fn is_of(&self, part: Part) -> bool {
        self.count == part.count()
    }

    fn is_untouched(&self) -> bool {
        self.pending == Self::all(self.count)
    }
}

fn bit(part: Part) -> PartMask {
    1 << part.index()
}

/// The blocks that do not fit the path's datagrams any more and travel in parts: empty as long as
/// the path carries what it was opened for.
///
/// Every part has a packet number, a fate and repeats of its own, as whole blocks have. When the
/// path shrinks again, blocks are cut anew, and parts of an earlier cut mean nothing here any more;
/// the receiver goes by bytes and may keep them.
#[derive(Debug)]
pub(crate) struct Parts {
    /// In how many parts a block must travel now.
    count: usize,
    splits: BTreeMap<BlockAddr, Split>,
}

impl Parts {
    pub(crate) fn new() -> Self {
        Self {
            count: 1,
            splits: BTreeMap::new(),
        }
    }

    /// From now on blocks travel in so many parts.
    pub(crate) fn set_count(&mut self, count: usize) {
        self.count = count;
    }

    /// Whether the path carries it, and it is of the block's present cut.
    pub(crate) fn fits(&self, addr: BlockAddr) -> bool {
        match self.split(addr) {
            Some(split) => split.is_of(addr.part) && split.count >= self.count,
            None => addr.part == Part::WHOLE && self.count == 1,
        }
    }

    /// Whether the block travels in parts.
    pub(crate) fn is_split(&self, addr: BlockAddr) -> bool {
        self.split(addr).is_some()
    }

    /// Cuts the block if the path asks for it; `false` when it travels whole.
    pub(crate) fn cut(&mut self, addr: BlockAddr) -> bool {
        let whole = addr.with_part(Part::WHOLE);
        let split = self.splits.get(&whole).copied();
        match split {
            // Nothing of it is on its way, and it need not be cut any more.
            Some(split) if self.count == 1 && split.is_untouched() => {
                self.splits.remove(&whole);
                false
            }
            Some(split) if split.count >= self.count => true,
            None if self.count == 1 => false,
            _ => {
                self.splits.insert(whole, Split::new(self.count));
                true
            }
        }
    }

    /// Takes a part of the block that must be sent, and tells whether there are others.
    pub(crate) fn take_pending(&mut self, addr: BlockAddr) -> Option<(BlockAddr, bool)> {
        let split = self.splits.get_mut(&addr.with_part(Part::WHOLE))?;
        if split.pending == 0 {
            return None;
        }
        let index = split.pending.trailing_zeros() as usize;
        split.pending &= split.pending - 1;
        let part = Part::new(index, split.count)?;
        Some((addr.with_part(part), split.pending != 0))
    }

    /// A part that may be sent once more: one that must be, or else one that has not arrived.
    pub(crate) fn any_missing(&self, addr: BlockAddr) -> Option<BlockAddr> {
        let split = self.split(addr)?;
        let missing = Split::all(split.count) & !split.arrived;
        let wanted = if split.pending == 0 {
            missing
        } else {
            split.pending
        };
        let part = Part::new(wanted.trailing_zeros() as usize, split.count)?;
        Some(addr.with_part(part))
    }

    /// Whether this part waits to be sent.
    pub(crate) fn is_pending(&self, addr: BlockAddr) -> bool {
        let split = self.split(addr);
        split.is_some_and(|split| split.is_of(addr.part) && split.pending & bit(addr.part) != 0)
    }

    /// This part is being sent outside its turn; whether others of the block still wait.
    pub(crate) fn unqueue(&mut self, addr: BlockAddr) -> bool {
        let Some(split) = self.splits.get_mut(&addr.with_part(Part::WHOLE)) else {
            return false;
        };
        split.pending &= !bit(addr.part);
        split.pending != 0
    }

    /// Whether this part has arrived, the block as a whole not having.
    pub(crate) fn has_arrived(&self, addr: BlockAddr) -> bool {
        let split = self.split(addr);
        split.is_some_and(|split| split.is_of(addr.part) && split.arrived & bit(addr.part) != 0)
    }

    /// A part arrived; whether it was the last that the block lacked.
    pub(crate) fn arrive(&mut self, addr: BlockAddr) -> bool {
        let whole = addr.with_part(Part::WHOLE);
        let Some(split) = self.splits.get_mut(&whole) else {
            return false;
        };
        if !split.is_of(addr.part) {
            return false;
        }
        split.arrived |= bit(addr.part);
        split.pending &= !bit(addr.part);
        split.arrived == Split::all(split.count)
    }

    /// A part was lost; whether it must be sent again.
    pub(crate) fn lose(&mut self, addr: BlockAddr) -> bool {
        match self.splits.get_mut(&addr.with_part(Part::WHOLE)) {
            Some(split) if split.is_of(addr.part) && split.arrived & bit(addr.part) == 0 => {
                split.pending |= bit(addr.part);
                true
            }
            _ => false,
        }
    }

    /// All of the block has arrived.
    pub(crate) fn forget(&mut self, addr: BlockAddr) {
        if !self.splits.is_empty() {
            self.splits.remove(&addr.with_part(Part::WHOLE));
        }
    }

    fn split(&self, addr: BlockAddr) -> Option<&Split> {
        self.splits.get(&addr.with_part(Part::WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(index: usize, count: usize) -> BlockAddr {
        BlockAddr::content(5).with_part(Part::new(index, count).unwrap())
    }

    #[test]
    fn a_block_is_cut_when_the_path_asks_for_it_and_again_when_it_shrinks_further() {
        let mut parts = Parts::new();
        let block = BlockAddr::content(5);
        assert!(!parts.cut(block) && parts.fits(block));
        parts.set_count(2);
        assert!(!parts.fits(block) && parts.cut(block));
        assert_eq!(parts.take_pending(block), Some((part(0, 2), true)));
        assert!(!parts.arrive(part(0, 2)) && parts.has_arrived(part(0, 2)));
        parts.set_count(3);
        assert!(!parts.fits(part(1, 2)) && parts.cut(block));
        assert!(!parts.arrive(part(1, 2)), "of an earlier cut");
        assert!(!parts.lose(part(1, 2)));
        for index in 0..3 {
            assert_eq!(parts.take_pending(block), Some((part(index, 3), index < 2)));
        }
        assert_eq!(parts.take_pending(block), None);
        assert!(parts.lose(part(1, 3)));
        assert!(parts.is_pending(part(1, 3)));
        assert!(!parts.arrive(part(0, 3)) && !parts.arrive(part(2, 3)));
        assert_eq!(parts.any_missing(block), Some(part(1, 3)));
        assert!(parts.arrive(part(1, 3)), "late after all");
    }

    #[test]
    fn a_path_that_grows_again_finishes_what_is_on_its_way_and_mends_the_rest() {
        let mut parts = Parts::new();
        parts.set_count(4);
        let (begun, whole) = (BlockAddr::content(1), BlockAddr::content(2));
        assert!(parts.cut(begun) && parts.cut(whole));
        parts.take_pending(begun);
        parts.set_count(1);
        assert!(parts.cut(begun), "smaller parts fit as well");
        assert!(!parts.cut(whole) && !parts.is_split(whole));
    }
}
