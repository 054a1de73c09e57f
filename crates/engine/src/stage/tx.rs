use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use haul_flow::Time;
use haul_udp::{SendOutcome, UdpPath};

use super::Departure;
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
pub(crate) fn run(
    path: &UdpPath,
    clock: Clock,
    departures: &Receiver<Departure>,
    inbox: &Sender<Fact>,
    counters: &Arc<StageCounters>,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    let mut schedule = Schedule::default();
    for departure in departures {
        let Departure {
            sealed,
            first,
            count,
            release_at,
            gap,
            ecn,
        } = departure;
        if let Some(nap) = schedule.wait(release_at, gap, clock.now()) {
            std::thread::sleep(nap);
        }
        watch.was_waiting_for_input();
        let datagram_len = sealed.stride();
        let outcome = path.send(sealed.bytes(), datagram_len, ecn)?;
        drop(sealed);
        watch.was_busy(1);
        if outcome == SendOutcome::TooBig && inbox.send(Fact::TooBig { datagram_len }).is_err() {
            return Ok(());
        }
        if inbox
            .send(Fact::Sent {
                first,
                count,
                at: clock.now(),
            })
            .is_err()
        {
            return Ok(());
        }
        watch.was_waiting_for_output();
    }
    Ok(())
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
