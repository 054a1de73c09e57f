//! One flow of the model: a sender with its policy, a receiver that reports.

use std::{collections::VecDeque, time::Duration};

use haul_flow::{
    Decision, FlowError, RateConfig, RatePolicy, Remembered, Sample, Time, Why, rate::Fair,
};
use haul_wire::PacketNo;

use crate::{
    bottleneck::{NS, Path, SEGMENT, ns},
    host::Host,
};

/// What limits a flow besides its policy.
#[derive(Clone, Debug)]
pub struct FlowSpec {
    pub start: f64,
    pub stop: f64,
    /// Source rate over time: (from second, bits per second); empty = no limit.
    pub source: Vec<(f64, f64)>,
    /// Bytes in flight at most.
    pub credit: f64,
    pub target: Option<f64>,
    pub rtt: Option<f64>,
    pub make: fn(RateConfig) -> Fair,
    pub remembered: Option<Remembered>,
}

impl Default for FlowSpec {
    fn default() -> Self {
        Self {
            start: 0.0,
            stop: f64::MAX,
            source: Vec::new(),
            credit: f64::MAX,
            target: None,
            rtt: None,
            make: Fair::new,
            remembered: None,
        }
    }
}

pub struct Report {
    received: u64,
    marked: u64,
    largest: u64,
    largest_sent: u64,
    newest_at: u64,
    hold: u64,
    min_owd: i64,
}

/// A packet that has reached the host.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub at: u64,
    pub number: u64,
    pub sent: u64,
    pub is_marked: bool,
}

pub struct Receiver {
    pub host: Host,
    /// Oldest first; numbers ascend.
    pub line: VecDeque<Arrival>,
    pub last_arrival: u64,
    pub received: u64,
    pub marked: u64,
    pub largest: Option<(u64, u64)>,
    pub newest_at: u64,
    pub min_owd: i64,
    pub fresh: bool,
    pub backlog: (u64, f64),
}

pub struct Flow {
    pub spec: FlowSpec,
    pub rtt: f64,
    pub policy: Fair,
    pub next_packet: u64,
    pub sender: Host,
    pub send_at: u64,
    pub source_at: f64,
    pub limited: bool,
    pub receiver: Receiver,
    pub report_at: u64,
    pub reports: VecDeque<(u64, Report)>,
    pub last_feedback: u64,
    pub silence_at: u64,
    /// Whether `srtt` has been measured.
    pub is_measured: bool,
    pub srtt: f64,
    pub min_rtt: f64,
    pub acked: u64,
    /// Received packets at the end of each 10 ms.
    pub series: Vec<u64>,
    pub sent_series: Vec<u64>,
    pub rates: Vec<f64>,
    pub trace: Vec<Decision>,
    /// Queue waits of packets (seconds), with departure time, thinned.
    pub waits: Vec<(f64, f32)>,
}

impl Flow {
    pub fn new(path: &Path, spec: FlowSpec, index: u64) -> Self {
        let rtt = spec.rtt.unwrap_or(path.rtt);
        let start = ns(spec.start);
        let config = RateConfig {
            now: Time(start),
            target_bps: spec.target,
            min_bps: 0.0,
            initial_rtt: Duration::from_secs_f64(rtt),
            remembered: spec.remembered,
            segment_len: SEGMENT,
            seed: path.seed * 77 + index,
        };
        Self {
            rtt,
            policy: (spec.make)(config),
            next_packet: 0,
            sender: Host::new(path.sender, path.seed * 31 + index * 2),
            send_at: start,
            source_at: spec.start,
            limited: false,
            receiver: Receiver {
                host: Host::new(path.receiver, path.seed * 31 + index * 2 + 1),
                line: VecDeque::new(),
                last_arrival: 0,
                received: 0,
                marked: 0,
                largest: None,
                newest_at: 0,
                min_owd: i64::MAX,
                fresh: false,
                backlog: (0, 0.0),
            },
            report_at: start,
            reports: VecDeque::new(),
            last_feedback: start,
            silence_at: u64::MAX,
            is_measured: false,
            srtt: rtt,
            min_rtt: f64::MAX,
            acked: 0,
            series: Vec::new(),
            sent_series: Vec::new(),
            rates: Vec::new(),
            trace: Vec::new(),
            waits: Vec::new(),
            spec,
        }
    }

    pub fn interval(&self) -> f64 {
        (self.srtt / 8.0).clamp(0.002, 0.020)
    }

    pub fn arm_silence(&mut self, now: u64) {
        self.silence_at = now + ns(2.0 * self.srtt + 4.0 * self.interval());
    }

    pub fn receive_until(&mut self, now: u64, path: &Path) {
        let receiver = &mut self.receiver;
        while let Some(&arrival) = receiver.line.front() {
            let Arrival { at, sent, .. } = arrival;
            if at > now {
                break;
            }
            let read = receiver.host.awake(at);
            if read > at {
                // Waits in the socket until the receiver comes back, if there is room.
                if receiver.backlog.0 != read {
                    receiver.backlog = (read, 0.0);
                }
                if receiver.backlog.1 + SEGMENT as f64 > path.socket {
                    receiver.line.pop_front();
                    continue;
                }
                if read > now {
                    break;
                }
                receiver.backlog.1 += SEGMENT as f64;
            }
            receiver.line.pop_front();
            receiver.received += 1;
            receiver.marked += u64::from(arrival.is_marked);
            receiver.largest = Some((arrival.number, sent));
            receiver.newest_at = receiver.newest_at.max(read);
            let drift = (read as f64 * path.drift_ppm * 1e-6) as i64;
            let owd = read as i64 - sent as i64 + drift + 1_000_000_000;
            receiver.min_owd = receiver.min_owd.min(owd);
            receiver.fresh = true;
        }
    }

    pub fn report(&mut self, now: u64, lose: bool, path: &Path) {
        let awake = self.receiver.host.awake(now);
        if awake > now {
            self.report_at = awake;
            return;
        }
        self.receive_until(now, path);
        self.report_at = now + ns(self.interval());
        let receiver = &mut self.receiver;
        let Some((largest, largest_sent)) = receiver.largest.filter(|_| receiver.fresh) else {
            return;
        };
        receiver.fresh = false;
        let report = Report {
            received: receiver.received,
            marked: receiver.marked,
            largest,
            largest_sent,
            newest_at: receiver.newest_at,
            hold: now - receiver.newest_at,
            min_owd: receiver.min_owd,
        };
        receiver.min_owd = i64::MAX;
        if !lose {
            self.reports.push_back((now + ns(self.rtt / 2.0), report));
        }
    }

    pub fn feedback(&mut self, now: u64) {
        while self.reports.front().is_some_and(|(at, _)| *at <= now) {
            let awake = self.sender.awake(now);
            if awake > now {
                if let Some(front) = self.reports.front_mut() {
                    front.0 = awake;
                }
                return;
            }
            let Some((_, report)) = self.reports.pop_front() else {
                return;
            };
            self.on_report(now, &report);
        }
        if self.silence_at <= now {
            self.policy.on_silence(Time(now));
            self.silence_at = now + ns(self.srtt.max(0.000_05));
            self.drain_trace();
        }
    }

    fn on_report(&mut self, now: u64, report: &Report) {
        let rtt = (now - report.largest_sent - report.hold) as f64 / NS;
        let weight = if self.is_measured { 0.125 } else { 1.0 };
        self.is_measured = true;
        self.srtt += weight * (rtt - self.srtt);
        self.min_rtt = self.min_rtt.min(rtt);
        self.acked = report.largest + 1;
        self.last_feedback = now;
        let sample = Sample {
            now: Time(now),
            srtt: Duration::from_secs_f64(self.srtt),
            min_rtt: Duration::from_secs_f64(self.min_rtt),
            latest_rtt: Some(Duration::from_secs_f64(rtt)),
            interval: Duration::from_secs_f64(self.interval()),
            newest_at: Time(report.newest_at / 1000 * 1000 + 5_000_000_000),
            received_packets: report.received,
            received_bytes: report.received * SEGMENT as u64,
            largest: PacketNo(report.largest),
            largest_sent_at: Time(report.largest_sent),
            min_owd_ns: Some(report.min_owd),
            next_packet: PacketNo(self.next_packet),
            segment_len: SEGMENT,
            app_limited: self.limited,
            ecn_ce: report.marked,
        };
        self.limited = false;
        self.policy.on_sample(&sample);
        self.arm_silence(now);
        if self.send_at == u64::MAX && now < ns(self.spec.stop.min(1e9)) {
            self.limited = true;
            self.send_at = now;
        }
        self.drain_trace();
    }

    /// The ends take another path, of which no round-trip time is known.
    pub fn moved(&mut self, now: u64) {
        self.policy.on_path_change(Time(now));
        self.is_measured = false;
        self.min_rtt = f64::MAX;
        self.drain_trace();
    }

    fn drain_trace(&mut self) {
        while let Some(decision) = self.policy.poll_trace() {
            self.trace.push(decision);
        }
    }

    /// The floor as it is now.
    pub fn loss_floor(&self) -> f64 {
        self.policy.loss_floor()
    }

    pub fn failure(&self) -> Option<FlowError> {
        self.policy.failure()
    }

    /// Whether the policy ever gave this reason.
    pub fn decided(&self, why: Why) -> bool {
        self.trace.iter().any(|decision| decision.why == why)
    }
}
