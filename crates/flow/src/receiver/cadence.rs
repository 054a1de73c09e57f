use std::{collections::VecDeque, time::Duration};

use crate::{Time, report_interval};

/// While nothing arrives, reports become rarer in proportion to how long that has lasted.
const IDLE_PART: u32 = 4;
/// At most so far apart while data was seen not long ago,
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// and so far apart once it has been quiet for longer than this: a keep-alive.
const QUIET_AFTER: Duration = Duration::from_secs(2);
const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Distances of synchronisations of which the middle one is taken for the round-trip time.
const SYNC_GAPS: usize = 7;
/// A pace of synchronisations outside initial RTT divided and multiplied by this says nothing.
const RTT_FACTOR_MAX: u32 = 16;

/// When to report.
#[derive(Debug)]
pub(crate) struct Cadence {
    initial_rtt: Duration,
    rtt: Duration,
    sync_gaps: VecDeque<Duration>,
    last_sync_at: Option<Time>,
    last_arrival_at: Option<Time>,
    last_gap_at: Option<Time>,
    last_report_at: Option<Time>,
    began_at: Time,
    has_news: bool,
    is_urgent: bool,
}

impl Cadence {
    pub(crate) fn new(initial_rtt: Duration, now: Time) -> Self {
        Self {
            initial_rtt,
            rtt: initial_rtt,
            sync_gaps: VecDeque::with_capacity(SYNC_GAPS),
            last_sync_at: None,
            last_arrival_at: None,
            last_gap_at: None,
            last_report_at: None,
            began_at: now,
            has_news: false,
            is_urgent: false,
        }
    }

    /// A data packet arrived; `opens_gap` when numbers before it are missing. The first packet, the
    /// first after a pause and the first gap in a while are told at once.
    pub(crate) fn on_arrival(&mut self, opens_gap: bool, at: Time) {
        let pause = IDLE_INTERVAL.max(self.interval() * 4);
        let is_resumed = self.last_arrival_at.is_none_or(|last| at - last > pause);
        self.last_arrival_at = self.last_arrival_at.max(Some(at));
        self.has_news = true;
        self.is_urgent |= is_resumed;
        if opens_gap {
            let is_first = self.last_gap_at.is_none_or(|last| at - last > self.rtt);
            self.last_gap_at = Some(at);
            self.is_urgent |= is_first;
        }
    }

    /// Something must be told at once.
    pub(crate) fn hasten(&mut self) {
        self.is_urgent = true;
    }

    /// Something changed that the next report should tell without delay beyond its interval.
    pub(crate) fn on_news(&mut self) {
        self.has_news = true;
    }

    /// A synchronisation arrived. While data flows the sender makes one per round trip: their
    /// median distance is the only estimate of it a receiver has.
    pub(crate) fn on_sync(&mut self, at: Time) {
        let gap = self.last_sync_at.replace(at).map(|last| at - last);
        let is_flowing = self
            .last_arrival_at
            .is_some_and(|last| at - last < self.rtt);
        let plausible = self.initial_rtt / RTT_FACTOR_MAX..=self.initial_rtt * RTT_FACTOR_MAX;
        let Some(gap) = gap.filter(|gap| is_flowing && plausible.contains(gap)) else {
            return;
        };
        if self.sync_gaps.len() == SYNC_GAPS {
            self.sync_gaps.pop_front();
        }
        self.sync_gaps.push_back(gap);
        if self.sync_gaps.len() == SYNC_GAPS {
            let mut sorted: Vec<Duration> = self.sync_gaps.iter().copied().collect();
            sorted.sort_unstable();
            self.rtt = sorted[SYNC_GAPS / 2];
        }
    }

    /// A round of reports was begun.
    pub(crate) fn on_report(&mut self, now: Time) {
        self.last_report_at = Some(now);
        self.has_news = false;
        self.is_urgent = false;
    }

    /// Interval while data flows.
    pub(crate) fn interval(&self) -> Duration {
        report_interval(self.rtt)
    }

    /// When the next report is due.
    pub(crate) fn due_at(&self) -> Time {
        let Some(last) = self.last_report_at else {
            return self.began_at;
        };
        if self.is_urgent {
            return last;
        }
        if self.has_news {
            return last + self.interval();
        }
        let quiet = last - self.last_arrival_at.unwrap_or(self.began_at);
        let interval = if quiet > QUIET_AFTER {
            QUIET_INTERVAL
        } else {
            (quiet / IDLE_PART).clamp(self.interval(), IDLE_INTERVAL)
        };
        last + interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn cadence() -> Cadence {
        let mut cadence = Cadence::new(MS * 80, Time::ZERO);
        assert_eq!(cadence.due_at(), Time::ZERO, "heard before any data");
        cadence.on_report(Time::ZERO);
        cadence
    }

    #[test]
    fn first_packet_first_gap_and_resumption_are_told_at_once() {
        let mut cadence = cadence();
        cadence.on_arrival(false, at(5));
        assert_eq!(cadence.due_at(), at(0), "first packet: overdue at once");
        cadence.on_report(at(5));
        cadence.on_arrival(false, at(6));
        assert_eq!(
            cadence.due_at(),
            at(15),
            "ordinary news wait for the interval"
        );
        cadence.on_arrival(true, at(7));
        assert!(cadence.due_at() <= at(7), "first gap");
        cadence.on_report(at(7));
        cadence.on_arrival(true, at(9));
        assert_eq!(cadence.due_at(), at(17), "further gaps are ordinary");
        cadence.on_report(at(17));
        cadence.on_arrival(false, at(300));
        assert!(cadence.due_at() <= at(300), "resumption");
    }

    #[test]
    fn silence_is_kept_alive_more_and_more_rarely() {
        let mut cadence = cadence();
        cadence.on_arrival(false, at(0));
        cadence.on_report(at(0));
        let mut gaps = Vec::new();
        let mut now = at(0);
        while now < at(6_000) {
            let due = cadence.due_at();
            gaps.push((due - now).as_millis());
            now = due;
            cadence.on_report(now);
        }
        assert_eq!(gaps[..4], [10, 10, 10, 10]);
        assert!(gaps.windows(2).all(|two| two[0] <= two[1]), "{gaps:?}");
        assert!(gaps.contains(&100));
        assert_eq!(gaps.last(), Some(&1_000));
        assert!(gaps.len() < 60, "{}", gaps.len());
    }

    #[test]
    fn the_pace_of_synchronisations_sets_the_interval() {
        let mut cadence = cadence();
        assert_eq!(cadence.interval(), MS * 10);
        let mut now = 0;
        for step in 0..9 {
            // One was lost, one came too early.
            now += [40, 40, 80, 5, 40, 40, 40, 40, 40][step];
            cadence.on_arrival(false, at(now));
            cadence.on_sync(at(now));
        }
        assert_eq!(cadence.interval(), MS * 5);
    }
}
