use std::{ops::RangeInclusive, time::Duration};

use haul_flow::{FlowError, Time};

use super::Check;
use crate::{
    fact::Fact,
    scenario::{Expect, Scenario},
    violation::Violation,
};

/// How long after the last sign of life a sender may give up its peer.
pub const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(29)..=Duration::from_secs(32);

/// The transfer ends as the scenario says: by delivery, or by giving up in time and for the right
/// reason.
#[derive(Debug)]
pub(super) struct Ending {
    expect: Expect,
    /// When the last report was heard.
    heard_at: Time,
    /// When the last data arrived.
    arrived_at: Time,
    has_ended: bool,
}

impl Ending {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            expect: scenario.expect,
            heard_at: Time::ZERO,
            arrived_at: Time::ZERO,
            has_ended: false,
        }
    }

    fn judge_failure(&mut self, at: Time, error: FlowError) -> Result<(), Violation> {
        let last_sign = match (self.expect, error) {
            (Expect::Silence, FlowError::PeerSilent(_)) => self.heard_at,
            (Expect::Blocked, FlowError::PathBlocked(_)) => self.arrived_at,
            _ => return Err(Violation::Failed { at, error }),
        };
        self.has_ended = true;
        if PATIENCE.contains(&(at - last_sign)) {
            Ok(())
        } else {
            Err(Violation::Patience(at - last_sign))
        }
    }
}

impl Check for Ending {
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Heard { .. } => self.heard_at = at,
            Fact::Arrived { .. } => self.arrived_at = at,
            Fact::Failed(error) => return self.judge_failure(at, *error),
            Fact::Delivered if self.expect == Expect::Delivery => self.has_ended = true,
            _ => (),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        if self.has_ended {
            return Ok(());
        }
        Err(Violation::Unended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haul_flow::Policy;

    fn check(expect: Expect) -> Ending {
        let rtt = Duration::from_millis(10);
        Ending::new(&Scenario {
            expect,
            ..Scenario::clean(Policy::Fixed, 1_000_000, rtt, 1)
        })
    }

    fn second(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn giving_up_needs_the_right_reason_and_patience() {
        let silent = Fact::Failed(FlowError::PeerSilent(Duration::from_secs(30)));
        let heard = Fact::Heard { seq: 1 };
        for (at, fine) in [(second(11), false), (second(35), true), (second(60), false)] {
            let mut ending = check(Expect::Silence);
            ending.observe(second(5), &heard).unwrap();
            assert_eq!(ending.observe(at, &silent).is_ok(), fine, "{at:?}");
        }
        for expect in [Expect::Delivery, Expect::Blocked] {
            assert!(check(expect).observe(second(30), &silent).is_err());
        }
    }

    #[test]
    fn a_transfer_that_should_fail_and_does_not_is_noticed() {
        let mut ending = check(Expect::Silence);
        ending.observe(second(1), &Fact::Delivered).unwrap();
        assert_eq!(ending.finish(), Err(Violation::Unended));
        let mut ending = check(Expect::Delivery);
        ending.observe(second(1), &Fact::Delivered).unwrap();
        assert_eq!(ending.finish(), Ok(()));
    }
}
