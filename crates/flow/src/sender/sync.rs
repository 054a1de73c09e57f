use std::time::Duration;

use haul_wire::{PacketNo, path::Sync};

use super::rtt::Rtt;
use crate::Time;

/// Least distance of two ordinary synchronisations.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Least distance of two urgent ones.
const URGENT_MIN: Duration = Duration::from_millis(5);
/// While nothing is in flight: keeps the peer and the address translators on the way awake.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// When to tell the receiver what it need not repeat, and what has been sent.
///
/// Once per round trip while data flows, so that reports stay short; soon after the last packet of
/// a run, so that the receiver speaks of a tail that was lost; otherwise as a keep-alive.
#[derive(Debug)]
pub(crate) struct SyncClock {
    began_at: Time,
    last_at: Option<Time>,
    is_urgent: bool,
}

impl SyncClock {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            began_at: now,
            last_at: None,
            is_urgent: false,
        }
    }

    /// Something ended: the receiver should hear soon how far the numbers went.
    pub(crate) fn hasten(&mut self) {
        self.is_urgent = true;
    }

    /// When the next one is due. `is_active`: packets are in flight.
    pub(crate) fn due_at(&self, is_active: bool, rtt: &Rtt) -> Time {
        let interval = if self.is_urgent {
            (rtt.srtt() / 2).max(URGENT_MIN)
        } else if is_active {
            rtt.srtt().max(INTERVAL_MIN)
        } else {
            KEEP_ALIVE
        };
        match self.last_at {
            Some(last) => last + interval,
            None if self.is_urgent => self.began_at,
            None => self.began_at + interval,
        }
    }

    /// Makes one.
    pub(crate) fn make(&mut self, report_floor: u64, next_packet: u64, now: Time) -> Sync {
        self.last_at = Some(now);
        self.is_urgent = false;
        Sync {
            report_floor: PacketNo(report_floor),
            next_packet: PacketNo(next_packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hurries_when_asked_and_keeps_alive_otherwise() {
        let ms = |ms: u64| Time(ms * 1_000_000);
        let rtt = Rtt::new(Duration::from_millis(80), Time::ZERO);
        let mut clock = SyncClock::new(Time::ZERO);
        assert_eq!(clock.due_at(false, &rtt), ms(1_000));
        assert_eq!(clock.due_at(true, &rtt), ms(80));
        clock.hasten();
        assert_eq!(clock.due_at(true, &rtt), ms(0));
        let sync = clock.make(3, 9, ms(50));
        assert_eq!(
            (sync.report_floor, sync.next_packet),
            (PacketNo(3), PacketNo(9))
        );
        assert_eq!(clock.due_at(true, &rtt), ms(130));
        clock.hasten();
        assert_eq!(clock.due_at(true, &rtt), ms(90));
    }
}
