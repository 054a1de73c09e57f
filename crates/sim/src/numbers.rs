/// Packet numbers that arrived, one bit each.
#[derive(Debug, Default)]
pub(crate) struct NumberSet {
    words: Vec<u64>,
    len: u64,
}

impl NumberSet {
    /// Adds a number; whether it is new.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let word = (number / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = !self.contains(number);
        self.words[word] |= 1 << (number % 64);
        self.len += u64::from(is_new);
        is_new
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let word = self.words.get((number / 64) as usize);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut numbers = NumberSet::default();
        for number in [5, 64, 0, 1_000] {
            assert!(!numbers.contains(number));
            assert!(numbers.insert(number));
            assert!(numbers.contains(number) && !numbers.insert(number));
        }
        assert!(!numbers.contains(63));
        assert_eq!(numbers.len(), 4);
    }
}
