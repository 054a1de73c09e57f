use std::{collections::BTreeMap, ops::Range};

/// A set of integers, kept as disjoint ranges that do not touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeSet {
    /// Start to end (exclusive).
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all of `range` and returns how many of it were not in the set before.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let Range { mut start, mut end } = range;
        let mut fresh = end - start;
        // Those that touch or overlap begin at or below `end`: swallow them from the right.
        while let Some((&low, &high)) = self.ranges.range(..=end).next_back() {
            if high < start {
                break;
            }
            let overlap_start = low.max(range.start);
            let overlap_end = high.min(range.end);
            fresh -= overlap_end.saturating_sub(overlap_start);
            start = start.min(low);
            end = end.max(high);
            self.ranges.remove(&low);
        }
        self.ranges.insert(start, end);
        self.len += fresh;
        fresh
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        self.ranges
            .range(..=value)
            .next_back()
            .is_some_and(|(_, &end)| value < end)
    }

    /// Whether all of `range` is in the set.
    pub fn covers(&self, range: Range<u64>) -> bool {
        self.gaps(range).next().is_none()
    }

    /// What of `range` is not in the set, ascending.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = range;
        let before = self.ranges.range(..=start).next_back();
        let mut at = before.map_or(start, |(_, &high)| high.max(start));
        let mut later = self.ranges.range(start.saturating_add(1).min(end)..end);
        std::iter::from_fn(move || {
            while at < end {
                let (low, high) = later.next().map_or((end, end), |(&low, &high)| (low, high));
                let gap = at..low;
                at = at.max(high);
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// The smallest value that is not in the set.
    pub fn first_gap(&self) -> u64 {
        match self.ranges.first_key_value() {
            Some((0, &end)) => end,
            _ => 0,
        }
    }

    /// How many values are in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<u64>> + DoubleEndedIterator + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }
}
