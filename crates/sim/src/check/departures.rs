use std::{collections::VecDeque, ops::Range, time::Duration};

use haul_flow::Time;
use haul_wire::PacketNo;

use super::{BURST_MAX, Check};
use crate::{fact::Fact, fact::Planned, violation::Violation};

/// However late the host is, what leaves never runs ahead of the plans' airtime by more than one
/// burst and the batch that is leaving. (That the airtime is right for the rate is
/// [`super::pacing`]'s to check.)
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// Plans that have not left wholly: numbers and airtime.
    plans: VecDeque<(Range<u64>, Duration)>,
    busy_until: Time,
}

impl Departures {
    fn plan(&mut self, plan: &Planned) {
        let first = plan.first.0;
        self.plans.push_back((first..first + plan.count, plan.gap));
    }

    /// Books a batch when its first packet leaves.
    fn depart(&mut self, packet: PacketNo, at: Time) -> Result<(), Violation> {
        let Some((numbers, gap)) = self.plans.front() else {
            return Err(Violation::Unplanned(packet));
        };
        if !numbers.contains(&packet.0) {
            return Err(Violation::Unplanned(packet));
        }
        if packet.0 == numbers.start {
            let ahead = self.busy_until - at;
            if ahead > BURST_MAX {
                return Err(Violation::LeftEarly { packet, ahead });
            }
            self.busy_until = self.busy_until.max(at) + *gap;
        }
        if packet.0 + 1 == numbers.end {
            self.plans.pop_front();
        }
        Ok(())
    }
}

impl Check for Departures {
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Planned(plan) => {
                self.plan(plan);
                Ok(())
            }
            Fact::Sent { packet, .. } => self.depart(*packet, at),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haul_wire::BlockAddr;

    fn departures() -> Departures {
        let mut departures = Departures::default();
        for first in [0, 2, 4, 6] {
            departures.plan(&Planned {
                first: PacketNo(first),
                count: 2,
                bytes: 2000,
                release_at: Time::ZERO,
                gap: Duration::from_micros(600),
            });
        }
        departures
    }

    fn sent(packet: u64) -> Fact {
        Fact::Sent {
            packet: PacketNo(packet),
            addr: BlockAddr::content(packet),
            bytes: 1000,
        }
    }

    #[test]
    fn one_burst_is_made_up_for_and_no_more() {
        let mut departures = departures();
        for packet in 0..4 {
            departures.observe(Time::ZERO, &sent(packet)).unwrap();
        }
        assert!(matches!(
            departures.observe(Time::ZERO, &sent(4)),
            Err(Violation::LeftEarly { .. })
        ));
        let later = Time(200_000);
        assert_eq!(departures.observe(later, &sent(4)), Ok(()));
    }

    #[test]
    fn what_was_not_planned_may_not_leave() {
        assert!(departures().observe(Time::ZERO, &sent(2)).is_err());
        assert!(departures().observe(Time::ZERO, &sent(9)).is_err());
    }
}
