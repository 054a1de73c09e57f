use std::time::Duration;

use crate::JITTER_PERIOD;

/// Additional delay that goes in straight lines between draws.
#[derive(Debug, Default)]
pub(crate) struct Jitter {
    from: f64,
    to: f64,
    period: u128,
}

impl Jitter {
    /// The delay of a packet that leaves the bottleneck at `at`, which never goes back.
    pub(crate) fn at(
        &mut self,
        at: Duration,
        most: Duration,
        random: &mut fastrand::Rng,
    ) -> Duration {
        if most.is_zero() {
            return Duration::ZERO;
        }
        let period = at.as_nanos() / JITTER_PERIOD.as_nanos();
        if period != self.period {
            let follows = period == self.period + 1;
            self.from = if follows { self.to } else { random.f64() };
            self.to = random.f64();
            self.period = period;
        }
        let into = (at.as_nanos() % JITTER_PERIOD.as_nanos()) as f64;
        let share = into / JITTER_PERIOD.as_nanos() as f64;
        most.mul_f64(self.from + (self.to - self.from) * share)
    }
}
