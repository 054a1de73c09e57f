use std::time::Duration;

use crate::Time;

/// How far ahead of now a plan may be handed out, so that reading and sealing have time.
pub(crate) const LOOKAHEAD: Duration = Duration::from_millis(2);

/// Releases batches at absolute deadlines: each starts when the one before has had its airtime, at
/// the rate of *now*, so that a rate that rises shortens a wait that has begun.
///
/// After a stall at most one burst's worth of time is made up for.
#[derive(Debug)]
pub(crate) struct Pacer {
    released_at: Time,
    released_bytes: u64,
    /// Time since [`Self::take_unused`] during which the rate would have allowed to send more.
    unused: Duration,
}

impl Pacer {
    /// `phase` is 0 to 1: how much of `burst` to wait before the first release, so that sessions
    /// begun together do not burst together.
    pub(crate) fn new(phase: f64, burst: Duration, now: Time) -> Self {
        Self {
            released_at: now + burst.mul_f64(phase),
            released_bytes: 0,
            unused: Duration::ZERO,
        }
    }

    /// Time that `bytes` take at `rate_bps`.
    pub(crate) fn airtime(bytes: u64, rate_bps: f64) -> Duration {
        let seconds = bytes as f64 * 8.0 / rate_bps;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many segments may leave in one burst.
    pub(crate) fn burst_segments(segment_len: usize, rate_bps: f64, burst: Duration) -> usize {
        let bytes = rate_bps / 8.0 * burst.as_secs_f64();
        ((bytes / segment_len as f64) as usize).max(1)
    }

    /// When the next batch may leave.
    pub(crate) fn next_release(&self, rate_bps: f64) -> Time {
        self.released_at + Self::airtime(self.released_bytes, rate_bps)
    }

    /// Charges a batch of `bytes` and returns its release time and airtime.
    pub(crate) fn release(
        &mut self,
        bytes: u64,
        rate_bps: f64,
        burst: Duration,
        now: Time,
    ) -> (Time, Duration) {
        self.forgo(rate_bps, burst, now);
        let release_at = self.next_release(rate_bps);
        self.released_at = release_at;
        self.released_bytes = bytes;
        (release_at, Self::airtime(bytes, rate_bps))
    }

    /// Charges bytes that leave at once, outside the order of releases.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.released_bytes += bytes;
    }

    /// Gives up what could have been sent more than one burst ago.
    fn forgo(&mut self, rate_bps: f64, burst: Duration, now: Time) {
        let due = self.next_release(rate_bps);
        let kept = now - burst;
        if due < kept {
            self.unused += kept - due;
            self.released_at = Time(kept.0.max(self.released_at.0));
            self.released_bytes = 0;
        }
    }

    /// Returns how long sending lagged behind the rate since the last call, for whatever reason.
    pub(crate) fn take_unused(&mut self, rate_bps: f64, burst: Duration, now: Time) -> Duration {
        self.forgo(rate_bps, burst, now);
        std::mem::take(&mut self.unused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(us: u64) -> Time {
        Time::from_micros(us)
    }

    #[test]
    fn releases_follow_one_another_by_airtime() {
        let mut pacer = Pacer::new(0.0, MS, Time::ZERO);
        // 10,000 bits at 100 Mbit/s: 100 µs.
        for index in 0..100 {
            let (release_at, gap) = pacer.release(1_250, 1e8, MS, at(index * 100));
            assert_eq!(release_at, at(index * 100));
            assert_eq!(gap, Duration::from_micros(100));
        }
    }

    #[test]
    fn after_a_stall_one_burst_is_made_up_for() {
        let mut pacer = Pacer::new(0.0, MS, Time::ZERO);
        pacer.release(1_250, 1e8, MS, Time::ZERO);
        let now = at(50_000);
        let mut made_up = 0;
        while pacer.next_release(1e8) <= now {
            pacer.release(1_250, 1e8, MS, now);
            made_up += 1;
        }
        assert_eq!(made_up, 11, "ten of the burst, one of now");
        let unused = pacer.take_unused(1e8, MS, now);
        assert_eq!(unused, Duration::from_micros(50_000 - 1_000 - 100));
        assert_eq!(pacer.take_unused(1e8, MS, now), Duration::ZERO);
    }

    #[test]
    fn a_rising_rate_shortens_the_wait() {
        let mut pacer = Pacer::new(0.0, MS, Time::ZERO);
        pacer.release(1_250, 1e3, MS, Time::ZERO);
        assert_eq!(pacer.next_release(1e3), at(10_000_000));
        assert_eq!(pacer.next_release(1e8), at(100));
    }

    #[test]
    fn bursts_are_bounded_by_time_and_never_empty() {
        assert_eq!(Pacer::burst_segments(1_440, 1e8, MS), 8);
        assert_eq!(Pacer::burst_segments(1_440, 1e9, MS / 3), 28);
        assert_eq!(Pacer::burst_segments(1_440, 1e4, MS), 1);
    }

    #[test]
    fn the_first_burst_has_a_phase() {
        let pacer = Pacer::new(0.5, MS, Time::ZERO);
        assert_eq!(pacer.next_release(1e9), at(500));
    }
}
