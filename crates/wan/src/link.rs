//! What a link is like, for each direction.

use std::time::Duration;

/// Random loss in bursts: a two-state Markov chain (Gilbert and Elliott) that moves with each
/// packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Probability of turning bad, for each packet while good (0 to 1).
    pub turns_bad: f64,
    /// Probability of turning good again, for each packet while bad (0 to 1).
    pub turns_good: f64,
    /// Share of packets lost while bad (0 to 1).
    pub loss_when_bad: f64,
}

impl Burst {
    /// Runs of `length` lost packets on average, `mean` of all packets together (0 to below 1).
    pub fn runs(mean: f64, length: f64) -> Self {
        let turns_good = 1.0 / length.max(1.0);
        Self {
            turns_bad: turns_good * mean / (1.0 - mean),
            turns_good,
            loss_when_bad: 1.0,
        }
    }

    /// Long-run share of packets lost.
    pub fn mean(self) -> f64 {
        self.loss_when_bad * self.turns_bad / (self.turns_bad + self.turns_good)
    }
}

/// A token bucket that drops what exceeds it, in front of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policer {
    /// Bits per second of whole IP packets.
    pub rate_bps: u64,
    /// Bytes the bucket holds.
    pub bucket_bytes: u64,
}

/// Some packets are late and overtaken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Share of packets (0 to 1).
    pub share: f64,
    /// By how much they are late.
    pub late_by: Duration,
}

/// How long one draw of the jitter lasts. Drawn for each packet, with the order kept, it would only
/// be a longer delay: the latest of many draws is always near the most.
pub const JITTER_PERIOD: Duration = Duration::from_millis(5);

/// One direction of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction {
    /// Bits per second of whole IP packets; `None` for no bottleneck.
    pub rate_bps: Option<u64>,
    /// Bytes of whole IP packets that the drop-tail queue before the bottleneck holds.
    pub queue_bytes: u64,
    /// Propagation delay.
    pub delay: Duration,
    /// Most additional delay; wanders between draws made every [`JITTER_PERIOD`] and keeps the
    /// order of packets.
    pub jitter: Duration,
    /// Share of packets lost after the bottleneck, each by itself (0 to 1).
    pub loss: f64,
    /// Loss in bursts, besides.
    pub burst: Option<Burst>,
    /// Share of packets that arrive twice (0 to 1).
    pub duplicate: f64,
    /// Packets out of order.
    pub reorder: Option<Reorder>,
    /// A policer in front.
    pub policer: Option<Policer>,
    /// Packets longer than this are dropped, bytes.
    pub mtu: u64,
    /// Whether their sender is told the MTU by ICMP, as RFC 1191 and RFC 4443 (3.2) ask; without
    /// it the path is a black hole for long packets.
    pub tells_mtu: bool,
    /// ECN-capable packets that would wait longer than this are marked "congestion experienced".
    pub mark_above: Option<Duration>,
    /// Drops everything.
    pub is_down: bool,
}

impl Default for Direction {
    /// No bottleneck, no delay, no loss.
    fn default() -> Self {
        Self {
            rate_bps: None,
            queue_bytes: u64::MAX,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
            reorder: None,
            policer: None,
            mtu: 65_535,
            tells_mtu: false,
            mark_above: None,
            is_down: false,
        }
    }
}

impl Direction {
    /// Long-run share of packets that the link loses of its own accord.
    pub fn mean_loss(&self) -> f64 {
        let bursty = self.burst.map_or(0.0, Burst::mean);
        1.0 - (1.0 - self.loss) * (1.0 - bursty)
    }
}

/// A link: one direction each way.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// From near to far.
    pub out: Direction,
    /// From far to near.
    pub back: Direction,
    /// Of the TUN devices, bytes: what the hosts see as their interface's.
    pub device_mtu: u16,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Link {
    /// A symmetric path: `rate_bps` each way, half of `rtt` each way, queues of `queue` (the time
    /// the full queue takes to drain), and this share of packets lost at random each way.
    pub fn symmetric(rate_bps: u64, rtt: Duration, queue: Duration, loss: f64) -> Self {
        let direction = Direction {
            rate_bps: Some(rate_bps),
            queue_bytes: (rate_bps as f64 / 8.0 * queue.as_secs_f64()) as u64,
            delay: rtt / 2,
            loss,
            ..Direction::default()
        };
        Self {
            out: direction.clone(),
            back: direction,
            device_mtu: 1500,
            seed: 1,
        }
    }
}
