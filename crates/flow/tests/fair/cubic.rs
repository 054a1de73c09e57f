//! A loss-based competitor: CUBIC (RFC 9438) with fast convergence, HyStart's delay exit (RFC 9406)
//! and selective acknowledgements, one cut a loss event, unpaced. What it gets wrong on the safe
//! side: no delayed acknowledgements, loss known with the next packet that arrives.

use std::collections::VecDeque;

use crate::bottleneck::{NS, ns};

const C: f64 = 0.4;
const BETA: f64 = 0.7;

pub struct Cubic {
    pub start: f64,
    pub stop: f64,
    pub rtt: f64,
    /// (when, number, sent), as they reach the sender.
    pub acks: VecDeque<(u64, u64, u64)>,
    pub next_packet: u64,
    pub in_flight: f64,
    next_expected: u64,
    pub window: Window,
    pub timeout_at: u64,
    pub delivered: u64,
    /// Delivered packets at the end of each 10 ms.
    pub series: Vec<u64>,
}

pub struct Window {
    pub packets: f64,
    threshold: f64,
    w_max: f64,
    epoch: Option<u64>,
    k: f64,
    reno: f64,
    recovery: u64,
    srtt: f64,
    base: f64,
    round_end: u64,
    round_min: f64,
    round_acks: u32,
}

impl Cubic {
    pub fn new(start: f64, rtt: f64) -> Self {
        Self {
            start,
            stop: f64::MAX,
            rtt,
            acks: VecDeque::new(),
            next_packet: 0,
            in_flight: 0.0,
            next_expected: 0,
            window: Window {
                packets: 10.0,
                threshold: f64::MAX,
                w_max: 0.0,
                epoch: None,
                k: 0.0,
                reno: 0.0,
                recovery: 0,
                srtt: rtt,
                base: f64::MAX,
                round_end: 0,
                round_min: f64::MAX,
                round_acks: 0,
            },
            timeout_at: ns(start),
            delivered: 0,
            series: Vec::new(),
        }
    }

    pub fn may_send(&self, now: u64) -> bool {
        let at = now as f64 / NS;
        (self.start..self.stop).contains(&at) && self.in_flight + 1.0 <= self.window.packets
    }

    /// A packet that arrived is acknowledged; those before it that are still missing are lost.
    pub fn on_ack(&mut self, now: u64, number: u64, sent: u64) {
        let rtt = (now - sent) as f64 / NS;
        let lost = number.saturating_sub(self.next_expected);
        self.in_flight = (self.in_flight - 1.0 - lost as f64).max(0.0);
        self.next_expected = number + 1;
        self.delivered += 1;
        self.timeout_at = now + ns((4.0 * self.window.srtt).max(1.0));
        if lost > 0 {
            self.window.on_loss(number, self.next_packet);
        }
        self.window.on_ack(now, rtt, number, self.next_packet);
    }

    pub fn on_timeout(&mut self, now: u64) {
        if self.in_flight > 0.0 {
            self.window.threshold = (self.window.packets / 2.0).max(10.0);
            self.window.packets = 10.0;
            self.window.epoch = None;
            self.in_flight = 0.0;
            self.next_expected = self.next_packet;
        }
        self.timeout_at = now + ns(1.0);
    }
}

impl Window {
    fn on_ack(&mut self, now: u64, rtt: f64, number: u64, next: u64) {
        self.srtt += 0.125 * (rtt - self.srtt);
        self.base = self.base.min(rtt);
        if self.packets < self.threshold {
            self.slow_start(rtt, number, next);
            return;
        }
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.reno = self.packets;
            if self.packets < self.w_max {
                self.k = ((self.w_max - self.packets) / C).cbrt();
            } else {
                self.k = 0.0;
                self.w_max = self.packets;
            }
            now
        });
        let t = (now - epoch) as f64 / NS + self.srtt;
        let target = (self.w_max + C * (t - self.k).powi(3)).min(1.5 * self.packets);
        self.reno += 0.53 / self.packets;
        if self.reno > target {
            self.packets = self.packets.max(self.reno);
        } else if target > self.packets {
            self.packets += (target - self.packets) / self.packets;
        }
    }

    fn slow_start(&mut self, rtt: f64, number: u64, next: u64) {
        self.packets += 1.0;
        if number >= self.round_end {
            self.round_end = next;
            self.round_min = f64::MAX;
            self.round_acks = 0;
        }
        self.round_acks += 1;
        if self.round_acks <= 8 {
            self.round_min = self.round_min.min(rtt);
        }
        let late = self.base + (self.base / 8.0).clamp(0.004, 0.016);
        if self.round_acks == 8 && self.round_min > late && self.packets > 16.0 {
            self.threshold = self.packets;
        }
    }

    fn on_loss(&mut self, number: u64, next: u64) {
        if number < self.recovery {
            return;
        }
        self.recovery = next;
        self.w_max = if self.packets < self.w_max {
            self.packets * (1.0 + BETA) / 2.0
        } else {
            self.packets
        };
        self.packets = (self.packets * BETA).max(2.0);
        self.threshold = self.packets;
        self.epoch = None;
    }
}
