use std::time::Duration;

use super::{Decision, RateConfig, RatePolicy, Sample};
use crate::{FlowError, Time};

/// Sends at the target rate.
#[derive(Debug)]
pub struct Fixed {
    target_bps: f64,
}

impl Fixed {
    /// Begins at the target at once.
    pub fn new(target_bps: f64, _config: RateConfig) -> Self {
        Self { target_bps }
    }
}

impl RatePolicy for Fixed {
    fn on_sample(&mut self, _sample: &Sample) {}

    fn on_silence(&mut self, _now: Time) {}

    fn rate_bps(&self) -> f64 {
        self.target_bps
    }

    fn burst_max(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn set_limits(&mut self, target_bps: Option<f64>, _min_bps: f64, _now: Time) {
        self.target_bps = target_bps.unwrap_or(self.target_bps);
    }

    fn loss_floor(&self) -> f64 {
        0.0
    }

    fn mode(&self) -> &'static str {
        "fixed"
    }

    fn failure(&self) -> Option<FlowError> {
        None
    }

    fn poll_trace(&mut self) -> Option<Decision> {
        None
    }
}
