//! Chance, and hosts that do not always run.

use crate::bottleneck::NS;

/// xorshift64* (Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// A host that does not always run: works for a while, is away for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stalls {
    /// Mean seconds between short absences, 0 = none, and their mean length.
    pub every: f64,
    pub length: f64,
    /// The same for long absences, uniform from 10 to 100 ms.
    pub long_every: f64,
}

/// Alternates presence and absence.
pub struct Host {
    stalls: Stalls,
    random: Random,
    /// The absence now or next.
    from: u64,
    until: u64,
}

impl Host {
    pub fn new(stalls: Stalls, seed: u64) -> Self {
        let mut host = Self {
            stalls,
            random: Random::new(seed),
            from: 0,
            until: 0,
        };
        host.plan();
        host
    }

    fn plan(&mut self) {
        let wait = |random: &mut Random, every: f64| {
            if every > 0.0 {
                random.exponential(every)
            } else {
                f64::MAX
            }
        };
        let short = wait(&mut self.random, self.stalls.every);
        let long = wait(&mut self.random, self.stalls.long_every);
        if short.min(long) == f64::MAX {
            self.from = u64::MAX;
            self.until = u64::MAX;
            return;
        }
        let length = if long < short {
            0.01 + 0.09 * self.random.unit()
        } else {
            self.random.exponential(self.stalls.length)
        };
        self.from = self.until + (short.min(long) * NS) as u64;
        self.until = self.from + (length * NS) as u64;
    }

    /// When the host does what became due at `at`. Calls come in time order.
    pub fn awake(&mut self, at: u64) -> u64 {
        while self.until <= at {
            self.plan();
        }
        if self.from <= at { self.until } else { at }
    }
}
