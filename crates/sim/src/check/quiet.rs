use std::time::Duration;

use haul_flow::Time;

use super::Check;
use crate::{fact::Fact, scenario::Scenario, violation::Violation};

/// How long after delivery both ends may still exchange what they know, beside eight round trips.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long the ends are watched after that.
pub const QUIET_WINDOW: Duration = Duration::from_secs(10);
/// Keep-alives in that window, each way: two a second.
const KEEP_ALIVES: u64 = 20;

/// After delivery no data is planned, and after a while only keep-alives are exchanged.
#[derive(Debug)]
pub(super) struct Quiet {
    round_trips: Duration,
    delivered_at: Option<Time>,
    reports: u64,
    syncs: u64,
}

impl Quiet {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            round_trips: scenario.rtt_max() * 8,
            delivered_at: None,
            reports: 0,
            syncs: 0,
        }
    }

    fn settled(&self, at: Time) -> bool {
        self.delivered_at
            .is_some_and(|delivered| at > delivered + SETTLE + self.round_trips)
    }
}

impl Check for Quiet {
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Delivered => self.delivered_at = Some(at),
            Fact::Planned(plan) if self.delivered_at.is_some() => {
                return Err(Violation::NotQuiet {
                    what: "data planned",
                    count: plan.count,
                    allowed: 0,
                });
            }
            Fact::Reported { .. } => self.reports += u64::from(self.settled(at)),
            Fact::Synced => self.syncs += u64::from(self.settled(at)),
            _ => (),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        for (what, count) in [("reports", self.reports), ("syncs", self.syncs)] {
            if count > KEEP_ALIVES {
                return Err(Violation::NotQuiet {
                    what,
                    count,
                    allowed: KEEP_ALIVES,
                });
            }
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

    fn delivered() -> Quiet {
        let rtt = Duration::from_millis(10);
        let mut quiet = Quiet::new(&Scenario::clean(Policy::Fixed, 1_000_000, rtt, 1));
        quiet.observe(Time::ZERO, &Fact::Delivered).unwrap();
        quiet
    }

    #[test]
    fn data_after_delivery_is_noticed() {
        let plan = Fact::Planned(Planned {
            first: PacketNo(0),
            count: 1,
            bytes: 1440,
            release_at: Time::ZERO,
            gap: Duration::ZERO,
        });
        assert!(delivered().observe(Time(1), &plan).is_err());
    }

    #[test]
    fn talk_is_fine_until_both_know_and_noticed_after() {
        for (from_s, fine) in [(0, true), (30, false)] {
            let mut quiet = delivered();
            for n in 0..50 {
                let at = Time(from_s * 1_000_000_000 + n * 10_000_000);
                quiet
                    .observe(at, &Fact::Reported { seq: 1, bytes: 60 })
                    .unwrap();
            }
            assert_eq!(quiet.finish().is_ok(), fine, "{from_s}");
        }
    }
}
