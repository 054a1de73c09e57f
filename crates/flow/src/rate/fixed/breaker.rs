use std::time::Duration;

use haul_wire::PacketNo;

use super::super::{Mode, Sample, Why};
use crate::{FlowError, Time};

/// Shortest interval over which delivery is compared with sending (RFC 8084, section 3.1: neither
/// a burst of loss nor one late report may decide).
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Round trips an interval spans at least.
const INTERVAL_ROUND_TRIPS: u32 = 4;
/// Fewer packets say nothing.
const PACKETS_MIN: u64 = 4;
/// Less than this share delivered is bad,
const BAD_SHARE: f64 = 0.65;
/// this many bad intervals in a row call for an experiment.
const BAD_INTERVALS: u32 = 3;
/// The experiment: sending so much slower for one interval.
const DIP: f64 = 0.8;
/// Delivery that keeps this share of what it was, although sending fell to [`DIP`], does not depend
/// on the rate: the path is full.
const FLAT_SHARE: f64 = 0.9;
/// A full path is given this much more than it delivers.
const HEADROOM: f64 = 1.05;
/// After an experiment that found random loss, no other for so many intervals.
const REST_INTERVALS: u32 = 30;
/// An interval in which more than this part of the samples had sending limited by something other
/// than the rate says nothing of what depends on the rate.
const LIMITED_PART: u32 = 4;
/// Less than this share delivered
const OPEN_SHARE: f64 = 0.3;
/// for so long stops all sending but a trickle.
const OPEN_AFTER: Duration = Duration::from_secs(5);
/// An open breaker ends the session after so long.
const FAIL_AFTER: Duration = Duration::from_secs(30);
/// A lowered rate is raised so much, after so many intervals that delivered nearly as well as the
/// best since it was lowered; taken back at once, and tried again later and later, where that ends.
const RAISE: f64 = 1.25;
const NEARLY: f64 = 0.95;
const PATIENCE_MIN: u32 = 4;
const PATIENCE_MAX: u32 = 64;
/// A breaker that closes begins at least at this part of the target.
const REOPEN_PART: f64 = 1.0 / 16.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Watches: bad and good intervals in a row, intervals until the next experiment is allowed.
    Closed { bad: u32, good: u32, rest: u32 },
    /// Sends slower from this packet on, to see whether delivery falls; it was so much before.
    Dip { from: PacketNo, before_bps: f64 },
    /// Sends a trickle since then; delivery was so much before.
    Open { since: Time, before_bps: f64 },
}

/// How a lowered rate finds its way back.
#[derive(Debug)]
struct Raising {
    best_share: f64,
    /// The limit before it was raised, until the next interval has shown what that does.
    before_bps: Option<f64>,
    patience: u32,
}

impl Default for Raising {
    fn default() -> Self {
        Self {
            best_share: 0.0,
            before_bps: None,
            patience: PATIENCE_MIN,
        }
    }
}

const CLOSED: State = State::Closed {
    bad: 0,
    good: 0,
    rest: 0,
};

/// Lowers or stops a fixed rate that the path does not carry.
///
/// Soft: after three intervals with less than 70 % delivered, sends 20 % slower for one interval. If
/// delivery stays, the path is full and the rate becomes 1.05 times what it delivers, which costs no
/// goodput. If delivery falls too, the loss is not of our making and the rate is restored.
/// Hard: less than 30 % delivered for 5 s opens the breaker; 30 s later the session fails. The soft
/// part needs intervals that the rate alone limited, the hard part acts in any case.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    limit_bps: f64,
    raising: Raising,
    /// Where the current interval began.
    begin: Option<Sample>,
    /// Samples of the current interval, and those that something else limited.
    samples: u32,
    limited: u32,
    /// Since when less than [`OPEN_SHARE`] was delivered.
    starving_since: Option<Time>,
    delivered_bps: f64,
    delivered_share: f64,
    has_failed: bool,
}

impl Breaker {
    pub(super) fn new(target_bps: f64) -> Self {
        Self {
            state: CLOSED,
            limit_bps: target_bps,
            raising: Raising::default(),
            begin: None,
            samples: 0,
            limited: 0,
            starving_since: None,
            delivered_bps: 0.0,
            delivered_share: 1.0,
            has_failed: false,
        }
    }

    /// After a silence: what was sent into it proves nothing.
    pub(super) fn restart(&mut self) {
        self.begin = None;
        self.starving_since = None;
    }

    pub(super) fn on_sample(&mut self, sample: &Sample, target_bps: f64) -> Option<Why> {
        if let State::Dip { from, .. } = self.state
            && sample.largest < from
        {
            // Still about packets from before the experiment.
            self.begin = None;
            return None;
        }
        let Some(begin) = self.begin else {
            self.start(sample);
            return None;
        };
        self.samples += 1;
        self.limited += u32::from(sample.app_limited);
        let interval = INTERVAL_MIN.max(sample.srtt * INTERVAL_ROUND_TRIPS);
        let sent_over = sample.largest_sent_at - begin.largest_sent_at;
        let packets = sample.largest.0.saturating_sub(begin.largest.0);
        if sample.now - begin.now < interval || packets < PACKETS_MIN || sent_over.is_zero() {
            return None;
        }
        let is_limited = self.limited * LIMITED_PART > self.samples;
        self.start(sample);
        let seconds = (sample.newest_at - begin.newest_at).as_secs_f64();
        let bytes = sample.received_bytes.saturating_sub(begin.received_bytes);
        let sent_bps = (packets * sample.segment_len as u64) as f64 * 8.0 / sent_over.as_secs_f64();
        self.delivered_bps = if seconds > 0.0 {
            bytes as f64 * 8.0 / seconds
        } else {
            0.0
        };
        self.delivered_share = (self.delivered_bps / sent_bps).clamp(0.0, 1.0);
        self.on_interval(&begin, sample, is_limited, target_bps)
    }

    fn start(&mut self, sample: &Sample) {
        self.begin = Some(*sample);
        self.samples = 0;
        self.limited = 0;
    }

    fn on_interval(
        &mut self,
        begin: &Sample,
        now: &Sample,
        is_limited: bool,
        target_bps: f64,
    ) -> Option<Why> {
        let share = self.delivered_share;
        let is_starving = self.is_starving(begin.now, now.now);
        match self.state {
            State::Open { since, before_bps } => {
                let least_bps = target_bps * REOPEN_PART;
                self.recover(since, before_bps.max(least_bps), now.now)
            }
            _ if is_starving => {
                self.state = State::Open {
                    since: now.now,
                    before_bps: self.delivered_bps,
                };
                Some(Why::BreakerOpens)
            }
            // Source or receiver set the pace: no experiment with the rate shows anything.
            _ if is_limited => None,
            State::Dip { before_bps, .. } => self.judge_dip(before_bps),
            State::Closed { bad, good, rest } => {
                let rest = rest.saturating_sub(1);
                if share < BAD_SHARE && self.raising.before_bps.is_none() {
                    self.count_bad(bad + 1, rest, now)
                } else {
                    self.count_good(good, rest, target_bps)
                }
            }
        }
    }

    /// Whether too little has arrived for too long, the interval from `begin` included.
    fn is_starving(&mut self, begin: Time, now: Time) -> bool {
        if self.delivered_share >= OPEN_SHARE {
            self.starving_since = None;
            return false;
        }
        let since = *self.starving_since.get_or_insert(begin);
        now - since >= OPEN_AFTER
    }

    fn count_bad(&mut self, bad: u32, rest: u32, now: &Sample) -> Option<Why> {
        if bad < BAD_INTERVALS || rest > 0 {
            self.state = State::Closed { bad, good: 0, rest };
            return None;
        }
        self.state = State::Dip {
            from: now.next_packet,
            before_bps: self.delivered_bps,
        };
        self.begin = None;
        Some(Why::BreakerAsks)
    }

    fn count_good(&mut self, good: u32, rest: u32, target_bps: f64) -> Option<Why> {
        let share = self.delivered_share;
        let raising = &mut self.raising;
        raising.best_share = raising.best_share.max(share);
        let is_good = share >= raising.best_share * NEARLY;
        let good = if is_good { good + 1 } else { 0 };
        self.state = State::Closed { bad: 0, good, rest };
        if let (Some(before_bps), false) = (raising.before_bps.take(), is_good) {
            self.limit_bps = before_bps;
            raising.patience = (raising.patience * 2).min(PATIENCE_MAX);
            return Some(Why::BreakerStillFull);
        }
        if self.limit_bps >= target_bps || good < raising.patience {
            return None;
        }
        raising.before_bps = Some(self.limit_bps);
        self.limit_bps = (self.limit_bps * RAISE).min(target_bps);
        self.state = State::Closed {
            bad: 0,
            good: 0,
            rest,
        };
        // What is in flight was sent at the old rate.
        self.begin = None;
        Some(Why::BreakerRaises)
    }

    fn judge_dip(&mut self, before_bps: f64) -> Option<Why> {
        if self.delivered_bps > before_bps * FLAT_SHARE {
            self.limit_bps = self.delivered_bps * HEADROOM;
            self.raising = Raising::default();
            self.state = CLOSED;
            return Some(Why::BreakerFull);
        }
        self.state = State::Closed {
            bad: 0,
            good: 0,
            rest: REST_INTERVALS,
        };
        Some(Why::BreakerRandom)
    }

    fn recover(&mut self, since: Time, before_bps: f64, now: Time) -> Option<Why> {
        if self.delivered_share >= BAD_SHARE {
            self.limit_bps = before_bps * HEADROOM;
            self.raising = Raising::default();
            self.state = CLOSED;
            return Some(Why::BreakerCloses);
        }
        if now - since >= FAIL_AFTER && !self.has_failed {
            self.has_failed = true;
            return Some(Why::BreakerFails);
        }
        None
    }

    /// The rate the path is believed to carry; the target unless it was lowered.
    pub(super) fn limit_bps(&self) -> f64 {
        match self.state {
            State::Dip { .. } => self.limit_bps * DIP,
            _ => self.limit_bps,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    pub(super) fn delivered_bps(&self) -> f64 {
        self.delivered_bps
    }

    /// Delivered share of what was sent in the last interval, 0 to 1.
    pub(super) fn delivered_share(&self) -> f64 {
        self.delivered_share
    }

    pub(super) fn mode(&self) -> Mode {
        match self.state {
            State::Closed { .. } => Mode::Steady,
            State::Dip { .. } => Mode::Dip,
            State::Open { .. } => Mode::Breaker,
        }
    }

    pub(super) fn failure(&self) -> Option<FlowError> {
        self.has_failed.then_some(FlowError::CircuitBreaker {
            delivered_percent: (self.delivered_share * 100.0) as u8,
        })
    }
}
