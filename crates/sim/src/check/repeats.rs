use std::time::Duration;

use haul_flow::Time;

use super::Check;
use crate::{
    content::{BlockSet, open_body},
    fact::Fact,
    numbers::NumberSet,
    scenario::Scenario,
    violation::Violation,
};

/// Probes and copies at the end of a transfer, however small it is.
pub const PROBES_FREE: u64 = 16;

/// Repeated data stays within 1 % of what was lost and once what the path holds:
/// `arrivals of blocks that had arrived ≤ losses / 100 + datagrams in flight + late + PROBES_FREE`,
/// where late are the datagrams that the network held for more than a round trip: to send them
/// again was right by all that could be known.
///
/// Arrivals are counted by packet number, so that a copy made by the network is not the sender's
/// fault; and a transmission that arrives needlessly is exactly one beyond blocks plus losses.
#[derive(Debug)]
pub(super) struct Repeats {
    in_flight_packets: u64,
    round_trip: Duration,
    sent: u64,
    late: u64,
    numbers: NumberSet,
    blocks: BlockSet,
    needless: u64,
}

impl Repeats {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            in_flight_packets: scenario.in_flight_packets(),
            round_trip: scenario.rtt_min(),
            sent: 0,
            late: 0,
            numbers: NumberSet::default(),
            blocks: BlockSet::new(&scenario.content),
            needless: 0,
        }
    }
}

impl Check for Repeats {
    fn observe(&mut self, _at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Sent { .. } => self.sent += 1,
            Fact::Held { held, .. } => self.late += u64::from(*held > self.round_trip),
            Fact::Arrived { packet, body } => {
                let (addr, _) = open_body(body).map_err(Violation::Undecodable)?;
                if self.numbers.insert(packet.0) && !self.blocks.insert(addr) {
                    self.needless += 1;
                }
            }
            _ => (),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        let lost = self.sent - self.numbers.len();
        let allowed = lost / 100 + self.in_flight_packets + self.late + PROBES_FREE;
        if self.needless > allowed {
            return Err(Violation::Repeats {
                needless: self.needless,
                sent: self.sent,
                lost,
                allowed,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haul_flow::Policy;
    use haul_wire::{BlockAddr, PacketNo};

    #[test]
    fn needless_repeats_count_and_copies_by_the_network_do_not() {
        let scenario = Scenario::clean(Policy::Fixed, 1_000_000, Duration::from_millis(1), 1);
        let mut check = Repeats::new(&scenario);
        let addr = BlockAddr::content(0);
        let body = scenario.content.body(addr);
        let allowed = scenario.in_flight_packets() + PROBES_FREE;
        for n in 0..=allowed + 1 {
            assert_eq!(check.finish(), Ok(()), "after {n}");
            let packet = PacketNo(n);
            let bytes = 1440;
            check
                .observe(
                    Time::ZERO,
                    &Fact::Sent {
                        packet,
                        addr,
                        bytes,
                    },
                )
                .unwrap();
            for _ in 0..2 {
                check
                    .observe(Time::ZERO, &Fact::Arrived { packet, body })
                    .unwrap();
            }
        }
        assert!(check.finish().is_err());
    }
}
