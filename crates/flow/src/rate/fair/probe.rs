use crate::Time;

use super::{
    Next,
    core::{Core, View},
    duration,
};

/// Sends at half rate for a moment so that the queue empties and the base delay shows.
#[derive(Debug)]
pub(super) struct ProbeBase {
    until: Time,
}

impl ProbeBase {
    pub(super) fn new(core: &mut Core, now: Time) -> Self {
        core.rate = 0.5 * core.bandwidth;
        Self {
            until: now + duration(3.0 * core.period + 0.02),
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        core.rate = 0.5 * core.bandwidth;
        if view.now < self.until && core.delay.latest() >= 0.1 * view.target {
            return None;
        }
        core.rate = core.bandwidth;
        core.growth.hold(view.now, 2.0 * core.period);
        Some(Next::track(view.now, "base delay probed"))
    }
}
