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
