use std::collections::BTreeMap;

/// Most ranges remembered; costs some 30 bytes each. Beyond it further ones are forgotten at once,
/// so that their blocks are sent in vain.
const RANGES_MAX: usize = 1 << 20;

/// What the receiver has of the blocks that are still to come, as half-open ranges.
#[derive(Debug, Default)]
pub(super) struct Had {
    /// Disjoint and not adjacent: the first block of each range, and the one after its last.
    ranges: BTreeMap<u64, u64>,
}

impl Had {
    /// Adds the blocks from `start` to below `end`; none when that is not above `start`.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        while let Some((first, after)) = self.last_touched(start, end) {
            self.ranges.remove(&first);
            start = start.min(first);
            end = end.max(after);
        }
        if self.ranges.len() < RANGES_MAX {
            self.ranges.insert(start, end);
        }
    }

    /// The last range that overlaps the one given or is adjacent to it.
    fn last_touched(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let (first, after) = self.ranges.range(..=end).next_back()?;
        (*after >= start).then_some((*first, *after))
    }

    /// The first block there is.
    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    /// Takes the first range, as far as it lies below `limit`; `None` when there is nothing below.
    pub(super) fn take_below(&mut self, limit: u64) -> Option<(u64, u64)> {
        let (start, end) = self.ranges.pop_first()?;
        let cut = end.min(limit).max(start);
        if cut < end {
            self.ranges.insert(cut, end);
        }
        (start < cut).then_some((start, cut))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn agrees_with_a_plain_set() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut had = Had::default();
            let mut plain = BTreeSet::new();
            for _ in 0..60 {
                let (start, end) = (random.below(300), random.below(300));
                had.insert(start, end);
                plain.extend(start..end.max(start));
                assert!(had.ranges.len() <= plain.len(), "seed {seed}");
                let ends = had.ranges.iter().zip(had.ranges.keys().skip(1));
                let are_apart = ends.into_iter().all(|((_, end), next)| end < next);
                assert!(are_apart, "seed {seed}");
                if random.below(4) == 0 {
                    let limit = random.below(300);
                    assert_eq!(had.first(), plain.first().copied(), "seed {seed}");
                    let taken = had.take_below(limit);
                    let (start, end) = taken.unwrap_or((0, 0));
                    assert!((start..end).all(|block| plain.remove(&block)));
                    let is_whole = end == limit || !plain.contains(&end);
                    assert!(is_whole, "seed {seed}");
                    let is_first = plain.first().is_none_or(|first| *first >= end);
                    assert!(is_first, "seed {seed}");
                    let has_none = plain.first().is_none_or(|first| *first >= limit);
                    assert!(taken.is_some() || has_none, "seed {seed}");
                }
            }
            let mut left = BTreeSet::new();
            while let Some((start, end)) = had.take_below(u64::MAX) {
                left.extend(start..end);
            }
            assert_eq!(left, plain, "seed {seed}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_still_grows_by_what_it_touches() {
        let mut had = Had::default();
        for index in 0..RANGES_MAX as u64 + 10 {
            had.insert(index * 3, index * 3 + 1);
        }
        assert_eq!(had.ranges.len(), RANGES_MAX);
        had.insert(1, 3);
        assert_eq!(had.ranges.len(), RANGES_MAX - 1);
        had.insert(u64::MAX - 1, u64::MAX);
        had.insert(u64::MAX - 5, u64::MAX - 3);
        assert_eq!(had.ranges.len(), RANGES_MAX);
        had.insert(0, u64::MAX);
        assert_eq!(had.take_below(u64::MAX), Some((0, u64::MAX)));
        assert_eq!(had.first(), None);
    }
}
