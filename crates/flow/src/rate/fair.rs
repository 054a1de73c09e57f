use std::time::Duration;

use super::{Decision, RateConfig, RatePolicy, Sample};
use crate::{FlowError, Time};

/// Follows the delivery rate with some headroom.
#[derive(Debug)]
pub struct Fair {
    config: RateConfig,
    rate_bps: f64,
    last: Option<Sample>,
}

impl Fair {
    /// Begins at ten packets per round trip.
    pub fn new(config: RateConfig) -> Self {
        let rtt = config.initial_rtt.max(Duration::from_millis(1));
        let rate_bps = 80.0 * config.segment_len as f64 / rtt.as_secs_f64();
        let mut fair = Self {
            config,
            rate_bps: 0.0,
            last: None,
        };
        fair.set_rate(rate_bps);
        fair
    }

    fn set_rate(&mut self, rate_bps: f64) {
        let ceiling = self.config.target_bps.unwrap_or(f64::MAX);
        self.rate_bps = rate_bps.max(self.config.min_bps).max(8_000.0).min(ceiling);
    }
}

impl RatePolicy for Fair {
    fn on_sample(&mut self, sample: &Sample) {
        let last = *self.last.get_or_insert(*sample);
        let span = sample.newest_at - last.newest_at;
        if span < sample.srtt.max(Duration::from_millis(10)) {
            return;
        }
        let bytes = sample.received_bytes.saturating_sub(last.received_bytes);
        let delivered_bps = bytes as f64 * 8.0 / span.as_secs_f64();
        if !sample.app_limited || delivered_bps * 1.25 > self.rate_bps {
            self.set_rate(delivered_bps * 1.25);
        }
        self.last = Some(*sample);
    }

    fn on_silence(&mut self, _now: Time) {
        self.set_rate(self.rate_bps / 2.0);
    }

    fn rate_bps(&self) -> f64 {
        self.rate_bps
    }

    fn burst_max(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn set_limits(&mut self, target_bps: Option<f64>, min_bps: f64, _now: Time) {
        self.config.target_bps = target_bps;
        self.config.min_bps = min_bps;
        self.set_rate(self.rate_bps);
    }

    fn loss_floor(&self) -> f64 {
        0.0
    }

    fn mode(&self) -> &'static str {
        "follow"
    }

    fn failure(&self) -> Option<FlowError> {
        None
    }

    fn poll_trace(&mut self) -> Option<Decision> {
        None
    }
}
