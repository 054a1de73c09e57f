use crate::{Time, Why};

use super::{
    Next, duration,
    law::{Core, View},
    seconds,
};

/// Share of the bandwidth to send with.
const SHARE: f64 = 0.5;
/// Below this share of its target a queue counts as empty.
const EMPTY: f64 = 0.15;

/// Sends at half rate for a moment so that the queue empties and the base delay shows.
///
/// Twice as long as one's own queue needs, no longer: a round trip at half rate costs a percent. If
/// it was not enough there are others in the queue, and the next probe is longer.
#[derive(Debug)]
pub(super) struct ProbeBase {
    until: Time,
    least: f64,
}

impl ProbeBase {
    pub(super) fn new(core: &mut Core, view: &View) -> Self {
        core.rate = SHARE * core.bandwidth;
        let own = 2.0 * view.queue.max(view.target) / (1.0 - SHARE);
        let longest = 3.0 * core.period + 0.02;
        Self {
            until: view.now + duration((own * core.calendar.probe_scale()).min(longest)),
            least: f64::MAX,
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        self.least = self.least.min(core.delay.latest());
        core.rate = if view.now < self.until {
            SHARE * core.bandwidth
        } else {
            core.bandwidth
        };
        let emptied = self.least < EMPTY * view.target;
        if !emptied && seconds(view.now, self.until) < 1.5 * core.period {
            return None;
        }
        if view.now < self.until && !emptied {
            return None;
        }
        core.calendar.probed(emptied);
        core.rate = core.bandwidth;
        core.growth.hold(view.now, core.period);
        if emptied {
            return Some(Next::track(view.now, Why::BaseProbed));
        }
        core.delay.learn_noise(0.5);
        Some(Next::track(view.now, Why::BaseProbedShared))
    }
}
