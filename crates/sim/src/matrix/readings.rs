//! What a simulation showed, and the figures made of it.

use std::time::Duration;

use haul_flow::Time;

/// Width of one bin of a flow's arrivals.
pub(super) const BIN: Duration = Duration::from_millis(20);

/// One flow.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Data packets sent.
    pub(super) sent: u64,
    /// Bytes of IP that arrived in each [`BIN`].
    pub(super) bytes: Vec<u64>,
    /// Data packets that arrived in each bin.
    pub(super) packets: Vec<u32>,
    /// Packets the full queue dropped in each bin.
    pub(super) drops: Vec<u32>,
    /// When all had arrived, from the flow's beginning.
    pub(super) finished_s: Option<f64>,
    /// Packets that arrived for nothing.
    pub(super) duplicates: u64,
    /// The sender's loss floor at the end and at most.
    pub(super) loss_floor: f64,
    pub(super) loss_floor_max: f64,
    /// Whether the sender gave up.
    pub(super) failed: bool,
}

fn bin(at: Time) -> usize {
    (at.0 / BIN.as_nanos() as u64) as usize
}

fn add<T: Default + Clone + std::ops::AddAssign>(bins: &mut Vec<T>, at: Time, amount: T) {
    let bin = bin(at);
    if bins.len() <= bin {
        bins.resize(bin + 1, T::default());
    }
    bins[bin] += amount;
}

impl Series {
    pub(super) fn arrived(&mut self, at: Time, bytes: u64) {
        add(&mut self.bytes, at, bytes);
        add(&mut self.packets, at, 1);
    }

    pub(super) fn dropped(&mut self, at: Time) {
        add(&mut self.drops, at, 1);
    }

    /// Mean bits per second of IP that arrived between two times in seconds.
    pub(super) fn bps(&self, from: f64, to: f64) -> f64 {
        sum(self.bytes.iter().map(|bytes| *bytes as f64), from, to) * 8.0 / (to - from).max(1e-9)
    }

    /// Share of what was offered to the queue that it dropped, random loss `loss` behind it.
    pub(super) fn own_loss(&self, loss: f64, from: f64, to: f64) -> f64 {
        let arrived = sum(self.packets.iter().map(|n| f64::from(*n)), from, to);
        let dropped = sum(self.drops.iter().map(|n| f64::from(*n)), from, to);
        dropped / (arrived / (1.0 - loss) + dropped).max(1.0)
    }
}

fn sum(bins: impl Iterator<Item = f64>, from: f64, to: f64) -> f64 {
    let width = BIN.as_secs_f64();
    let (first, last) = (
        (from / width).round() as usize,
        (to / width).round() as usize,
    );
    bins.skip(first).take(last.saturating_sub(first)).sum()
}

/// A whole simulation.
#[derive(Debug)]
pub(super) struct Readings {
    pub(super) flows: Vec<Series>,
    /// How long the queue was, every `queue_every`, in milliseconds.
    pub(super) queue_ms: Vec<f32>,
    pub(super) queue_every: Duration,
    /// Virtual time it took.
    pub(super) length: Duration,
}

impl Readings {
    fn queue_between(&self, from: f64, to: f64) -> impl Iterator<Item = (f64, f64)> {
        let every = self.queue_every.as_secs_f64();
        let all = self.queue_ms.iter().enumerate();
        all.map(move |(n, ms)| (n as f64 * every, f64::from(*ms)))
            .filter(move |(at, _)| (from..to).contains(at))
    }

    /// 95th percentile of the queue in milliseconds.
    pub(super) fn queue_p95_ms(&self, from: f64, to: f64) -> f64 {
        let mut all: Vec<f64> = self.queue_between(from, to).map(|(_, ms)| ms).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() * 95 / 100).copied().unwrap_or(f64::NAN)
    }

    /// Seconds from `from` on until the queue stays below `limit_ms` for a second.
    pub(super) fn queue_back_s(&self, from: f64, limit_ms: f64) -> f64 {
        let mut below_since = from;
        for (at, ms) in self.queue_between(from, self.length.as_secs_f64()) {
            if ms >= limit_ms {
                below_since = at;
            } else if at - below_since >= 1.0 {
                return below_since - from;
            }
        }
        f64::INFINITY
    }

    /// Least mean of any `window` seconds of flow 0 in `from..to`, as a share of `full_bps`.
    pub(super) fn least(&self, full_bps: f64, from: f64, to: f64, window: f64) -> f64 {
        let steps = ((to - from - window) / BIN.as_secs_f64()) as usize;
        let shares = (0..steps).map(|n| {
            let at = from + n as f64 * BIN.as_secs_f64();
            self.flows[0].bps(at, at + window) / full_bps
        });
        shares.fold(f64::INFINITY, f64::min)
    }

    /// Seconds from `from` until flow 0 has reached 95 % of `full_bps` over `window` seconds.
    pub(super) fn t95_s(&self, full_bps: f64, from: f64, window: f64) -> f64 {
        let steps = ((self.length.as_secs_f64() - from) / BIN.as_secs_f64()) as usize;
        let reached = (0..steps).map(|n| n as f64 * BIN.as_secs_f64()).find(|at| {
            let (begin, end) = (from + at, from + at + window);
            self.flows[0].bps(begin, end) >= 0.95 * full_bps
        });
        reached.unwrap_or(f64::INFINITY)
    }

    /// Share of flow 0 in what both of two flows got.
    pub(super) fn share(&self, from: f64, to: f64) -> f64 {
        let [ours, theirs] = [0, 1].map(|n| self.flows[n].bps(from, to));
        ours / (ours + theirs)
    }

    /// Jain's index of all flows.
    pub(super) fn jain(&self, from: f64, to: f64) -> f64 {
        let rates = self.flows.iter().map(|flow| flow.bps(from, to));
        let (sum, squares) = rates.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        sum * sum / (self.flows.len() as f64 * squares)
    }
}
