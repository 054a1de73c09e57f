use std::time::Duration;

use super::rtt::Rtt;
use crate::Time;

/// Silence shorter than this is a scheduler's, not a network's.
const SILENCE_MIN: Duration = Duration::from_millis(50);
/// Silence so many times longer than reports usually are apart is none of chance: it happens once in
/// four hundred, were each lost by itself.
const SILENCE_GAPS: u32 = 6;
/// One of these distances counts for no more: an outage says little about what is usual.
const GAP_MAX: Duration = Duration::from_millis(250);
/// Weight of the newest of them.
const GAP_PART: u32 = 16;
/// Least distance between two halvings of the rate.
const HALVING_STEP_MIN: Duration = Duration::from_millis(25);
/// After so long without progress only probes are sent: a sender that nobody answers must not be a
/// flood.
const STOP_AFTER: Duration = Duration::from_secs(2);
/// Probe time-outs without progress after which sending stops, where that is later.
const STOP_PROBE_TIMEOUTS: u32 = 3;
/// Probes double their distance up to this.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The peer is given up after so long.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The dead-man's switch and the probe time-out: what happens when reports, or the data they should
/// speak of, do not arrive.
///
/// Progress is a report that names a packet for the first time. A report without progress while
/// data is in flight means that the forward path is dead: for the rate that is silence, too.
#[derive(Debug)]
pub(crate) struct Watch {
    heard_at: Time,
    /// How far apart reports usually are.
    gap: Duration,
    /// Since when data has been in flight without progress.
    waiting_since: Option<Time>,
    halvings: u32,
    last_sent_at: Time,
    backoff: u32,
}

impl Watch {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            heard_at: now,
            gap: Duration::ZERO,
            waiting_since: None,
            halvings: 0,
            last_sent_at: now,
            backoff: 0,
        }
    }

    pub(crate) fn on_sent(&mut self, now: Time) {
        self.waiting_since.get_or_insert(now);
        self.last_sent_at = now;
    }

    /// A report arrived; `is_progress` when it named a packet for the first time.
    pub(crate) fn on_report(&mut self, is_progress: bool, in_flight: u64, now: Time) {
        let gap = (now - self.heard_at).min(GAP_MAX);
        self.heard_at = now;
        if is_progress {
            // The others are keep-alives, and rare at will.
            self.gap = (self.gap * (GAP_PART - 1) + gap) / GAP_PART;
            // Nothing in flight without progress means that all of it was lost: still waiting.
            self.waiting_since = (in_flight > 0).then_some(now);
            self.halvings = 0;
            self.backoff = 0;
        }
    }

    /// The newest report says whether the receiver has room. While it has none, nothing is waited
    /// for: that nothing arrives is no fault of the path, and probes would find no room either.
    pub(crate) fn on_room(&mut self, has_room: bool, in_flight: u64, now: Time) {
        if !has_room {
            self.waiting_since = None;
            self.halvings = 0;
            self.backoff = 0;
        } else if in_flight > 0 {
            self.waiting_since.get_or_insert(now);
        }
    }

    /// The path is alive, and what was waited for will not come: the wait begins anew with what is
    /// sent next.
    pub(crate) fn restart(&mut self, in_flight: u64, now: Time) {
        self.waiting_since = (in_flight > 0).then_some(now);
        self.halvings = 0;
        self.backoff = 0;
    }

    /// All that was sent has arrived, in whatever way that became known: nothing is waited for.
    pub(crate) fn on_settled(&mut self) {
        self.restart(0, Time::ZERO);
    }

    /// Probe time-outs in a row.
    pub(crate) fn backoff(&self) -> u32 {
        self.backoff
    }

    /// Whether only probes may be sent.
    pub(crate) fn is_stopped(&self, rtt: &Rtt, now: Time) -> bool {
        self.stop_at(rtt).is_some_and(|at| at <= now)
    }

    /// When sending stops if nothing is heard until then.
    fn stop_at(&self, rtt: &Rtt) -> Option<Time> {
        let patience = STOP_AFTER.max(rtt.probe_timeout() * STOP_PROBE_TIMEOUTS);
        self.waiting_since.map(|since| since + patience)
    }

    /// When the next probes are due. `pace` is how far apart data packets leave while there are any:
    /// the next of them is the best probe there is (RFC 9002, section 6.2.4), so it is waited for.
    pub(crate) fn probe_at(&self, rtt: &Rtt, pace: Duration) -> Option<Time> {
        let timeout = rtt.probe_timeout();
        let limit = PROBE_INTERVAL_MAX.max(timeout);
        let paced = pace
            .saturating_mul(2)
            .saturating_add(rtt.report_interval())
            .min(limit);
        let wait = timeout.saturating_mul(1 << self.backoff.min(16));
        let wait = wait.min(limit).max(paced);
        let since = self.waiting_since?;
        Some(since.max(self.last_sent_at) + wait)
    }

    /// Counts probes that are about to be sent.
    pub(crate) fn on_probe(&mut self, now: Time) {
        self.backoff += 1;
        // Also when there is nothing to send: the next one is due a full wait from now.
        self.last_sent_at = now;
    }

    /// When the rate must be halved next; `None` once sending has stopped by then.
    pub(crate) fn halve_at(&self, rtt: &Rtt) -> Option<Time> {
        let usual = rtt.srtt() * 2 + rtt.report_interval() * 4;
        let first = usual.max(self.gap * SILENCE_GAPS).max(SILENCE_MIN);
        let step = rtt.srtt().max(HALVING_STEP_MIN);
        let at = self.waiting_since? + first + step.saturating_mul(self.halvings);
        self.stop_at(rtt).filter(|stop| at <= *stop).map(|_| at)
    }

    pub(crate) fn on_halved(&mut self) {
        self.halvings += 1;
    }

    /// When the peer is given up, and whether it is because it says nothing at all.
    pub(crate) fn give_up_at(&self) -> Time {
        let unheard = self.heard_at + GIVE_UP_AFTER;
        match self.waiting_since {
            Some(since) => unheard.min(since + GIVE_UP_AFTER),
            None => unheard,
        }
    }

    /// Whether reports do arrive.
    pub(crate) fn is_heard(&self, now: Time) -> bool {
        now < self.heard_at + GIVE_UP_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn rtt(ms: u32) -> Rtt {
        let mut rtt = Rtt::new(MS * ms, Time::ZERO);
        for _ in 0..64 {
            rtt.on_sample(MS * ms, Duration::ZERO, Time::ZERO);
        }
        rtt
    }

    #[test]
    fn silence_halves_then_stops_then_ends() {
        let rtt = rtt(80);
        let mut watch = Watch::new(Time::ZERO);
        assert_eq!(watch.halve_at(&rtt), None, "nothing is awaited");
        watch.on_sent(at(1_000));
        assert_eq!(watch.halve_at(&rtt), Some(at(1_000 + 160 + 40)));
        watch.on_halved();
        assert_eq!(watch.halve_at(&rtt), Some(at(1_200 + 80)));
        assert!(!watch.is_stopped(&rtt, at(2_999)));
        assert!(watch.is_stopped(&rtt, at(3_000)));
        assert_eq!(watch.give_up_at(), at(30_000));
        watch.on_report(true, 5, at(4_000));
        assert!(!watch.is_stopped(&rtt, at(4_001)));
        assert_eq!(watch.halve_at(&rtt), Some(at(4_200)));
    }

    #[test]
    fn where_most_reports_are_lost_a_long_gap_is_no_silence() {
        let rtt = rtt(80);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(Time::ZERO);
        for nth in 1..=100 {
            watch.on_report(true, 5, at(nth * 100));
        }
        let due = watch.halve_at(&rtt).unwrap() - at(10_000);
        assert!((MS * 580..=MS * 600).contains(&due), "{due:?}");
        watch.on_report(true, 5, at(70_000));
        let due = watch.halve_at(&rtt).unwrap() - at(70_000);
        assert!(due < MS * 700, "an outage: {due:?}");
    }

    #[test]
    fn reports_without_progress_do_not_keep_a_flood_going() {
        let rtt = rtt(80);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(Time::ZERO);
        watch.on_report(false, 0, at(1_900));
        assert!(watch.is_stopped(&rtt, at(2_000)));
        assert!(watch.is_heard(at(30_000)));
        assert_eq!(watch.give_up_at(), at(30_000));
    }

    #[test]
    fn probes_back_off_to_one_per_second() {
        let rtt = rtt(80);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(Time::ZERO);
        let mut waits = Vec::new();
        let mut now = Time::ZERO;
        for _ in 0..6 {
            let due = watch.probe_at(&rtt, Duration::ZERO).unwrap();
            waits.push((due - now).as_millis());
            now = due;
            watch.on_probe(now);
        }
        assert_eq!(waits, [101, 202, 404, 808, 1_000, 1_000]);
    }

    #[test]
    fn the_next_packet_of_a_slow_pace_is_waited_for() {
        let rtt = rtt(1);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(Time::ZERO);
        assert_eq!(watch.probe_at(&rtt, Duration::ZERO), Some(at(6)));
        assert_eq!(watch.probe_at(&rtt, MS), Some(at(6)), "a quick pace");
        assert_eq!(watch.probe_at(&rtt, MS * 14), Some(at(30)));
        assert_eq!(watch.probe_at(&rtt, MS * 5_000), Some(at(1_000)));
    }

    #[test]
    fn a_full_receiver_is_waited_for() {
        let rtt = rtt(80);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(at(1_000));
        for second in 1..100 {
            watch.on_report(false, 5, at(second * 1_000));
            watch.on_room(false, 5, at(second * 1_000));
            assert_eq!(watch.probe_at(&rtt, Duration::ZERO), None);
            assert_eq!(watch.halve_at(&rtt), None);
            assert!(watch.give_up_at() > at(second * 1_000));
        }
        watch.on_room(true, 5, at(100_000));
        assert_eq!(watch.halve_at(&rtt), Some(at(100_200)));
        assert_eq!(watch.give_up_at(), at(129_000), "last heard at 99 s");
    }

    #[test]
    fn scheduling_noise_on_a_short_path_is_no_silence() {
        let rtt = rtt(1);
        let mut watch = Watch::new(Time::ZERO);
        watch.on_sent(Time::ZERO);
        assert_eq!(watch.halve_at(&rtt), Some(at(50)));
        watch.on_halved();
        assert_eq!(watch.halve_at(&rtt), Some(at(75)));
    }
}
