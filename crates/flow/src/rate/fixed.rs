//! Exactly the target rate, with a circuit breaker.

mod breaker;

use std::{collections::VecDeque, time::Duration};

use super::{Decision, Estimates, Mode, RateConfig, RatePolicy, Sample, Why};
use crate::{FlowError, Time};
use breaker::Breaker;

/// Lines of the trace kept for a caller that does not ask.
const TRACE_MAX: usize = 64;
/// Segments per second while the breaker is open or nobody answers: enough to notice that the path
/// is back.
const TRICKLE_SEGMENTS: f64 = 4.0;
/// Longest burst.
const BURST_MAX: Duration = Duration::from_millis(1);

/// Sends at the target rate, whatever the path does: for a user who knows the path and says so.
///
/// RFC 8085, section 3.1 allows that only on explicit request and with a circuit breaker
/// (RFC 8084). Nothing but the breaker and silence lowers the rate.
///
/// Soft: after three intervals of a second or more with less than 70 % delivered, an interval at
/// 80 % of the rate shows whether delivery depends on it; if not, the rate becomes 1.05 times what is
/// delivered, and is raised again where the path carries more. Hard: less than 30 % delivered for
/// 5 s leaves a trickle of four packets per second, and 30 s later the session fails.
#[derive(Debug)]
pub struct Fixed {
    target_bps: f64,
    min_bps: f64,
    segment_len: usize,
    /// Halved in silence, 1 otherwise.
    silence: f64,
    breaker: Breaker,
    trace: VecDeque<Decision>,
}

impl Fixed {
    /// Begins at the target at once.
    pub fn new(target_bps: f64, config: RateConfig) -> Self {
        Self {
            target_bps,
            min_bps: config.min_bps,
            segment_len: config.segment_len,
            silence: 1.0,
            breaker: Breaker::new(target_bps),
            trace: VecDeque::new(),
        }
    }

    fn trickle_bps(&self) -> f64 {
        TRICKLE_SEGMENTS * self.segment_len as f64 * 8.0
    }

    fn note(&mut self, at: Time, why: Why) {
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(Decision {
            at,
            mode: self.mode(),
            rate_bps: self.rate_bps(),
            bandwidth_bps: self.breaker.delivered_bps(),
            loss_floor: self.loss_floor(),
            queue_delay: Duration::ZERO,
            why,
        });
    }
}

impl RatePolicy for Fixed {
    fn on_sample(&mut self, sample: &Sample) {
        if self.silence < 1.0 {
            self.silence = 1.0;
            self.breaker.restart();
            self.note(sample.now, Why::HeardAgain);
        }
        if let Some(why) = self.breaker.on_sample(sample, self.target_bps) {
            self.note(sample.now, why);
        }
    }

    fn on_silence(&mut self, now: Time) {
        self.silence /= 2.0;
        self.note(now, Why::NoReports);
    }

    fn rate_bps(&self) -> f64 {
        if self.breaker.is_open() {
            return self.trickle_bps();
        }
        let rate_bps = self.breaker.limit_bps().max(self.min_bps);
        (rate_bps.min(self.target_bps) * self.silence).max(self.trickle_bps().min(self.target_bps))
    }

    /// A quarter of the queueing delay that a fair flow of this rate would aim at:
    /// 4 ms · √(100 Mbit/s ÷ rate).
    fn burst_max(&self) -> Duration {
        let quarter = 1e-3 * (1e8 / self.rate_bps()).sqrt();
        Duration::from_secs_f64(quarter.clamp(62.5e-6, BURST_MAX.as_secs_f64()))
    }

    fn on_path_change(&mut self, now: Time) {
        self.breaker.restart();
        self.note(now, Why::AnotherPath);
    }

    fn estimates(&self) -> Estimates {
        Estimates {
            bandwidth_bps: self.rate_bps(),
            ..Estimates::default()
        }
    }

    fn set_limits(&mut self, target_bps: Option<f64>, min_bps: f64, now: Time) {
        self.min_bps = min_bps;
        self.target_bps = target_bps.unwrap_or(self.target_bps);
        self.breaker = Breaker::new(self.target_bps);
        self.note(now, Why::LimitsChanged);
    }

    fn loss_floor(&self) -> f64 {
        1.0 - self.breaker.delivered_share()
    }

    fn mode(&self) -> Mode {
        if self.silence < 1.0 {
            return Mode::Silence;
        }
        self.breaker.mode()
    }

    fn failure(&self) -> Option<FlowError> {
        self.breaker.failure()
    }

    fn poll_trace(&mut self) -> Option<Decision> {
        self.trace.pop_front()
    }
}

#[cfg(test)]
mod tests;
