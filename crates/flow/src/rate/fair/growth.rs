use crate::{Time, random::Random};

use super::{duration, seconds};

/// Just enough to hold a queue at its target.
const GAIN_MIN: f64 = 0.002;
const GAIN_MAX: f64 = 0.25;
/// How close two ceilings must be to count as the same one.
const SAME_CEILING: f64 = 0.05;
const HOLD_DOUBLINGS_MAX: u32 = 3;

/// How the rate grows when nothing speaks against it, and how long it rests below a ceiling that
/// was found without any queue to see it coming (a shallow buffer, a policer).
#[derive(Debug)]
pub(super) struct Growth {
    gain: f64,
    clear_rounds: u32,
    ceiling: Option<f64>,
    hold_until: Time,
    hold_doublings: u32,
    last_at: Option<Time>,
    random: Random,
}

impl Growth {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            gain: GAIN_MIN,
            clear_rounds: 0,
            ceiling: None,
            hold_until: Time::ZERO,
            hold_doublings: 0,
            last_at: None,
            random: Random::new(seed),
        }
    }

    /// Another path: no ceiling is known, nothing speaks against growing.
    pub(super) fn forget(&mut self) {
        self.calm();
        self.ceiling = None;
        self.hold_until = Time::ZERO;
        self.last_at = None;
    }

    /// Relative headroom to send with now; 0 while holding.
    pub(super) fn gain(&self, now: Time) -> f64 {
        if now < self.hold_until {
            0.0
        } else {
            self.gain
        }
    }

    /// The capacity that was found last, bits per second.
    pub(super) fn ceiling(&self) -> Option<f64> {
        self.ceiling
    }

    /// The rate was above the bandwidth at this time.
    pub(super) fn grew(&mut self, now: Time) {
        self.last_at = Some(now);
    }

    /// Whether packets now being reported may have been sent while growing.
    pub(super) fn is_growing(&self, now: Time, period: f64) -> bool {
        self.last_at
            .is_some_and(|at| seconds(now, at) < 2.5 * period)
    }

    /// A round passed without queue or excess loss. The first two steps are `step`, then each is
    /// twice the last, unless just below a known ceiling.
    pub(super) fn on_clear_round(&mut self, now: Time, bandwidth: f64, step: f64) {
        if now < self.hold_until {
            return;
        }
        self.clear_rounds += 1;
        let near = |ceiling: f64| bandwidth > 0.93 * ceiling && bandwidth < 1.03 * ceiling;
        self.gain = if self.clear_rounds <= 2 || self.ceiling.is_some_and(near) {
            step
        } else {
            (2.0 * self.gain).clamp(step, GAIN_MAX)
        };
    }

    /// Back to small steps.
    pub(super) fn calm(&mut self) {
        self.clear_rounds = 0;
        self.gain = GAIN_MIN;
    }

    /// Does not grow for that many seconds.
    pub(super) fn hold(&mut self, now: Time, seconds: f64) {
        self.hold_until = self.hold_until.max(now + duration(seconds));
    }

    /// The path showed its capacity in passing: small steps from just below it on.
    pub(super) fn saw_ceiling(&mut self, bandwidth: f64) {
        self.ceiling = Some(bandwidth);
        self.calm();
    }

    /// An experiment found the capacity. Returns the estimate: where it is the one found before,
    /// their mean, and the rest is twice as long.
    pub(super) fn found_ceiling(&mut self, now: Time, found: f64, period: f64) -> f64 {
        let same = |old: &f64| (found - old).abs() < SAME_CEILING * old;
        let ceiling = match self.ceiling.filter(same) {
            Some(old) => {
                self.hold_doublings = (self.hold_doublings + 1).min(HOLD_DOUBLINGS_MAX);
                0.5 * (old + found)
            }
            None => {
                self.hold_doublings = 0;
                found
            }
        };
        self.ceiling = Some(ceiling);
        let base = (10.0 * period).clamp(0.5, 3.0) * f64::from(1 << self.hold_doublings);
        let rest = base * (1.0 + 0.3 * self.random.unit());
        self.hold(now, rest);
        self.last_at = None;
        self.calm();
        ceiling
    }
}
