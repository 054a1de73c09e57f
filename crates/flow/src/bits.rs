/// Bits of one word.
const WORD: u64 = u64::BITS as u64;

/// A set of numbers within a moving window, one bit each: constant time per number, 64 numbers per
/// step when searching.
///
/// Every set bit lies in a window of at most `capacity` numbers; [`Self::reserve`] widens it. Bits
/// must be cleared before the window moves past them.
#[derive(Debug)]
pub(crate) struct BitRing {
    words: Vec<u64>,
}

impl BitRing {
    /// An empty set whose window is at least `capacity` numbers wide.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            words: vec![0; Self::words_for(capacity)],
        }
    }

    /// Words for a window of `capacity` numbers that may begin in the middle of a word.
    fn words_for(capacity: u64) -> usize {
        (capacity.div_ceil(WORD) as usize + 1).next_power_of_two()
    }

    fn slot(&self, word: u64) -> usize {
        word as usize & (self.words.len() - 1)
    }

    /// Makes room for all numbers from `low` (nothing below is set) to below `end`.
    pub(crate) fn reserve(&mut self, low: u64, end: u64) {
        let wanted = Self::words_for(end.saturating_sub(low));
        if wanted <= self.words.len() {
            return;
        }
        let mut wider = vec![0; wanted];
        let first = low / WORD;
        for word in first..first + self.words.len() as u64 {
            wider[word as usize & (wanted - 1)] = self.words[self.slot(word)];
        }
        self.words = wider;
    }

    /// Whether `number`, which must lie in the window, is in the set.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.word(number / WORD) >> (number % WORD) & 1 == 1
    }

    /// Adds a number; whether it was not there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let slot = self.slot(number / WORD);
        let bit = 1 << (number % WORD);
        let new = self.words[slot] & bit == 0;
        self.words[slot] |= bit;
        new
    }

    /// Takes a number out; whether it was there.
    pub(crate) fn remove(&mut self, number: u64) -> bool {
        let slot = self.slot(number / WORD);
        let bit = 1 << (number % WORD);
        let there = self.words[slot] & bit != 0;
        self.words[slot] &= !bit;
        there
    }

    /// Adds all numbers from `from` to below `end`.
    pub(crate) fn insert_range(&mut self, from: u64, end: u64) {
        for (word, mask) in words_of(from, end) {
            let slot = self.slot(word);
            self.words[slot] |= mask;
        }
    }

    /// Takes out all numbers from `from` to below `end`.
    pub(crate) fn remove_range(&mut self, from: u64, end: u64) {
        for (word, mask) in words_of(from, end) {
            let slot = self.slot(word);
            self.words[slot] &= !mask;
        }
    }

    /// The 64 numbers from `word * 64` on.
    pub(crate) fn word(&self, word: u64) -> u64 {
        self.words[self.slot(word)]
    }

    /// The least number in the set that is at least `from` and below `end`.
    pub(crate) fn first(&self, from: u64, end: u64) -> Option<u64> {
        words_of(from, end).find_map(|(word, mask)| {
            let bits = self.word(word) & mask;
            (bits != 0).then(|| word * WORD + u64::from(bits.trailing_zeros()))
        })
    }

    /// The greatest number in the set that is at least `from` and below `end`.
    pub(crate) fn last(&self, from: u64, end: u64) -> Option<u64> {
        words_of(from, end).rev().find_map(|(word, mask)| {
            let bits = self.word(word) & mask;
            (bits != 0).then(|| word * WORD + u64::from(bits.ilog2()))
        })
    }

    /// The least number that is at least `from` and *not* in the set, at most `end`.
    pub(crate) fn first_missing(&self, from: u64, end: u64) -> u64 {
        words_of(from, end)
            .find_map(|(word, mask)| {
                let bits = !self.word(word) & mask;
                (bits != 0).then(|| word * WORD + u64::from(bits.trailing_zeros()))
            })
            .unwrap_or(end)
    }
}

/// The words that hold the numbers from `from` to below `end`, each with the mask of those numbers.
pub(crate) fn words_of(from: u64, end: u64) -> impl DoubleEndedIterator<Item = (u64, u64)> {
    let last = end.saturating_sub(1);
    let words = if from < end {
        from / WORD..last / WORD + 1
    } else {
        0..0
    };
    words.map(move |word| {
        let mut mask = u64::MAX;
        if word == from / WORD {
            mask &= u64::MAX << (from % WORD);
        }
        if word == last / WORD {
            mask &= u64::MAX >> (WORD - 1 - last % WORD);
        }
        (word, mask)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn agrees_with_a_plain_set_while_the_window_moves() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut bits = BitRing::new(10);
            let mut plain = BTreeSet::new();
            let (mut low, mut end) = (1_000_003_u64, 1_000_003_u64);
            for _ in 0..2_000 {
                end += random.below(40);
                bits.reserve(low, end);
                if end > low {
                    let number = low + random.below(end - low);
                    if random.below(3) == 0 {
                        assert_eq!(bits.remove(number), plain.remove(&number), "seed {seed}");
                    } else {
                        assert_eq!(bits.insert(number), plain.insert(number), "seed {seed}");
                    }
                    let from = low + random.below(end - low);
                    let to = from + random.below(end - from).min(200);
                    match random.below(8) {
                        0 => {
                            bits.insert_range(from, to);
                            plain.extend(from..to);
                        }
                        1 => {
                            bits.remove_range(from, to);
                            plain.retain(|number| !(from..to).contains(number));
                        }
                        _ => {}
                    }
                    let first = plain.range(from..end).next().copied();
                    assert_eq!(bits.first(from, end), first, "seed {seed}");
                    let last = plain.range(low..from).next_back().copied();
                    assert_eq!(bits.last(low, from), last, "seed {seed}");
                    let missing = (from..end).find(|n| !plain.contains(n)).unwrap_or(end);
                    assert_eq!(bits.first_missing(from, end), missing, "seed {seed}");
                }
                let next_low = low + random.below(30).min(end - low);
                while let Some(number) = plain.range(..next_low).next().copied() {
                    plain.remove(&number);
                    assert!(bits.remove(number), "seed {seed}");
                }
                low = next_low;
            }
        }
    }

    #[test]
    fn an_empty_span_has_no_words() {
        assert_eq!(words_of(5, 5).count(), 0);
        assert_eq!(words_of(63, 65).collect::<Vec<_>>(), [(0, 1 << 63), (1, 1)]);
    }
}
