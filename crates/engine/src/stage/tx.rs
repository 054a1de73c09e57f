use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use haul_flow::Time;
use haul_udp::{SendOutcome, UdpPath};

use super::{Departure, Onward};
use crate::{
    EngineError,
    clock::Clock,
    driver::Fact,
    stats::{StageCounters, Stopwatch},
};

/// Most that may be made up for after a stall: a burst of this much airtime.
const CATCH_UP_MAX: Duration = Duration::from_millis(1);
/// Longest airtime that is booked: at rates so low that a batch takes longer, the plans' own times
/// keep them apart, and a rate that has risen since must not wait for a gap of the slow past.
const GAP_MAX: Duration = Duration::from_millis(2);
/// Sleeping shorter than this costs more than it paces: timers are that late anyway.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// Sends each batch at its time, and tells the driver when.
pub(crate) struct Tx {
    path: Arc<UdpPath>,
    clock: Clock,
    inbox: Sender<Fact>,
    watch: Stopwatch,
    schedule: Schedule,
}

impl Tx {
    pub(crate) fn new(
        path: Arc<UdpPath>,
        clock: Clock,
        inbox: Sender<Fact>,
        counters: &Arc<StageCounters>,
    ) -> Self {
        Self {
            path,
            clock,
            inbox,
            watch: Stopwatch::start(counters),
            schedule: Schedule::default(),
        }
    }

    /// Sends what comes until nothing does.
    pub(crate) fn run(mut self, departures: &Receiver<Departure>) -> Result<(), EngineError> {
        for departure in departures {
            if !self.send(departure)? {
                break;
            }
        }
        Ok(())
    }

    /// Sends one batch when its time has come.
    pub(crate) fn send(&mut self, departure: Departure) -> Onward {
        let Departure {
            sealed,
            first,
            count,
            release_at,
            gap,
            ecn,
        } = departure;
        let nap = self.schedule.wait(release_at, gap, self.clock.now());
        if let Some(nap) = nap {
            std::thread::sleep(nap);
        }
        self.watch.was_waiting_for_input();
        let datagram_len = sealed.stride();
        // Before, not after: a thread that loses its processor in between would find round trips that
        // are too short, and one of those spoils the least of half a minute. Too long does no harm.
        let at = self.clock.now();
        let outcome = self.path.send(sealed.bytes(), datagram_len, ecn)?;
        drop(sealed);
        self.watch.was_busy(1);
        let too_big = (outcome == SendOutcome::TooBig).then_some(Fact::TooBig { datagram_len });
        let sent = Fact::Sent { first, count, at };
        let mut facts = too_big.into_iter().chain([sent]);
        let heard = facts.all(|fact| self.inbox.send(fact).is_ok());
        self.watch.was_waiting_for_output();
        Ok(heard)
    }
}

/// Keeps the plan's pace also after the line has stalled: what waited in the queues meanwhile must
/// not leave in one burst.
#[derive(Default)]
struct Schedule {
    /// When the airtime of what has been sent ends.
    busy_until: Time,
}

impl Schedule {
    /// How long to wait before sending, if it is worth waiting; books the airtime.
    fn wait(&mut self, release_at: Time, gap: Duration, now: Time) -> Option<Duration> {
        let start = release_at.max(self.busy_until).max(now - CATCH_UP_MAX);
        self.busy_until = start + gap.min(GAP_MAX);
        let nap = start - now;
        (nap > SLEEP_MIN).then_some(nap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_micros(500);

    fn at(us: u64) -> Time {
        Time(us * 1000)
    }

    #[test]
    fn batches_leave_at_their_time() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.wait(at(10_000), GAP, at(10_000)), None);
        assert_eq!(
            schedule.wait(at(10_500), GAP, at(10_100)),
            Some(Duration::from_micros(400))
        );
    }

    #[test]
    fn a_stall_is_made_up_for_by_one_millisecond_at_most() {
        let mut schedule = Schedule::default();
        // Ten batches were due long ago: the two in the last millisecond go at once.
        let naps: Vec<_> = (0..10)
            .map(|n| schedule.wait(at(1_000 + 500 * n), GAP, at(100_000)))
            .collect();
        assert_eq!(naps[..3], [None, None, None]);
        assert_eq!(naps[3], Some(Duration::from_micros(500)));
        assert_eq!(naps[4], Some(Duration::from_micros(1000)));
    }
}
