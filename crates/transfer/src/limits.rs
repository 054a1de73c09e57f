//! How fast a transfer may go and who decides: what was asked for, what is allowed, and what comes
//! of both.

use std::time::Duration;

use haul_flow::{Policy, SenderConfig, Time};
use haul_wire::control::{self, Text, Wish};

use crate::TransferError;

pub use haul_wire::control::Cause;

/// A segment length that any policy can work with.
const SEGMENT_LEN_USUAL: usize = 1440;

/// What a user asks of the sending rate. Rates are bits per second of UDP payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Who decides the rate.
    pub policy: Policy,
    /// The rate of [`Policy::Fixed`], the ceiling of the others; `None` leaves it to the policy.
    pub target_bps: Option<u64>,
    /// Never slower than this; 0 for no such wish.
    pub min_bps: u64,
}

/// What the sender of data keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// What was asked for last.
    pub asked: Limits,
    /// The most that the responder allows whatever is asked for, in bits per second.
    pub ceiling_bps: Option<u64>,
    /// Why it is told now.
    pub cause: Cause,
}

impl Limits {
    /// Whether a sender could work like that.
    ///
    /// # Errors
    /// [`TransferError::Engine`] naming what is wrong with the wish.
    pub fn check(&self) -> Result<(), TransferError> {
        let config = SenderConfig {
            segment_len: SEGMENT_LEN_USUAL,
            segments_per_batch_max: 1,
            policy: self.policy,
            rate_target_bps: self.target_bps,
            rate_min_bps: self.min_bps,
            initial_rtt: Duration::from_millis(100),
            remembered: None,
            carried_bytes: None,
            waits_for_judgement: false,
            free_bytes_initial: 0,
            ecn: false,
            seed: 0,
        };
        haul_flow::Sender::new(config, Time::ZERO)?;
        Ok(())
    }

    /// As much of it as a ceiling allows.
    pub(crate) fn under(self, ceiling_bps: Option<u64>) -> Self {
        let Some(max) = ceiling_bps else {
            return self;
        };
        Self {
            target_bps: Some(self.target_bps.map_or(max, |target| target.min(max))),
            min_bps: self.min_bps.min(max),
            ..self
        }
    }

    pub(crate) fn to_wire(self) -> Wish {
        Wish {
            policy: Text::new(self.policy.name()),
            rate: control::Rate {
                target_bps: self.target_bps,
                min_bps: self.min_bps,
            },
        }
    }

    /// # Errors
    /// [`TransferError::Usage`] for a policy that this version does not know.
    pub(crate) fn from_wire(policy: &Text, rate: control::Rate) -> Result<Self, TransferError> {
        let policy = std::str::from_utf8(policy.as_bytes())
            .ok()
            .and_then(|name| name.parse().ok())
            .ok_or(TransferError::Usage("unknown rate policy"))?;
        Ok(Self {
            policy,
            target_bps: rate.target_bps,
            min_bps: rate.min_bps,
        })
    }
}

impl InForce {
    /// What comes of wish and ceiling.
    pub fn limits(&self) -> Limits {
        self.asked.under(self.ceiling_bps)
    }

    pub(crate) fn to_wire(self) -> control::InForce {
        control::InForce {
            asked: self.asked.to_wire(),
            ceiling_bps: self.ceiling_bps,
            cause: self.cause,
        }
    }

    /// # Errors
    /// As [`Limits::from_wire`].
    pub(crate) fn from_wire(told: &control::InForce) -> Result<Self, TransferError> {
        Ok(Self {
            asked: Limits::from_wire(&told.asked.policy, told.asked.rate)?,
            ceiling_bps: told.ceiling_bps,
            cause: told.cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Limits = Limits {
        policy: Policy::Fair,
        target_bps: Some(500),
        min_bps: 100,
    };

    #[test]
    fn a_ceiling_lowers_and_never_raises() {
        assert_eq!(ASKED.under(None), ASKED);
        assert_eq!(ASKED.under(Some(600)), ASKED);
        let under = ASKED.under(Some(50));
        assert_eq!((under.target_bps, under.min_bps), (Some(50), 50));
        let free = Limits {
            target_bps: None,
            ..ASKED
        };
        assert_eq!(free.under(Some(600)).target_bps, Some(600));
    }

    #[test]
    fn what_is_told_is_what_is_heard() {
        let said = InForce {
            asked: ASKED,
            ceiling_bps: Some(50),
            cause: Cause::Ceiling,
        };
        assert_eq!(InForce::from_wire(&said.to_wire()).unwrap(), said);
        assert!(Limits::from_wire(&Text::new("rude"), ASKED.to_wire().rate).is_err());
    }

    #[test]
    fn a_fixed_rate_needs_one() {
        let fixed = Limits {
            policy: Policy::Fixed,
            target_bps: None,
            min_bps: 0,
        };
        assert!(fixed.check().is_err());
        assert!(ASKED.check().is_ok());
    }
}
