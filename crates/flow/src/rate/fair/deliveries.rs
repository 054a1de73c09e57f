use std::collections::VecDeque;

use haul_wire::PacketNo;

use crate::{Sample, Time};

use super::seconds;

/// More records than any window needs; a bound on memory, not a part of the law.
const RECORDS_MAX: usize = 4096;
/// A window in which less than this of the allowed rate was used, although nothing is said to have
/// limited sending, shows a pacer that falls short.
const USED_MIN: f64 = 0.9;
/// A window in which sending was limited and less than this was used does not speak of the path.
const USED_MIN_WHEN_STARVED: f64 = 0.97;

/// The state of the transfer as one report saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    at: Time,
    newest_at: Time,
    received: u64,
    largest: u64,
    sent_at: Time,
    /// Bits that the pacer would have let out until `sent_at`.
    allowed: f64,
    /// Seconds until `sent_at` in which something other than the rate limited sending.
    limited: f64,
}

/// What happened between two records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// The packet it begins with.
    pub(super) first: PacketNo,
    /// Bits per second that arrived, by the receiver's clock. Free of whatever happens to reports.
    pub(super) delivered: f64,
    /// Bits per second at which the same packets were sent, by the sender's clock.
    pub(super) sent: f64,
    /// When half of that time had passed.
    pub(super) middle: Time,
    /// Share of them that did not arrive, 0 to 1.
    pub(super) loss: f64,
    /// How many were sent.
    pub(super) packets: f64,
    /// What was sent as a share of what the pacer would have let out; about 1 unless limited.
    pub(super) used: f64,
    /// Whether something other than the rate limited sending: then this says how much the source
    /// had, not how much the path can carry.
    pub(super) limited: bool,
}

impl Measure {
    /// Capacity that this measure shows, were it saturated. Loss that is no more than `floor` and
    /// its noise cancels exactly when taken from the same packets; dividing by a floor that is
    /// slightly low would shrink the rate geometrically.
    pub(super) fn bandwidth(&self, floor: f64) -> f64 {
        if self.loss <= floor + (3.0 * self.deviation(floor)).max(0.01) {
            self.delivered / (1.0 - self.loss).max(0.01)
        } else {
            self.delivered / (1.0 - floor)
        }
    }

    /// This and another measure, taken together.
    pub(super) fn and(&self, other: &Self) -> Self {
        let packets = (self.packets + other.packets).max(1.0);
        let mean =
            |mine: f64, theirs: f64| (mine * self.packets + theirs * other.packets) / packets;
        Self {
            first: self.first.min(other.first),
            delivered: mean(self.delivered, other.delivered),
            sent: mean(self.sent, other.sent),
            middle: self.middle.max(other.middle),
            loss: mean(self.loss, other.loss),
            packets,
            used: mean(self.used, other.used),
            limited: self.limited || other.limited,
        }
    }

    /// Variance of `loss` as seen.
    pub(super) fn variance(&self) -> f64 {
        self.loss * (1.0 - self.loss) / self.packets.max(1.0)
    }

    /// Standard deviation of `loss` if each packet is lost with probability `floor`.
    pub(super) fn deviation(&self, floor: f64) -> f64 {
        (floor.max(1e-4) * (1.0 - floor) / self.packets.max(1.0)).sqrt()
    }
}

/// What the pacer was allowed over time, to tell a slow source from a slow path.
#[derive(Debug)]
struct Allowance {
    /// (since, bits allowed before, limited seconds before, rate), oldest first.
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    since: Time,
    allowed: f64,
    limited: f64,
    rate: f64,
}

impl Allowance {
    fn set(&mut self, now: Time, rate: f64, was_limited: bool) {
        let Some(last) = self.steps.back().copied() else {
            return;
        };
        let lasted = seconds(now, last.since);
        self.steps.push_back(Step {
            since: now,
            allowed: last.allowed + last.rate * lasted,
            limited: last.limited + if was_limited { lasted } else { 0.0 },
            rate,
        });
        if self.steps.len() > RECORDS_MAX {
            self.steps.pop_front();
        }
    }

    /// Bits allowed and seconds limited until `at`.
    fn until(&self, at: Time) -> (f64, f64) {
        let after = self.steps.partition_point(|step| step.since <= at);
        let Some(step) = self.steps.get(after.saturating_sub(1)) else {
            return (0.0, 0.0);
        };
        let into = seconds(at, step.since);
        let limited = match self.steps.get(after) {
            Some(next) => {
                let whole = seconds(next.since, step.since).max(1e-9);
                (next.limited - step.limited) * (into / whole).min(1.0)
            }
            None => 0.0,
        };
        (step.allowed + step.rate * into, step.limited + limited)
    }
}

/// The last reports, and measures over any stretch of them.
#[derive(Debug)]
pub(super) struct Deliveries {
    records: VecDeque<Record>,
    allowance: Allowance,
    segment_bits: f64,
}

impl Deliveries {
    pub(super) fn new(now: Time, rate: f64, segment_len: usize) -> Self {
        let first = Step {
            since: now,
            allowed: 0.0,
            limited: 0.0,
            rate,
        };
        Self {
            records: VecDeque::new(),
            allowance: Allowance {
                steps: VecDeque::from([first]),
            },
            segment_bits: segment_len as f64 * 8.0,
        }
    }

    /// Takes in a report; forgets what is older than `memory` seconds. `None` when it says nothing
    /// that was not known, or contradicts what was.
    pub(super) fn on_sample(&mut self, sample: &Sample, memory: f64) -> Option<Record> {
        self.segment_bits = sample.segment_len.max(1) as f64 * 8.0;
        let (allowed, limited) = self.allowance.until(sample.largest_sent_at);
        let record = Record {
            at: sample.now,
            newest_at: sample.newest_at,
            received: sample.received_packets,
            largest: sample.largest.0,
            sent_at: sample.largest_sent_at,
            allowed,
            limited,
        };
        if let Some(last) = self.records.back()
            && (record.at < last.at
                || record.newest_at <= last.newest_at
                || record.received < last.received
                || record.largest < last.largest
                || record.sent_at < last.sent_at)
        {
            return None;
        }
        self.records.push_back(record);
        while self.records.len() > 4
            && (self.records.len() > RECORDS_MAX
                || self
                    .records
                    .front()
                    .is_some_and(|first| seconds(sample.now, first.at) > memory))
        {
            self.records.pop_front();
        }
        if let Some(oldest) = self.records.front() {
            let steps = &mut self.allowance.steps;
            while steps.len() > 1
                && steps
                    .get(1)
                    .is_some_and(|step| step.since <= oldest.sent_at)
            {
                steps.pop_front();
            }
        }
        Some(record)
    }

    /// From `now` on the pacer follows `rate`; `was_limited` speaks of the time before.
    pub(super) fn set_rate(&mut self, now: Time, rate: f64, was_limited: bool) {
        self.allowance.set(now, rate, was_limited);
    }

    /// Forgets all records: what comes now cannot be measured against what was.
    pub(super) fn restart(&mut self) {
        self.records.clear();
    }

    /// The last `window` seconds of the receiver's clock, or a little more.
    pub(super) fn last(&self, window: f64) -> Option<Measure> {
        let last = self.records.back()?;
        let mut earlier = self.records.iter().rev();
        let first = earlier.find(|record| seconds(last.newest_at, record.newest_at) >= window)?;
        self.between(first, last)
    }

    /// The packets numbered from `first` to `last`, as closely as reports allow.
    pub(super) fn packets(&self, first: PacketNo, last: PacketNo) -> Option<Measure> {
        let start = self
            .records
            .iter()
            .find(|record| record.largest >= first.0)?;
        let end = self
            .records
            .iter()
            .rev()
            .find(|record| record.largest <= last.0)?;
        self.between(start, end)
    }

    /// From one record to a later one.
    pub(super) fn between(&self, first: &Record, last: &Record) -> Option<Measure> {
        let arriving = seconds(last.newest_at, first.newest_at);
        let sending = seconds(last.sent_at, first.sent_at);
        let packets = last
            .largest
            .checked_sub(first.largest)
            .filter(|count| *count > 0)? as f64;
        if arriving <= 0.0 || sending <= 0.0 {
            return None;
        }
        let received = last.received.saturating_sub(first.received) as f64;
        let used = packets * self.segment_bits / (last.allowed - first.allowed).max(1.0);
        let starved = last.limited - first.limited > 0.02 * sending;
        let limited = starved && used < USED_MIN_WHEN_STARVED;
        // A pacer that always falls short of its rate would find every rate too high: its measures
        // are taken in terms of what it was allowed.
        let short = !limited && used < USED_MIN;
        let scale = if short { 1.0 / used.max(0.3) } else { 1.0 };
        Some(Measure {
            first: first.largest(),
            delivered: received * self.segment_bits / arriving * scale,
            sent: packets * self.segment_bits / sending * scale,
            middle: first.sent_at + (last.sent_at - first.sent_at) / 2,
            loss: (1.0 - received / packets).clamp(0.0, 1.0),
            packets,
            used,
            limited,
        })
    }
}

impl Record {
    /// Largest packet number that had arrived.
    pub(super) fn largest(&self) -> PacketNo {
        PacketNo(self.largest)
    }

    /// Seconds of the receiver's clock since an earlier record.
    pub(super) fn seconds_since(&self, earlier: &Self) -> f64 {
        seconds(self.newest_at, earlier.newest_at)
    }
}
