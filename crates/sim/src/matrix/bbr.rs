//! BBR version 1 as Linux has it (`net/ipv4/tcp_bbr.c`), without its policer detector.
//!
//! Loss recovery is reduced to what matters in the long run: BBR does not answer loss.

use std::collections::VecDeque;

use super::tcp::{Ack, Control};
use crate::rng::Rng;

/// 2/ln 2: the least gain that doubles each round trip.
const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const BANDWIDTH_ROUNDS: u64 = 10;
const MIN_RTT_AGE: f64 = 10.0;
const PROBE_RTT: f64 = 0.2;
const WINDOW_MIN: f64 = 4.0;
/// Linux paces one per cent below the estimate.
const PACING_MARGIN: f64 = 0.99;

#[derive(Debug, Clone, Copy)]
enum Mode {
    Startup,
    Drain,
    ProbeBandwidth { phase: usize, since: f64 },
    ProbeRtt { until: Option<f64>, round: u64 },
}

#[derive(Debug)]
pub(super) struct Bbr {
    mode: Mode,
    /// Maximum filter: falling rates by round.
    rates: VecDeque<(u64, f64)>,
    round: u64,
    round_end: u64,
    min_rtt: f64,
    min_rtt_at: f64,
    full: f64,
    full_rounds: u32,
    lost: bool,
    first_rtt: f64,
    rng: Rng,
}

impl Bbr {
    pub(super) fn new(rtt: f64, rng: Rng) -> Self {
        Self {
            mode: Mode::Startup,
            rates: VecDeque::new(),
            round: 0,
            round_end: 0,
            min_rtt: f64::INFINITY,
            min_rtt_at: 0.0,
            full: 0.0,
            full_rounds: 0,
            lost: false,
            first_rtt: rtt,
            rng,
        }
    }

    fn bandwidth(&self) -> Option<f64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    /// Segments in flight on a full path without queue.
    fn bdp(&self) -> f64 {
        self.bandwidth().unwrap_or(0.0) * self.min_rtt
    }

    /// Returns whether a round trip has passed.
    fn measure(&mut self, ack: &Ack) -> bool {
        let is_round = ack.delivered_before >= self.round_end;
        if is_round {
            self.round_end = ack.delivered;
            self.round += 1;
        }
        let round = self.round;
        self.rates
            .retain(|(at, rate)| at + BANDWIDTH_ROUNDS >= round && *rate > ack.delivery_rate);
        self.rates.push_back((round, ack.delivery_rate));
        is_round
    }

    fn probe_bandwidth(&mut self, now: f64) {
        // Any phase but the draining one.
        let phase = (self.rng.within(0..=6) as usize + 2) % CYCLE.len();
        self.mode = Mode::ProbeBandwidth { phase, since: now };
    }

    fn step(&mut self, ack: &Ack, is_round: bool) {
        let in_flight = ack.in_flight as f64;
        match self.mode {
            Mode::Startup if is_round => {
                let bandwidth = self.bandwidth().unwrap_or(0.0);
                if bandwidth >= self.full * 1.25 {
                    (self.full, self.full_rounds) = (bandwidth, 0);
                } else {
                    self.full_rounds += 1;
                }
                if self.full_rounds >= 3 {
                    self.mode = Mode::Drain;
                }
            }
            Mode::Drain if in_flight <= self.bdp() => self.probe_bandwidth(ack.now),
            Mode::ProbeBandwidth { phase, since } => {
                let gain = CYCLE[phase];
                let is_over = ack.now - since > self.min_rtt;
                let is_next = if gain > 1.0 {
                    is_over && (self.lost || in_flight >= gain * self.bdp())
                } else {
                    is_over || (gain < 1.0 && in_flight <= self.bdp())
                };
                if is_next {
                    let phase = (phase + 1) % CYCLE.len();
                    self.lost = false;
                    self.mode = Mode::ProbeBandwidth {
                        phase,
                        since: ack.now,
                    };
                }
            }
            Mode::ProbeRtt { until: None, .. } if in_flight <= WINDOW_MIN => {
                self.mode = Mode::ProbeRtt {
                    until: Some(ack.now + PROBE_RTT),
                    round: self.round,
                };
            }
            Mode::ProbeRtt {
                until: Some(until),
                round,
            } if ack.now > until && self.round > round => {
                self.min_rtt_at = ack.now;
                match self.full_rounds >= 3 {
                    true => self.probe_bandwidth(ack.now),
                    false => self.mode = Mode::Startup,
                }
            }
            Mode::Startup | Mode::Drain | Mode::ProbeRtt { .. } => (),
        }
    }
}

impl Control for Bbr {
    fn on_ack(&mut self, ack: &Ack) {
        let is_round = self.measure(ack);
        let is_expired = ack.now > self.min_rtt_at + MIN_RTT_AGE;
        if ack.rtt <= self.min_rtt || is_expired {
            (self.min_rtt, self.min_rtt_at) = (ack.rtt, ack.now);
        }
        self.step(ack, is_round);
        if is_expired && ack.now > MIN_RTT_AGE && !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.mode = Mode::ProbeRtt {
                until: None,
                round: self.round,
            };
        }
    }

    fn on_loss(&mut self, _number: u64, _next: u64) {
        self.lost = true;
    }

    fn on_timeout(&mut self) {
        self.lost = true;
    }

    fn window(&self) -> f64 {
        if matches!(self.mode, Mode::ProbeRtt { .. }) {
            return WINDOW_MIN;
        }
        if self.bandwidth().is_none() {
            return 10.0;
        }
        let gain = match self.mode {
            Mode::Startup | Mode::Drain => HIGH_GAIN,
            Mode::ProbeBandwidth { .. } | Mode::ProbeRtt { .. } => 2.0,
        };
        // Three send quanta on top, as Linux allows.
        (gain * self.bdp()).max(WINDOW_MIN) + 3.0
    }

    fn pace(&self) -> Option<f64> {
        let gain = match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => 1.0 / HIGH_GAIN,
            Mode::ProbeBandwidth { phase, .. } => CYCLE[phase],
            Mode::ProbeRtt { .. } => 1.0,
        };
        Some(match self.bandwidth() {
            Some(bandwidth) => gain * bandwidth * PACING_MARGIN,
            None => HIGH_GAIN * 10.0 / self.first_rtt,
        })
    }
}
