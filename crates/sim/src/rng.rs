use std::ops::RangeInclusive;

/// The only source of randomness in a simulation: xoshiro256++ (Blackman and Vigna, "Scrambled
/// linear pseudorandom number generators", 2021), seeded through SplitMix64 as its authors advise.
///
/// Every concern takes a [`fork`](Self::fork) of its own, so that one more draw in the network
/// does not change what the disk does.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator that is a function of `seed` alone.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// A generator independent of this one and of forks with other labels.
    pub fn fork(&self, label: u64) -> Self {
        let mut state = self.0[0] ^ label.wrapping_mul(0xd134_2543_de82_ef95);
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let [c, d] = [c ^ a, d ^ b];
        self.0 = [a ^ d, b ^ c, c ^ (self.0[1] << 17), d.rotate_left(45)];
        out
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability. Draws nothing when the answer is certain.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.unit() < probability)
    }

    /// Uniform in the range. The bias of the multiplication is below 2⁻³² for ranges this small.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = u128::from(range.end() - range.start()) + 1;
        range.start() + ((u128::from(self.bits()) * span) >> 64) as u64
    }

    /// Uniform on a logarithmic scale: as likely between 1 and 10 as between 10 and 100.
    pub fn log_within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start() as f64, *range.end() as f64);
        let value = low * (high / low).powf(self.unit());
        (value as u64).clamp(*range.start(), *range.end())
    }

    /// One of the choices, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..=choices.len() as u64 - 1) as usize]
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_and_forks_differ() {
        let draw = |mut rng: Rng| [rng.bits(), rng.bits(), rng.bits()];
        assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
        assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
        assert_ne!(draw(Rng::new(7).fork(1)), draw(Rng::new(7).fork(2)));
    }

    #[test]
    fn matches_the_reference_implementation() {
        // State 1, 2, 3, 4: the first outputs of the authors' xoshiro256plusplus.c.
        let mut rng = Rng([1, 2, 3, 4]);
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223];
        assert_eq!([rng.bits(), rng.bits(), rng.bits()], expected);
    }

    #[test]
    fn draws_stay_in_range_and_cover_it() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.within(0..=4) as usize] = true;
            assert!((10..=1000).contains(&rng.log_within(10..=1000)));
            assert!((0.0..1.0).contains(&rng.unit()));
        }
        assert_eq!(seen, [true; 5]);
        let hits = (0..10_000).filter(|_| rng.chance(0.3)).count();
        assert!((2700..3300).contains(&hits), "{hits}");
    }
}
