use std::time::Duration;

use haul_flow::Time;

use super::{BURST_MAX, Check, PROBE_PACKETS};
use crate::{fact::Fact, fact::Gauges, scenario::Scenario, violation::Violation};

/// Airtime of plans that have not left.
const BACKLOG: Duration = Duration::from_millis(20);
/// Most segments of one batch.
const BATCH_SEGMENTS: u64 = 64;
/// Runs of packet numbers a receiver may remember.
const RANGES_MAX: u64 = 1 << 16;

/// Nothing grows beyond its bound: the receiver's buffer, what waits to be sent, what is in flight.
#[derive(Debug)]
pub(super) struct Bounds {
    buffer_bytes: u64,
    segment_len: u64,
    rate_bps_max: u64,
    now: Gauges,
    /// Packets that were planned although the credit was used up.
    beyond_credit: u64,
}

impl Bounds {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            buffer_bytes: scenario.disk.buffer_bytes,
            segment_len: scenario.segment_len() as u64,
            rate_bps_max: 0,
            now: Gauges::default(),
            beyond_credit: 0,
        }
    }

    /// Two batches or the backlog's airtime, and the batch that exceeds it.
    fn planned_bytes_max(&self) -> u64 {
        let bytes_in =
            |time: Duration| (time.as_secs_f64() * self.rate_bps_max as f64 / 8.0) as u64;
        let burst = bytes_in(BURST_MAX).min(BATCH_SEGMENTS * self.segment_len);
        let batch = burst.max(PROBE_PACKETS * self.segment_len);
        bytes_in(BACKLOG).max(2 * batch) + 2 * batch
    }
}

fn within(what: &'static str, level: u64, bound: u64) -> Result<(), Violation> {
    if level > bound {
        return Err(Violation::Bound { what, level, bound });
    }
    Ok(())
}

impl Check for Bounds {
    fn observe(&mut self, _at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::ReportTooLong { seq } => return Err(Violation::ReportTooLong(*seq)),
            Fact::Planned(plan) => {
                let now = &mut self.now;
                now.planned_bytes += plan.bytes;
                if now.in_flight_bytes + now.planned_bytes > now.credit_bytes {
                    self.beyond_credit += plan.count;
                    let probes = PROBE_PACKETS * now.pto_count;
                    within("packets beyond the credit", self.beyond_credit, probes)?;
                }
            }
            Fact::Gauged(gauges) => {
                self.now = *gauges;
                self.rate_bps_max = self.rate_bps_max.max(gauges.rate_bps);
                let bound = self.planned_bytes_max();
                within("planned bytes", gauges.planned_bytes, bound)?;
            }
            Fact::Holds {
                buffered_bytes,
                ranges,
            } => {
                let bound = self.buffer_bytes;
                within("bytes in the receiver's buffer", *buffered_bytes, bound)?;
                within("runs of numbers", *ranges, RANGES_MAX)?;
            }
            _ => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Planned;
    use haul_flow::Policy;
    use haul_wire::PacketNo;

    fn check(gauges: Gauges) -> Result<Bounds, Violation> {
        let rtt = Duration::from_millis(10);
        let scenario = Scenario::clean(Policy::Fixed, 1_000_000, rtt, 1);
        let mut check = Bounds::new(&scenario);
        check.observe(Time::ZERO, &Fact::Gauged(gauges))?;
        Ok(check)
    }

    fn plan() -> Fact {
        Fact::Planned(Planned {
            first: PacketNo(0),
            count: 1,
            bytes: 1000,
            release_at: Time::ZERO,
            gap: Duration::ZERO,
        })
    }

    #[test]
    fn only_probes_may_exceed_the_credit() {
        let gauges = Gauges {
            in_flight_bytes: 5000,
            credit_bytes: 6000,
            pto_count: 1,
            ..Gauges::default()
        };
        let mut check = check(gauges).unwrap();
        for _ in 0..3 {
            check.observe(Time::ZERO, &plan()).unwrap();
        }
        assert!(check.observe(Time::ZERO, &plan()).is_err());
    }

    #[test]
    fn a_backlog_and_a_memory_without_end_are_noticed() {
        let gauges = Gauges {
            rate_bps: 8_000_000,
            planned_bytes: 100_000,
            ..Gauges::default()
        };
        assert!(check(gauges).is_err());
        let holds = Fact::Holds {
            buffered_bytes: 0,
            ranges: 1 << 17,
        };
        let mut check = check(Gauges::default()).unwrap();
        assert!(check.observe(Time::ZERO, &holds).is_err());
    }
}
