use haul_flow::Time;

use super::{Check, PROBES_FREE};
use crate::{fact::Fact, link::LossCause, violation::Violation};

/// A receiver whose disk is slow is not sent what it has no room for, but for what keeps a closed
/// credit from staying closed: `overruns ≤ packets sent / 20 + PROBES_FREE`.
#[derive(Debug, Default)]
pub(super) struct Overruns {
    sent: u64,
    overruns: u64,
}

impl Check for Overruns {
    fn observe(&mut self, _at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Sent { .. } => self.sent += 1,
            Fact::Lost {
                cause: LossCause::Overrun,
                ..
            } => self.overruns += 1,
            _ => (),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        let allowed = self.sent / 20 + PROBES_FREE;
        if self.overruns > allowed {
            return Err(Violation::Overruns {
                overruns: self.overruns,
                sent: self.sent,
                allowed,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haul_wire::PacketNo;

    #[test]
    fn only_what_overran_counts() {
        let mut check = Overruns::default();
        for number in 0..=PROBES_FREE {
            assert_eq!(check.finish(), Ok(()));
            for cause in [LossCause::Wire, LossCause::Overrun] {
                let packet = PacketNo(number);
                check
                    .observe(Time::ZERO, &Fact::Lost { packet, cause })
                    .unwrap();
            }
        }
        assert!(check.finish().is_err());
    }
}
