use std::{ops::RangeInclusive, time::Duration};

use haul_flow::{FlowError, Time};

use super::Check;
use crate::{
    fact::Fact,
    scenario::{Expect, Scenario},
    violation::Violation,
};

/// How long after the last report a sender may call its peer silent.
pub const SILENCE: RangeInclusive<Duration> = Duration::from_secs(29)..=Duration::from_secs(32);

/// The transfer ends as the scenario says: by delivery, or by giving up on a silent peer in time.
#[derive(Debug)]
pub(super) struct Ending {
    expect: Expect,
    heard_at: Time,
    ended: bool,
}

impl Ending {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            expect: scenario.expect,
            heard_at: Time::ZERO,
            ended: false,
        }
    }
}

impl Check for Ending {
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation> {
        match (self.expect, fact) {
            (_, Fact::Heard { .. }) => self.heard_at = at,
            (Expect::Delivery, Fact::Failed(error)) => {
                return Err(Violation::Failed { at, error: *error });
            }
            (Expect::Silence, Fact::Failed(FlowError::PeerSilent(_))) => {
                self.ended = true;
                let silent = at - self.heard_at;
                if !SILENCE.contains(&silent) {
                    return Err(Violation::NotSilent(Some(silent)));
                }
            }
            (Expect::Silence, Fact::Failed(error)) => {
                return Err(Violation::Failed { at, error: *error });
            }
            (Expect::Silence, Fact::Delivered) => return Err(Violation::NotSilent(None)),
            (Expect::Delivery, Fact::Delivered) => self.ended = true,
            _ => (),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        match self.expect {
            Expect::Silence if !self.ended => Err(Violation::NotSilent(None)),
            Expect::Silence | Expect::Delivery => Ok(()),
        }
    }
}
