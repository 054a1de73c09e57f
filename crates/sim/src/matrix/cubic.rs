//! CUBIC (RFC 9438) with fast convergence, and HyStart++ (RFC 9406) without pacing.

use super::tcp::{Ack, Control};

const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Reno-friendly growth: 3·(1−β)/(1+β).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
const WINDOW_FIRST: f64 = 10.0;

#[derive(Debug)]
pub(super) struct Cubic {
    window: f64,
    threshold: f64,
    w_max: f64,
    epoch: Option<Epoch>,
    /// Losses below this number belong to an event that was answered.
    recovery_end: u64,
    start: HyStart,
}

#[derive(Debug, Clone, Copy)]
struct Epoch {
    begin: f64,
    k: f64,
    w_est: f64,
}

/// The slow start's eye on the round trip.
#[derive(Debug)]
struct HyStart {
    round_end: u64,
    samples: u32,
    round_min: f64,
    last_min: f64,
    /// In conservative slow start: the round trip it began with, and its rounds.
    conservative: Option<(f64, u32)>,
}

impl HyStart {
    const SAMPLES: u32 = 8;
    const CSS_ROUNDS: u32 = 5;
    const CSS_DIVISOR: f64 = 4.0;

    fn new() -> Self {
        Self {
            round_end: 0,
            samples: 0,
            round_min: f64::INFINITY,
            last_min: f64::INFINITY,
            conservative: None,
        }
    }

    /// By how much the window grows for this segment; `None`: slow start is over.
    fn growth(&mut self, ack: &Ack) -> Option<f64> {
        if ack.number >= self.round_end {
            self.round_end = ack.next;
            (self.last_min, self.round_min) = (self.round_min, f64::INFINITY);
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.conservative {
                *rounds += 1;
            }
        }
        self.samples += 1;
        self.round_min = self.round_min.min(ack.rtt);
        if self.samples >= Self::SAMPLES && self.last_min.is_finite() {
            match self.conservative {
                Some((baseline, _)) if self.round_min < baseline => self.conservative = None,
                Some((_, rounds)) if rounds >= Self::CSS_ROUNDS => return None,
                Some(_) => (),
                None => {
                    let step = (self.last_min / 8.0).clamp(0.004, 0.016);
                    if self.round_min >= self.last_min + step {
                        self.conservative = Some((self.round_min, 0));
                    }
                }
            }
        }
        Some(match self.conservative {
            Some(_) => 1.0 / Self::CSS_DIVISOR,
            None => 1.0,
        })
    }
}

impl Cubic {
    pub(super) fn new() -> Self {
        Self {
            window: WINDOW_FIRST,
            threshold: f64::INFINITY,
            w_max: 0.0,
            epoch: None,
            recovery_end: 0,
            start: HyStart::new(),
        }
    }

    fn avoid(&mut self, ack: &Ack) {
        let (window, w_max) = (self.window, &mut self.w_max);
        let epoch = self.epoch.get_or_insert_with(|| {
            *w_max = w_max.max(window);
            Epoch {
                begin: ack.now,
                k: ((*w_max - window) / C).cbrt(),
                w_est: window,
            }
        });
        let alpha = if epoch.w_est >= *w_max { 1.0 } else { ALPHA };
        epoch.w_est += alpha / window;
        let t = ack.now - epoch.begin;
        let cubic = |t: f64| C * (t - epoch.k).powi(3) + *w_max;
        if cubic(t) < epoch.w_est {
            self.window = window.max(epoch.w_est);
        } else {
            let target = cubic(t + ack.srtt).clamp(window, 1.5 * window);
            self.window += (target - window) / window;
        }
    }
}

impl Control for Cubic {
    fn on_ack(&mut self, ack: &Ack) {
        if ack.number < self.recovery_end {
            return;
        }
        if self.window >= self.threshold {
            return self.avoid(ack);
        }
        match self.start.growth(ack) {
            Some(growth) => self.window += growth,
            None => self.threshold = self.window,
        }
    }

    fn on_loss(&mut self, number: u64, next: u64) {
        if number < self.recovery_end {
            return;
        }
        self.recovery_end = next;
        self.w_max = match self.window < self.w_max {
            true => self.window * (1.0 + BETA) / 2.0,
            false => self.window,
        };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn on_timeout(&mut self) {
        self.w_max = self.window;
        self.threshold = (self.window * BETA).max(2.0);
        self.window = 1.0;
        self.epoch = None;
    }

    fn window(&self) -> f64 {
        self.window
    }

    fn pace(&self) -> Option<f64> {
        None
    }
}
