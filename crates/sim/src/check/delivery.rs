use haul_flow::Time;
use haul_wire::{PacketNo, Stream};

use super::Check;
use crate::{
    content::{BlockSet, Content, open_body},
    fact::Fact,
    scenario::Scenario,
    source::Known,
    violation::Violation,
};

/// Every block arrives with its bytes, none that the source has not told of is sent, and the
/// sender never believes more to have arrived than has.
#[derive(Debug)]
pub(super) struct Delivery {
    content: Content,
    known: Known,
    arrived: BlockSet,
    next_packet: PacketNo,
    floors: [u64; 2],
}

impl Delivery {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            content: scenario.content,
            known: Known::default(),
            arrived: BlockSet::new(&scenario.content),
            next_packet: PacketNo(0),
            floors: [0; 2],
        }
    }

    fn check_floor(&mut self, stream: Stream, floor: u64) -> Result<(), Violation> {
        let seen = &mut self.floors[usize::from(stream == Stream::Content)];
        if floor == *seen {
            return Ok(());
        }
        *seen = floor;
        let arrived = self.arrived.floor(stream);
        if floor > arrived {
            return Err(Violation::FalseFloor {
                stream,
                floor,
                arrived,
            });
        }
        Ok(())
    }
}

impl Check for Delivery {
    fn observe(&mut self, _at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Known(known) => self.known = *known,
            Fact::Sent { packet, addr, .. } => {
                if *packet < self.next_packet {
                    return Err(Violation::NumberReused(*packet));
                }
                self.next_packet = PacketNo(packet.0 + 1);
                let known = match addr.stream {
                    Stream::List => self.known.list_blocks,
                    Stream::Content => self.known.content_blocks,
                };
                if addr.block.0 >= known {
                    return Err(Violation::Unknown(*addr));
                }
            }
            Fact::Arrived { packet, body } => {
                let (addr, sample) = open_body(body).map_err(Violation::Undecodable)?;
                if sample != self.content.sample(addr) || !self.content.contains(addr) {
                    return Err(Violation::WrongBytes(*packet));
                }
                self.arrived.insert(addr);
            }
            Fact::Gauged(gauges) => {
                self.check_floor(Stream::List, gauges.list_floor)?;
                self.check_floor(Stream::Content, gauges.content_floor)?;
            }
            Fact::Delivered => {
                let blocks = self.content.blocks();
                let missing = blocks - self.arrived.len();
                if missing > 0 || !self.known.complete {
                    return Err(Violation::FalselyDelivered { missing, blocks });
                }
            }
            _ => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haul_flow::Policy;
    use haul_wire::BlockAddr;
    use std::time::Duration;

    fn two_blocks() -> (Scenario, Delivery) {
        let scenario = Scenario::clean(Policy::Fixed, 1_000_000, Duration::from_millis(10), 2);
        let check = Delivery::new(&scenario);
        (scenario, check)
    }

    fn arrival(scenario: &Scenario, block: u64) -> Fact {
        Fact::Arrived {
            packet: PacketNo(block),
            body: scenario.content.body(BlockAddr::content(block)),
        }
    }

    const ALL: Fact = Fact::Known(Known {
        list_blocks: 0,
        content_blocks: 2,
        complete: true,
    });

    #[test]
    fn a_missing_block_is_noticed() {
        let (scenario, mut check) = two_blocks();
        check.observe(Time::ZERO, &ALL).unwrap();
        check.observe(Time::ZERO, &arrival(&scenario, 1)).unwrap();
        assert!(matches!(
            check.observe(Time::ZERO, &Fact::Delivered),
            Err(Violation::FalselyDelivered { missing: 1, .. })
        ));
        check.observe(Time::ZERO, &arrival(&scenario, 0)).unwrap();
        assert_eq!(check.observe(Time::ZERO, &Fact::Delivered), Ok(()));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (scenario, mut check) = two_blocks();
        let mut body = scenario.content.body(BlockAddr::content(1));
        body[20] ^= 1;
        let packet = PacketNo(0);
        assert_eq!(
            check.observe(Time::ZERO, &Fact::Arrived { packet, body }),
            Err(Violation::WrongBytes(packet))
        );
    }

    #[test]
    fn sending_early_or_twice_under_one_number_is_noticed() {
        let (_, mut check) = two_blocks();
        let sent = Fact::Sent {
            packet: PacketNo(0),
            addr: BlockAddr::content(1),
            bytes: 1440,
        };
        let mut early = Delivery::new(&two_blocks().0);
        assert!(matches!(
            early.observe(Time::ZERO, &sent),
            Err(Violation::Unknown(_))
        ));
        check.observe(Time::ZERO, &ALL).unwrap();
        check.observe(Time::ZERO, &sent).unwrap();
        assert!(matches!(
            check.observe(Time::ZERO, &sent),
            Err(Violation::NumberReused(_))
        ));
    }

    #[test]
    fn a_floor_above_the_first_gap_is_noticed() {
        let (scenario, mut check) = two_blocks();
        check.observe(Time::ZERO, &arrival(&scenario, 1)).unwrap();
        let gauges = crate::fact::Gauges {
            content_floor: 1,
            ..Default::default()
        };
        assert!(check.observe(Time::ZERO, &Fact::Gauged(gauges)).is_err());
    }
}
