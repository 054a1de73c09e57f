use std::time::Instant;

use haul_flow::Time;

/// The one place where the data path reads the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        Time(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The `Instant` at which the session reaches `time`.
    pub(crate) fn instant(self, time: Time) -> Instant {
        self.0 + (time - Time::ZERO)
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.now().0 / 1_000_000
    }
}
