use std::time::Duration;

/// Least report interval: more often costs the receiver more than the sender gains.
const INTERVAL_MIN: Duration = Duration::from_millis(2);
/// Greatest report interval while data flows: a rate policy blind for longer misses queues.
const INTERVAL_MAX: Duration = Duration::from_millis(20);
/// Where eight times per round trip would be more often than this, four times do: at a few hundred
/// megabits per second, more would be above 0.1 % of the data.
const INTERVAL_FRUGAL: Duration = Duration::from_micros(4_000);

/// Interval at which a receiver reports while data flows on a path of this round-trip time: four
/// to eight times per round trip within limits. Both ends compute it, each from its own estimate.
pub(crate) fn report_interval(rtt: Duration) -> Duration {
    (rtt / 8)
        .max(INTERVAL_FRUGAL.min(rtt / 4))
        .clamp(INTERVAL_MIN, INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_limits() {
        for (rtt_us, interval_us) in [
            (50, 2_000),
            (12_000, 3_000),
            (20_000, 4_000),
            (80_000, 10_000),
            (600_000, 20_000),
        ] {
            assert_eq!(
                report_interval(Duration::from_micros(rtt_us)),
                Duration::from_micros(interval_us)
            );
        }
    }
}
