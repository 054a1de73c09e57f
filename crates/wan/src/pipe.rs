//! One direction of a link, in virtual time: no clock, no device.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use crate::{Direction, Flow, FlowCounter, icmp, jitter::Jitter};

/// Second and third bit of the second byte of an IPv4 header.
const ECN_MASK: u8 = 0b11;

/// A packet on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    flow: Option<Flow>,
    came_at: Duration,
}

/// A packet behind the bottleneck, ordered by when it arrives.
#[derive(Debug, PartialEq, Eq)]
struct Flying {
    at: Duration,
    order: u64,
    packet: Packet,
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Where a flow is counted.
pub(crate) trait Ledger {
    /// The counter of `flow`, made when its first packet comes at `at`.
    fn counter(&mut self, flow: Flow, at: Duration) -> &mut FlowCounter;
}

impl Ledger for std::collections::BTreeMap<Flow, FlowCounter> {
    fn counter(&mut self, flow: Flow, at: Duration) -> &mut FlowCounter {
        self.entry(flow).or_insert_with(|| FlowCounter {
            first_at: at,
            ..FlowCounter::default()
        })
    }
}

/// One direction: what comes in, when it leaves the bottleneck, when it arrives.
#[derive(Debug)]
pub(crate) struct Pipe {
    settings: Direction,
    random: fastrand::Rng,
    queue: VecDeque<Packet>,
    queued_bytes: u64,
    /// When the packet at the head of the queue will have left; while it is empty, when the last
    /// one had.
    head_done: Duration,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    /// Packets that keep the order arrive no earlier than this.
    last_arrival: Duration,
    is_bad: bool,
    jitter: Jitter,
    /// For the sender.
    answers: Vec<Vec<u8>>,
    /// Tokens in bytes, and when they were counted.
    tokens: (f64, Duration),
}

impl Pipe {
    pub(crate) fn new(settings: Direction, seed: u64) -> Self {
        let bucket = settings.policer.map_or(0, |policer| policer.bucket_bytes);
        Self {
            settings,
            random: fastrand::Rng::with_seed(seed),
            queue: VecDeque::new(),
            queued_bytes: 0,
            head_done: Duration::ZERO,
            flying: BinaryHeap::new(),
            order: 0,
            last_arrival: Duration::ZERO,
            is_bad: false,
            jitter: Jitter::default(),
            answers: Vec::new(),
            tokens: (bucket as f64, Duration::ZERO),
        }
    }

    /// From now on; what is on its way goes on as it was.
    pub(crate) fn set(&mut self, settings: Direction, now: Duration, ledger: &mut impl Ledger) {
        self.advance(now, ledger);
        self.settings = settings;
        if self.settings.rate_bps.is_none() {
            self.head_done = now;
            self.advance(now, ledger);
        }
    }

    /// A packet comes in. Gives its buffer back when it is dropped.
    pub(crate) fn enter(
        &mut self,
        bytes: Vec<u8>,
        now: Duration,
        ledger: &mut impl Ledger,
    ) -> Option<Vec<u8>> {
        self.advance(now, ledger);
        let mut packet = Packet {
            flow: Flow::of(&bytes),
            bytes,
            came_at: now,
        };
        let length = packet.bytes.len() as u64;
        let oversized = length > self.settings.mtu;
        let lost = self.settings.is_down;
        let overflowed = !oversized && !lost && !self.has_room(length, now);
        let wait = self.wait(now);
        let marked = self.settings.mark_above.is_some_and(|above| wait > above)
            && !(oversized || lost || overflowed)
            && mark(&mut packet.bytes);
        if let Some(flow) = packet.flow {
            let counter = ledger.counter(flow, now);
            counter.last_at = now;
            counter.packets += 1;
            counter.bytes += length;
            counter.oversized_packets += u64::from(oversized);
            counter.lost_packets += u64::from(lost && !oversized);
            counter.overflowed_packets += u64::from(overflowed);
            counter.marked_packets += u64::from(marked);
            counter.bucket(now).overflowed_packets += u32::from(overflowed);
        }
        if oversized && !lost && self.settings.tells_mtu {
            self.answers
                .extend(icmp::too_big(&packet.bytes, self.settings.mtu));
        }
        if oversized || lost || overflowed {
            return Some(packet.bytes);
        }
        if self.queue.is_empty() {
            self.head_done = now.max(self.head_done) + self.airtime(length);
        }
        self.queued_bytes += length;
        self.queue.push_back(packet);
        self.advance(now, ledger);
        None
    }

    /// A packet that goes back to the sender.
    pub(crate) fn answer(&mut self) -> Option<Vec<u8>> {
        self.answers.pop()
    }

    /// The next packet that has arrived by `now`, and when it did.
    pub(crate) fn leave(&mut self, now: Duration) -> Option<(Duration, Vec<u8>)> {
        let Reverse(first) = self.flying.peek()?;
        if first.at > now {
            return None;
        }
        let Reverse(flying) = self.flying.pop()?;
        Some((flying.at, flying.packet.bytes))
    }

    /// When something happens next.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        let arrival = self.flying.peek().map(|Reverse(flying)| flying.at);
        let departure = (!self.queue.is_empty()).then_some(self.head_done);
        match (arrival, departure) {
            (Some(arrival), Some(departure)) => Some(arrival.min(departure)),
            (at, None) | (None, at) => at,
        }
    }

    /// Lets leave the bottleneck what has left it by `now`.
    pub(crate) fn advance(&mut self, now: Duration, ledger: &mut impl Ledger) {
        while self.head_done <= now {
            let Some(packet) = self.queue.pop_front() else {
                return;
            };
            self.queued_bytes -= packet.bytes.len() as u64;
            let departed = self.head_done;
            if let Some(next) = self.queue.front() {
                self.head_done += self.airtime(next.bytes.len() as u64);
            }
            self.depart(packet, departed, ledger);
        }
    }

    fn depart(&mut self, packet: Packet, departed: Duration, ledger: &mut impl Ledger) {
        let lost = self.loses();
        let length = packet.bytes.len() as u64;
        if let Some(flow) = packet.flow {
            let counter = ledger.counter(flow, departed);
            counter.lost_packets += u64::from(lost);
            let bucket = counter.bucket(departed);
            bucket.departed_packets += 1;
            bucket.lost_packets += u32::from(lost);
            let waited = departed.saturating_sub(packet.came_at);
            bucket.waited_us += waited.as_micros() as u64;
            if !lost {
                bucket.delivered_bytes += length;
                counter.delivered_bytes += length;
            }
        }
        if lost {
            return;
        }
        if self.happens(self.settings.duplicate) {
            let twin = Packet {
                bytes: packet.bytes.clone(),
                ..packet
            };
            self.fly(twin, departed);
        }
        self.fly(packet, departed);
    }

    fn fly(&mut self, packet: Packet, departed: Duration) {
        let jitter = self
            .jitter
            .at(departed, self.settings.jitter, &mut self.random);
        let mut at = (departed + self.settings.delay + jitter).max(self.last_arrival);
        let late = self.settings.reorder;
        match late {
            Some(reorder) if self.happens(reorder.share) => at += reorder.late_by,
            _ => self.last_arrival = at,
        }
        self.order += 1;
        self.flying.push(Reverse(Flying {
            at,
            order: self.order,
            packet,
        }));
    }

    fn loses(&mut self) -> bool {
        let mut lost = self.happens(self.settings.loss);
        if let Some(burst) = self.settings.burst {
            let turns = if self.is_bad {
                burst.turns_good
            } else {
                burst.turns_bad
            };
            self.is_bad ^= self.happens(turns);
            lost |= self.is_bad && self.happens(burst.loss_when_bad);
        }
        lost
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }

    /// Whether policer and queue take a packet of this length.
    fn has_room(&mut self, length: u64, now: Duration) -> bool {
        if let Some(policer) = self.settings.policer {
            let (before, at) = self.tokens;
            let gained = (now.saturating_sub(at)).as_secs_f64() * policer.rate_bps as f64 / 8.0;
            let tokens = (before + gained).min(policer.bucket_bytes as f64);
            let enough = tokens >= length as f64;
            let taken = if enough { length as f64 } else { 0.0 };
            self.tokens = (tokens - taken, now);
            if !enough {
                return false;
            }
        }
        // One packet always fits: a queue cannot be shorter than what is being sent.
        self.queue.is_empty() || self.queued_bytes + length <= self.settings.queue_bytes
    }

    /// How long a packet that comes now waits before it is sent.
    fn wait(&self, now: Duration) -> Duration {
        let Some(head) = self.queue.front() else {
            return Duration::ZERO;
        };
        let behind = self.queued_bytes - head.bytes.len() as u64;
        self.head_done.saturating_sub(now) + self.airtime(behind)
    }

    fn airtime(&self, bytes: u64) -> Duration {
        match self.settings.rate_bps {
            Some(rate) => {
                let nanos = u128::from(bytes) * 8_000_000_000 / u128::from(rate.max(1));
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            None => Duration::ZERO,
        }
    }
}

/// Marks an ECN-capable IP packet "congestion experienced" (RFC 3168); whether it was capable.
fn mark(packet: &mut [u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            if packet[1] & ECN_MASK == 0 {
                return false;
            }
            packet[1] |= ECN_MASK;
            let header = usize::from(packet[0] & 0xf) * 4;
            packet[10..12].fill(0);
            let mut sum = 0_u32;
            for word in packet[..header.min(packet.len())].chunks_exact(2) {
                sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
            }
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            true
        }
        Some(6) if packet.len() >= 40 => {
            // The traffic class spans the first two bytes; its last two bits are ECN.
            let capable = packet[1] & 0x30 != 0;
            if capable {
                packet[1] |= 0x30;
            }
            capable
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
