use std::time::Duration;

use crate::{Time, report_interval};

/// Clock granularity assumed of both ends (RFC 9002, section 6.1.2).
pub(crate) const GRANULARITY: Duration = Duration::from_millis(1);
/// Samples outside are the peer's fantasy or a suspended host; they are clamped.
const SAMPLE_MIN: Duration = Duration::from_micros(1);
const SAMPLE_MAX: Duration = Duration::from_secs(60);
/// Two of these make the memory of the least round trip: long enough to outlive a queue that
/// others keep filled, short enough to learn of a longer route.
const MIN_BUCKET: Duration = Duration::from_secs(15);

/// Round-trip time: smoothed, varying, least (RFC 6298, RFC 9002 section 5).
#[derive(Debug)]
pub(crate) struct Rtt {
    srtt: Duration,
    rttvar: Duration,
    latest: Duration,
    has_sample: bool,
    min_bucket: Duration,
    min_bucket_before: Duration,
    bucket_until: Time,
}

impl Rtt {
    pub(crate) fn new(initial: Duration, now: Time) -> Self {
        let initial = initial.clamp(SAMPLE_MIN, SAMPLE_MAX);
        Self {
            srtt: initial,
            rttvar: initial / 2,
            latest: initial,
            has_sample: false,
            min_bucket: initial,
            min_bucket_before: SAMPLE_MAX,
            bucket_until: now + MIN_BUCKET,
        }
    }

    /// Takes in a packet's time from sending to the arrival of the report that names it, and the
    /// time its receiver says to have held it. Returns the sample, or `None` when the peer claims
    /// to have held it for longer than it was away.
    pub(crate) fn on_sample(
        &mut self,
        away: Duration,
        hold: Duration,
        now: Time,
    ) -> Option<Duration> {
        let sample = away.checked_sub(hold)?.clamp(SAMPLE_MIN, SAMPLE_MAX);
        self.latest = sample;
        if self.has_sample {
            self.rttvar = (self.rttvar * 3 + self.srtt.abs_diff(sample)) / 4;
            self.srtt = (self.srtt * 7 + sample) / 8;
        } else {
            // What path opening measured includes the other program's work: the first packet's
            // time replaces it.
            self.has_sample = true;
            self.srtt = sample;
            self.rttvar = sample / 2;
            self.min_bucket = sample;
        }
        if now >= self.bucket_until {
            self.min_bucket_before = self.min_bucket;
            self.min_bucket = sample;
            self.bucket_until = now + MIN_BUCKET;
        }
        self.min_bucket = self.min_bucket.min(sample);
        Some(sample)
    }

    pub(crate) fn srtt(&self) -> Duration {
        self.srtt
    }

    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    /// Least of the last 15 to 30 seconds.
    pub(crate) fn min(&self) -> Duration {
        self.min_bucket.min(self.min_bucket_before)
    }

    /// Mean deviation of the samples.
    pub(crate) fn variation(&self) -> Duration {
        self.rttvar
    }

    /// How far an ordinary sample may stray.
    pub(crate) fn deviation(&self) -> Duration {
        (self.rttvar * 4).max(GRANULARITY)
    }

    /// Interval at which the receiver reports on a path of this round-trip time.
    pub(crate) fn report_interval(&self) -> Duration {
        report_interval(self.srtt)
    }

    /// Time after which something should have been heard of the last packet in flight, even if one
    /// report was lost: reports go on at their interval for a while after the last arrival.
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.srtt + self.deviation() + self.report_interval() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn holding_time_is_no_path_time() {
        let mut rtt = Rtt::new(MS * 500, Time::ZERO);
        assert_eq!(rtt.on_sample(MS * 120, MS * 20, at(120)), Some(MS * 100));
        assert_eq!((rtt.srtt(), rtt.min()), (MS * 100, MS * 100));
        assert_eq!(rtt.probe_timeout(), MS * (100 + 200) + MS * 25);
    }

    #[test]
    fn a_claim_to_have_held_longer_than_possible_is_ignored() {
        let mut rtt = Rtt::new(MS * 50, Time::ZERO);
        assert_eq!(rtt.on_sample(MS * 100, MS * 101, at(100)), None);
        assert_eq!(rtt.srtt(), MS * 50);
        let sample = rtt.on_sample(MS * 100, MS * 100, at(100));
        assert_eq!(sample, Some(SAMPLE_MIN), "clamped, not zero");
    }

    #[test]
    fn a_longer_route_is_learned_after_a_while() {
        let mut rtt = Rtt::new(MS * 50, Time::ZERO);
        rtt.on_sample(MS * 50, Duration::ZERO, at(50));
        for second in 1..=29 {
            rtt.on_sample(MS * 80, Duration::ZERO, at(second * 1_000));
            assert_eq!(rtt.min(), MS * 50, "{second} s");
        }
        for second in 30..=32 {
            rtt.on_sample(MS * 80, Duration::ZERO, at(second * 1_000));
        }
        assert_eq!(rtt.min(), MS * 80);
    }

    #[test]
    fn smoothing_follows_the_rfc() {
        let mut rtt = Rtt::new(MS * 50, Time::ZERO);
        rtt.on_sample(MS * 80, Duration::ZERO, at(80));
        rtt.on_sample(MS * 160, Duration::ZERO, at(160));
        assert_eq!(rtt.srtt(), MS * 90);
        assert_eq!(rtt.deviation(), (MS * 40 * 3 + MS * 80));
    }
}
