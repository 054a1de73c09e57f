//! Random inputs for tests, deterministic from one seed.

use std::hash::{BuildHasher, RandomState};

/// xorshift64* (Vigna, 2016): enough for test inputs.
pub(crate) struct Random(u64);

impl Random {
    /// Takes the seed from `HAUL_TEST_SEED`, or a new one, and prints it: the test harness shows
    /// it when the test fails.
    pub(crate) fn announced() -> Self {
        let seed = match std::env::var("HAUL_TEST_SEED") {
            Ok(seed) => seed.parse().expect("HAUL_TEST_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        };
        eprintln!("HAUL_TEST_SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_ne_bytes()[..chunk.len()]);
        }
        bytes
    }
}
