//! No rate at all, where something else decides.

use std::time::Duration;

use super::{Estimates, Mode, RateConfig, RatePolicy, Sample};
use crate::Time;

/// What stands for "at once" where every rate is a number: more than any machine sends.
const AT_ONCE_BPS: f64 = 100e9;
/// Longest burst, which at such a rate is any batch.
const BURST_MAX: Duration = Duration::from_millis(1);

/// For datagrams that a reliable connection carries: that one paces them, finds out what the path bears,
/// and answers congestion. To do so twice would make the outer one answer the delays of the inner. What
/// may be in flight is bounded all the same ([`crate::SenderConfig::carried_bytes`]), and the user's
/// target is kept to.
#[derive(Debug)]
pub struct Carried {
    rate_bps: f64,
}

impl Carried {
    /// Begins at the target, or without a rate.
    pub fn new(config: &RateConfig) -> Self {
        let rate_bps = config.target_bps.unwrap_or(AT_ONCE_BPS);
        Self { rate_bps }
    }
}

impl RatePolicy for Carried {
    fn on_sample(&mut self, _: &Sample) {}

    fn on_silence(&mut self, _: Time) {}

    fn rate_bps(&self) -> f64 {
        self.rate_bps
    }

    fn burst_max(&self) -> Duration {
        BURST_MAX
    }

    fn on_path_change(&mut self, _: Time) {}

    /// Nothing: what the connection carries says little of the path without it.
    fn estimates(&self) -> Estimates {
        Estimates::default()
    }

    fn set_limits(&mut self, target_bps: Option<f64>, _: f64, _: Time) {
        self.rate_bps = target_bps.unwrap_or(AT_ONCE_BPS);
    }

    fn mode(&self) -> Mode {
        Mode::Steady
    }
}
