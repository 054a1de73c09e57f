use std::{collections::VecDeque, time::Duration};

use super::{Check, PROBE_PACKETS};
use crate::{fact::Fact, fact::Planned, scenario::Scenario, violation::Violation};
use haul_flow::Time;

/// Most airtime of one burst, whatever the policy.
pub const BURST_MAX: Duration = Duration::from_millis(1);
/// Segments of a burst at rates so low that one burst's time holds fewer.
const BURST_SEGMENTS: u64 = 2;
/// A report may change the rate between planning and leaving.
const RATE_WINDOW: Duration = Duration::from_millis(50);

/// What is planned stays below a token bucket that fills at the pacing rate and holds one burst and
/// one batch, a batch being no longer than a burst. A plan counts at its release, or when it was
/// planned if that is later.
///
/// The two packets of a probe time-out may leave at once, whatever the rate: they do not count.
#[derive(Debug)]
pub(super) struct Pacing {
    segment_len: u64,
    /// Rates of the recent past, falling: the first is the greatest.
    rates: VecDeque<(Time, u64)>,
    planned: Bucket,
    /// Probe packets that may still be planned.
    probes_due: u64,
    pto_count: u64,
}

#[derive(Debug, Default)]
struct Bucket {
    level_bytes: f64,
    at: Time,
}

impl Bucket {
    fn pour(&mut self, at: Time, bytes: u64, rate_bps: u64) -> u64 {
        let drained = (at - self.at).as_secs_f64() * rate_bps as f64 / 8.0;
        self.level_bytes = (self.level_bytes - drained).max(0.0) + bytes as f64;
        self.at = self.at.max(at);
        self.level_bytes as u64
    }
}

impl Pacing {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            segment_len: scenario.segment_len() as u64,
            rates: VecDeque::new(),
            planned: Bucket::default(),
            probes_due: 0,
            pto_count: 0,
        }
    }

    fn note_rate(&mut self, at: Time, rate_bps: u64) {
        let before = self.rate_bps();
        while self.rates.back().is_some_and(|(_, rate)| *rate <= rate_bps) {
            self.rates.pop_back();
        }
        self.rates.push_back((at, rate_bps));
        // The newest always stays: it holds until the next one.
        while self.rates.len() > 1 && self.rates[0].0 + RATE_WINDOW < at {
            self.rates.pop_front();
        }
        // A burst that was short at the rate of its time is no long one because the rate fell.
        let fall = self.rate_bps() as f64 / before.max(1) as f64;
        if fall < 1.0 {
            self.planned.level_bytes *= fall;
        }
    }

    /// Whether the plan consists of probes.
    fn takes_probes(&mut self, at: Time, plan: &Planned) -> bool {
        let is_probe = plan.release_at <= at && plan.count <= self.probes_due.min(PROBE_PACKETS);
        if is_probe {
            self.probes_due -= plan.count;
        }
        is_probe
    }

    fn rate_bps(&self) -> u64 {
        self.rates.front().map_or(0, |(_, rate)| *rate)
    }

    fn bytes_in(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.rate_bps() as f64 / 8.0) as u64
    }

    fn burst_bytes(&self) -> u64 {
        self.bytes_in(BURST_MAX)
            .max(BURST_SEGMENTS * self.segment_len)
    }
}

fn within(what: &'static str, level: u64, bound: u64) -> Result<(), Violation> {
    if level > bound {
        return Err(Violation::Burst { what, level, bound });
    }
    Ok(())
}

impl Check for Pacing {
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Gauged(gauges) => {
                self.note_rate(at, gauges.rate_bps);
                self.probes_due += PROBE_PACKETS * (gauges.pto_count - self.pto_count);
                self.pto_count = gauges.pto_count;
            }
            Fact::Planned(plan) if self.takes_probes(at, plan) => (),
            Fact::Planned(plan) => {
                let burst = self.burst_bytes();
                within("batch", plan.bytes, burst + self.segment_len)?;
                let release = plan.release_at.max(at);
                let level = self.planned.pour(release, plan.bytes, self.rate_bps());
                within("plan", level, 2 * burst + self.segment_len)?;
            }
            _ => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Gauges;
    use haul_flow::Policy;
    use haul_wire::PacketNo;

    fn check() -> Pacing {
        let rtt = Duration::from_millis(10);
        let scenario = Scenario::clean(Policy::Fixed, 100_000_000, rtt, 1);
        let mut check = Pacing::new(&scenario);
        let rate_bps = 80_000_000;
        let gauges = Gauges {
            rate_bps,
            ..Gauges::default()
        };
        check.observe(Time::ZERO, &Fact::Gauged(gauges)).unwrap();
        check
    }

    fn plan(bytes: u64, release_us: u64) -> Fact {
        Fact::Planned(Planned {
            first: PacketNo(0),
            count: 1,
            bytes,
            release_at: Time(release_us * 1000),
            gap: Duration::ZERO,
        })
    }

    #[test]
    fn the_rate_is_fine_and_a_tenth_more_is_not() {
        // 10,000 bytes each ms are 80 Mbit/s.
        for (every_us, fine) in [(1000, true), (900, false)] {
            let mut check = check();
            let result =
                (0..100).try_for_each(|n| check.observe(Time::ZERO, &plan(10_000, n * every_us)));
            assert_eq!(result.is_ok(), fine, "{result:?}");
        }
    }

    #[test]
    fn old_credit_is_not_saved_up() {
        let mut check = check();
        check.observe(Time::ZERO, &plan(10_000, 0)).unwrap();
        let late = Time(1_000_000_000);
        check.observe(late, &plan(10_000, 1000)).unwrap();
        check.observe(late, &plan(10_000, 2000)).unwrap();
        assert!(check.observe(late, &plan(10_000, 3000)).is_err());
    }
}
