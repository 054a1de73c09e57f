use std::{collections::VecDeque, ops::RangeInclusive};

/// Most runs of packet numbers remembered: a quarter of a second of 10 Gbit/s at 30 % loss. Costs
/// 16 bytes each. Beyond it the oldest run is forgotten, so that its blocks are sent again.
pub(crate) const RANGES_MAX: usize = 1 << 16;

/// The packet numbers that arrived at or above a floor, as runs.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Ascending, disjoint, not adjacent: first and last number of each run.
    runs: VecDeque<(u64, u64)>,
    floor: u64,
}

/// How a number was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Directly after the largest.
    InOrder,
    /// Beyond the largest, with a gap between.
    AfterGap,
    /// Below the largest.
    Late,
    /// Not new, or below the floor.
    Repeated,
}

impl Arrivals {
    /// Enters a number.
    pub(crate) fn insert(&mut self, number: u64) -> Arrival {
        if number < self.floor {
            return Arrival::Repeated;
        }
        match self.runs.back_mut() {
            Some((_, last)) if number == *last + 1 => {
                *last = number;
                Arrival::InOrder
            }
            Some((_, last)) if number <= *last => self.insert_late(number),
            Some(_) => {
                self.push_run(number);
                Arrival::AfterGap
            }
            None => {
                self.push_run(number);
                if number == self.floor {
                    Arrival::InOrder
                } else {
                    Arrival::AfterGap
                }
            }
        }
    }

    fn push_run(&mut self, number: u64) {
        if self.runs.len() == RANGES_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back((number, number));
    }

    fn insert_late(&mut self, number: u64) -> Arrival {
        let after = self.runs.partition_point(|(first, _)| *first <= number);
        let before = after.checked_sub(1).map(|index| self.runs[index]);
        if before.is_some_and(|(_, last)| number <= last) {
            return Arrival::Repeated;
        }
        let joins_before = before.is_some_and(|(_, last)| last + 1 == number);
        let joins_after = self
            .runs
            .get(after)
            .is_some_and(|(first, _)| number + 1 == *first);
        match (joins_before, joins_after) {
            (true, true) => {
                self.runs[after - 1].1 = self.runs[after].1;
                self.runs.remove(after);
            }
            (true, false) => self.runs[after - 1].1 = number,
            (false, true) => self.runs[after].0 = number,
            (false, false) if self.runs.len() == RANGES_MAX && after == 0 => {}
            (false, false) => self.insert_run(after, number),
        }
        Arrival::Late
    }

    fn insert_run(&mut self, index: usize, number: u64) {
        let full = self.runs.len() == RANGES_MAX;
        if full {
            self.runs.pop_front();
        }
        self.runs
            .insert(index - usize::from(full), (number, number));
    }

    /// Forgets everything below `floor`; floors never fall.
    pub(crate) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while self
            .runs
            .front()
            .is_some_and(|(_, last)| *last < self.floor)
        {
            self.runs.pop_front();
        }
        if let Some((first, _)) = self.runs.front_mut() {
            *first = (*first).max(self.floor);
        }
    }

    /// Nothing below is remembered.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The runs within `low..=high`, cut to it, newest first.
    pub(crate) fn descending(
        &self,
        low: u64,
        high: u64,
    ) -> impl Iterator<Item = RangeInclusive<u64>> {
        let end = self.runs.partition_point(|(first, _)| *first <= high);
        let runs = self.runs.range(..end).rev();
        runs.take_while(move |(_, last)| *last >= low)
            .map(move |(first, last)| (*first).max(low)..=(*last).min(high))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn agrees_with_a_plain_set() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut arrivals = Arrivals::default();
            let mut plain = BTreeSet::new();
            let mut floor = 0;
            for step in 0..400_u64 {
                let number = step.saturating_sub(30) + random.below(60);
                let is_new = number >= floor && plain.insert(number);
                let arrival = arrivals.insert(number);
                assert_eq!(arrival != Arrival::Repeated, is_new, "seed {seed}");
                if random.below(20) == 0 {
                    floor = floor.max(step.saturating_sub(40));
                    arrivals.raise_floor(floor);
                    plain.retain(|number| *number >= floor);
                }
                let low = floor + random.below(50);
                let high = low + random.below(50);
                let listed: Vec<u64> = arrivals
                    .descending(low, high)
                    .flat_map(|range| range.rev())
                    .collect();
                let wanted: Vec<u64> = plain.range(low..=high).rev().copied().collect();
                assert_eq!(listed, wanted, "seed {seed}");
            }
        }
    }

    #[test]
    fn kinds_of_arrival() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.insert(0), Arrival::InOrder);
        assert_eq!(arrivals.insert(3), Arrival::AfterGap);
        assert_eq!(arrivals.insert(1), Arrival::Late);
        assert_eq!(arrivals.insert(1), Arrival::Repeated);
        assert_eq!(arrivals.insert(2), Arrival::Late);
        assert_eq!(arrivals.runs(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_is_kept() {
        let mut arrivals = Arrivals::default();
        for number in 0..2 * RANGES_MAX as u64 {
            arrivals.insert(number * 2);
        }
        assert_eq!(arrivals.runs(), RANGES_MAX);
        assert_eq!(arrivals.insert(1), Arrival::Late, "no room, no harm");
        assert_eq!(arrivals.insert(4 * RANGES_MAX as u64 - 7), Arrival::Late);
        assert!(arrivals.runs() <= RANGES_MAX);
        let largest = 4 * RANGES_MAX as u64 - 2;
        assert_eq!(
            arrivals.descending(0, u64::MAX).next(),
            Some(largest..=largest)
        );
    }
}
