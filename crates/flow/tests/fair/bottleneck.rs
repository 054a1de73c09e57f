//! A packet-level model of one bottleneck: FIFO byte queue, policer, random loss, delay, noisy
//! hosts. Drives rate policies through their trait alone. Deterministic from its seed.

use std::collections::VecDeque;

use haul_flow::RatePolicy;

use crate::{
    cubic::Cubic,
    flow::{Arrival, Flow, FlowSpec},
    host::{Random, Stalls},
};

pub const SEGMENT: usize = 1440;
const BITS: f64 = SEGMENT as f64 * 8.0;
pub const NS: f64 = 1e9;

/// A change of the path at a time (seconds).
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Rate(f64),
    Loss(f64),
    /// Additional forward delay in seconds.
    Delay(f64),
    /// The ends notice that packets take another path.
    Moved,
}

#[derive(Clone, Debug)]
pub struct Path {
    pub rate: f64,
    pub rtt: f64,
    /// Bytes.
    pub buffer: f64,
    pub loss: f64,
    pub loss_before: bool,
    pub policer: Option<(f64, f64)>,
    /// Packets that waited longer are marked "congestion experienced", seconds.
    pub marks_above: f64,
    pub jitter: f64,
    /// Seconds between two draws of a delay that wanders; 0 = a draw for each packet.
    pub jitter_period: f64,
    pub report_loss: f64,
    pub drift_ppm: f64,
    pub changes: Vec<(f64, Change)>,
    pub receiver: Stalls,
    pub sender: Stalls,
    /// Bytes the receiving socket holds while the receiver is away.
    pub socket: f64,
    pub seed: u64,
    /// Share of the allowed rate that the pacer really reaches.
    pub pacer: f64,
    /// Whether packets leave in bursts of `burst_max`.
    pub bursts: bool,
}

impl Path {
    pub fn new(rate: f64, rtt: f64, buffer_bdp: f64, loss: f64, seed: u64) -> Self {
        Self {
            rate,
            rtt,
            buffer: (buffer_bdp * rate / 8.0 * rtt).max(2.0 * SEGMENT as f64),
            loss,
            loss_before: false,
            policer: None,
            marks_above: f64::MAX,
            jitter: 0.0,
            jitter_period: 0.0,
            report_loss: 0.0,
            drift_ppm: 0.0,
            changes: Vec::new(),
            receiver: Stalls::default(),
            sender: Stalls::default(),
            socket: 8e6,
            seed,
            pacer: 1.0,
            bursts: false,
        }
    }
}

struct Packet {
    flow: usize,
    number: u64,
    sent: u64,
    queued: u64,
}

pub struct World {
    path: Path,
    random: Random,
    now: u64,
    rate: f64,
    loss: f64,
    extra_delay: f64,
    queue: VecDeque<Packet>,
    queued_bytes: f64,
    /// When the packet at the head will have left.
    head_done: u64,
    tokens: (u64, f64),
    changes: VecDeque<(u64, Change)>,
    pub flows: Vec<Flow>,
    pub cubics: Vec<Cubic>,
    /// (period, from, to) of a wandering delay.
    wander: (u64, f64, f64),
    sample_at: u64,
    thin: u64,
}

/// Seconds between two entries of a flow's series.
pub const STEP: f64 = 0.010;

pub fn ns(seconds: f64) -> u64 {
    (seconds * NS) as u64
}

impl World {
    pub fn new(path: Path, specs: Vec<FlowSpec>) -> Self {
        let flows = specs
            .into_iter()
            .enumerate()
            .map(|(index, spec)| Flow::new(&path, spec, index as u64))
            .collect();
        Self {
            random: Random::new(path.seed),
            now: 0,
            rate: path.rate,
            loss: path.loss,
            extra_delay: 0.0,
            queue: VecDeque::new(),
            queued_bytes: 0.0,
            head_done: u64::MAX,
            tokens: (0, path.policer.map_or(0.0, |policer| policer.1)),
            changes: path
                .changes
                .iter()
                .map(|(at, change)| (ns(*at), *change))
                .collect(),
            flows,
            cubics: Vec::new(),
            wander: (0, 0.0, 0.0),
            sample_at: ns(STEP),
            thin: 0,
            path,
        }
    }

    pub fn single(path: Path) -> Self {
        Self::new(path, vec![FlowSpec::default()])
    }

    /// With a CUBIC flow that begins at this second.
    pub fn and_cubic(mut self, start: f64) -> Self {
        self.cubics.push(Cubic::new(start, self.path.rtt));
        self
    }

    pub fn run(mut self, seconds: f64) -> Self {
        let end = ns(seconds);
        loop {
            let next = self.next_event();
            if next > end {
                break;
            }
            self.now = next;
            self.advance_link();
            self.step();
        }
        self
    }

    fn next_event(&self) -> u64 {
        let mut next = self.sample_at;
        if let Some((at, _)) = self.changes.front() {
            next = next.min(*at);
        }
        for flow in &self.flows {
            next = next
                .min(flow.send_at)
                .min(flow.report_at)
                .min(flow.silence_at);
            if let Some((at, _)) = flow.reports.front() {
                next = next.min(*at);
            }
        }
        for cubic in &self.cubics {
            next = next.min(cubic.timeout_at);
            if let Some((at, ..)) = cubic.acks.front() {
                next = next.min(*at);
            }
        }
        next.max(self.now)
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some((at, change)) = self.changes.front().copied() {
            if at > now {
                break;
            }
            self.changes.pop_front();
            match change {
                Change::Rate(rate) => self.rate = rate,
                Change::Loss(loss) => self.loss = loss,
                Change::Delay(delay) => self.extra_delay = delay,
                Change::Moved => self.flows.iter_mut().for_each(|flow| flow.moved(now)),
            }
        }
        for index in 0..self.flows.len() {
            self.flows[index].feedback(now);
            if self.flows[index].send_at <= now {
                self.send(index);
            }
            if self.flows[index].report_at <= now {
                let lose =
                    self.path.report_loss > 0.0 && self.random.unit() < self.path.report_loss;
                self.flows[index].report(now, lose, &self.path);
            }
        }
        for index in 0..self.cubics.len() {
            self.serve_cubic(index);
        }
        if self.sample_at <= now {
            self.sample_at += ns(STEP);
            for cubic in &mut self.cubics {
                cubic.series.push(cubic.delivered);
            }
            for flow in &mut self.flows {
                flow.receive_until(now, &self.path);
                flow.series.push(flow.receiver.received);
                flow.sent_series.push(flow.next_packet);
                flow.rates.push(flow.policy.rate_bps());
            }
        }
    }

    fn send(&mut self, index: usize) {
        let now = self.now;
        let flow = &mut self.flows[index];
        if now >= ns(flow.spec.stop.min(1e9)) {
            flow.send_at = u64::MAX;
            return;
        }
        let awake = flow.sender.awake(now);
        if awake > now {
            // The caller comes late: not the rate's doing.
            flow.limited = true;
            flow.send_at = awake;
            return;
        }
        let rate = flow.policy.rate_bps();
        let gap = BITS / (rate * self.path.pacer);
        if let Some(&(_, source)) = flow.spec.source.iter().rev().find(|(at, _)| ns(*at) <= now) {
            // The source has made what it could by now; it does not run ahead more than 1 ms.
            let at = now as f64 / NS;
            flow.source_at = flow.source_at.max(at - 0.001);
            if flow.source_at > at {
                flow.limited = true;
                flow.send_at = ns(flow.source_at).max(now + 1);
                return;
            }
            flow.source_at += BITS / source;
        }
        let in_flight = (flow.next_packet - flow.acked) as f64 * SEGMENT as f64;
        if in_flight + SEGMENT as f64 > flow.spec.credit {
            flow.limited = true;
            flow.send_at = u64::MAX;
            return;
        }
        let mut count = 1;
        if self.path.bursts {
            count = ((flow.policy.burst_max().as_secs_f64() / gap) as u64).clamp(1, 44);
        }
        flow.send_at = now + ns(gap * count as f64).max(1);
        let first = flow.next_packet;
        flow.next_packet += count;
        if flow.silence_at == u64::MAX {
            flow.arm_silence(now);
        }
        for number in first..first + count {
            self.enter_link(index, number);
        }
    }

    fn serve_cubic(&mut self, index: usize) {
        let now = self.now;
        let cubic = &mut self.cubics[index];
        while let Some((at, number, sent)) = cubic.acks.front().copied() {
            if at > now {
                break;
            }
            cubic.acks.pop_front();
            cubic.on_ack(now, number, sent);
        }
        if cubic.timeout_at <= now {
            cubic.on_timeout(now);
        }
        while self.cubics[index].may_send(now) {
            let cubic = &mut self.cubics[index];
            let number = cubic.next_packet;
            cubic.next_packet += 1;
            cubic.in_flight += 1.0;
            self.enter_link(self.flows.len() + index, number);
        }
    }

    fn enter_link(&mut self, flow: usize, number: u64) {
        if let Some((rate, depth)) = self.path.policer {
            let elapsed = (self.now - self.tokens.0) as f64 / NS;
            self.tokens = (self.now, (self.tokens.1 + elapsed * rate / 8.0).min(depth));
            if self.tokens.1 < SEGMENT as f64 {
                return;
            }
            self.tokens.1 -= SEGMENT as f64;
        }
        if self.path.loss_before && self.random.unit() < self.loss {
            return;
        }
        if self.queued_bytes + SEGMENT as f64 > self.path.buffer {
            return;
        }
        self.queued_bytes += SEGMENT as f64;
        if self.queue.is_empty() {
            self.head_done = self.now + ns(BITS / self.rate);
        }
        self.queue.push_back(Packet {
            flow,
            number,
            sent: self.now,
            queued: self.now,
        });
    }

    /// Share of the most jitter that a packet gets.
    fn jitter_at(&mut self, at: u64) -> f64 {
        let length = ns(self.path.jitter_period);
        if length == 0 {
            return self.random.unit() * self.random.unit();
        }
        while self.wander.0 < at / length {
            self.wander = (self.wander.0 + 1, self.wander.2, self.random.unit());
        }
        let into = (at % length) as f64 / length as f64;
        self.wander.1 + (self.wander.2 - self.wander.1) * into
    }

    fn advance_link(&mut self) {
        while self.head_done <= self.now {
            let Some(packet) = self.queue.pop_front() else {
                break;
            };
            let done = self.head_done;
            self.queued_bytes -= SEGMENT as f64;
            self.head_done = if self.queue.is_empty() {
                u64::MAX
            } else {
                done + ns(BITS / self.rate)
            };
            self.thin += 1;
            if let Some(index) = packet.flow.checked_sub(self.flows.len()) {
                if self.loss <= 0.0 || self.random.unit() >= self.loss {
                    let cubic = &mut self.cubics[index];
                    let at = done + ns(cubic.rtt + self.extra_delay);
                    cubic.acks.push_back((at, packet.number, packet.sent));
                }
                continue;
            }
            let wait = (done - packet.queued) as f64 / NS;
            let index = packet.flow;
            let flow = &mut self.flows[index];
            if self.thin.is_multiple_of(8) {
                flow.waits.push((done as f64 / NS, wait as f32));
            }
            if !self.path.loss_before && self.loss > 0.0 && self.random.unit() < self.loss {
                continue;
            }
            let mut at = done + ns(self.flows[index].rtt / 2.0 + self.extra_delay);
            if self.path.jitter > 0.0 {
                at += ns(self.jitter_at(done) * self.path.jitter);
            }
            let receiver = &mut self.flows[index].receiver;
            at = at.max(receiver.last_arrival + 1);
            receiver.last_arrival = at;
            receiver.line.push_back(Arrival {
                at,
                number: packet.number,
                sent: packet.sent,
                is_marked: wait > self.path.marks_above,
            });
        }
    }

    /// Bits per second that flow `index` received from second `from` to `to`.
    pub fn goodput(&self, index: usize, from: f64, to: f64) -> f64 {
        rate_between(&self.flows[index].series, from, to)
    }

    /// The same for a CUBIC flow.
    pub fn cubic_goodput(&self, index: usize, from: f64, to: f64) -> f64 {
        rate_between(&self.cubics[index].series, from, to)
    }

    /// The same for what was sent.
    pub fn sent(&self, index: usize, from: f64, to: f64) -> f64 {
        rate_between(&self.flows[index].sent_series, from, to)
    }

    /// Quantile of the time that packets waited in the queue, seconds.
    pub fn wait(&self, from: f64, to: f64, quantile: f64) -> f64 {
        let mut waits: Vec<f32> = self
            .flows
            .iter()
            .flat_map(|flow| flow.waits.iter())
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, wait)| *wait)
            .collect();
        waits.sort_by(f32::total_cmp);
        let index = (waits.len() as f64 * quantile) as usize;
        waits.get(index).copied().map_or(0.0, f64::from)
    }
}

fn rate_between(series: &[u64], from: f64, to: f64) -> f64 {
    let at = |seconds: f64| {
        let index = ((seconds / STEP) as usize).clamp(1, series.len());
        series[index - 1]
    };
    (at(to) - at(from)) as f64 * BITS / (to - from)
}
