//! What became of every flow.

use std::{collections::BTreeMap, time::Duration};

use crate::Flow;

/// Width of one bucket of a series.
pub const SERIES_STEP: Duration = Duration::from_millis(10);

/// What happened to a flow within one [`SERIES_STEP`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes of whole IP packets that left the bottleneck and were not lost.
    pub delivered_bytes: u64,
    /// Packets that left the bottleneck, lost or not.
    pub departed_packets: u32,
    /// Packets that found the queue or the policer's bucket full.
    pub overflowed_packets: u32,
    /// Packets lost at random.
    pub lost_packets: u32,
    /// Sum over departed packets of the time they waited in the queue, microseconds.
    pub waited_us: u64,
}

impl std::ops::Add for Bucket {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered_bytes: self.delivered_bytes + other.delivered_bytes,
            departed_packets: self.departed_packets + other.departed_packets,
            overflowed_packets: self.overflowed_packets + other.overflowed_packets,
            lost_packets: self.lost_packets + other.lost_packets,
            waited_us: self.waited_us + other.waited_us,
        }
    }
}

/// One direction of one conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowCounter {
    /// When its first packet came, since the emulation began.
    pub first_at: Duration,
    /// When its last packet came.
    pub last_at: Duration,
    /// Packets that came.
    pub packets: u64,
    /// Bytes of whole IP packets that came.
    pub bytes: u64,
    /// Packets that found the queue or the policer's bucket full.
    pub overflowed_packets: u64,
    /// Packets lost at random, or while the link was down.
    pub lost_packets: u64,
    /// Packets longer than the path's MTU.
    pub oversized_packets: u64,
    /// Packets marked "congestion experienced".
    pub marked_packets: u64,
    /// Bytes of whole IP packets that were delivered.
    pub delivered_bytes: u64,
    /// From the first packet on, a bucket each [`SERIES_STEP`]; the first begins at a multiple of
    /// it.
    pub series: Vec<Bucket>,
}

impl FlowCounter {
    /// The bucket of this time, which is not before `first_at`.
    pub(crate) fn bucket(&mut self, at: Duration) -> &mut Bucket {
        let step = SERIES_STEP.as_nanos();
        let first = self.first_at.as_nanos() / step;
        let index = (at.as_nanos() / step).saturating_sub(first) as usize;
        if self.series.len() <= index {
            self.series.resize(index + 1, Bucket::default());
        }
        &mut self.series[index]
    }

    /// Bytes delivered from `from` to `to`, as closely as the series tells.
    pub fn delivered_between(&self, from: Duration, to: Duration) -> u64 {
        let step = SERIES_STEP.as_nanos();
        let first = self.first_at.as_nanos() / step;
        let index = |at: Duration| (at.as_nanos() / step).saturating_sub(first) as usize;
        let within = self.series.iter().take(index(to)).skip(index(from));
        within.map(|bucket| bucket.delivered_bytes).sum()
    }
}

/// Everything that has been counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Since the emulation began.
    pub now: Duration,
    /// Packets from near to far.
    pub out: BTreeMap<Flow, FlowCounter>,
    /// Packets from far to near.
    pub back: BTreeMap<Flow, FlowCounter>,
    /// Packets that the emulation itself could not hand over: must be 0, or the run is void.
    pub own_drops: u64,
    /// Most by which a packet was handed over later than its virtual time said.
    pub late_max: Duration,
    /// Packets handed over, by how late: 0 to 50 µs, 100, 200, 500, 1,000, and more.
    pub late_packets: [u64; 6],
}

impl Counters {
    /// Files one packet under how late it was handed over.
    pub(crate) fn note_late(&mut self, late: Duration) {
        const BOUNDS_US: [u128; 5] = [50, 100, 200, 500, 1000];
        let class = BOUNDS_US.partition_point(|bound| *bound < late.as_micros());
        self.late_packets[class] += 1;
        self.late_max = self.late_max.max(late);
    }

    /// Share of packets that were handed over within 200 µs of their virtual time.
    pub fn punctual_share(&self) -> f64 {
        let all: u64 = self.late_packets.iter().sum();
        let punctual: u64 = self.late_packets[..3].iter().sum();
        if all == 0 {
            1.0
        } else {
            punctual as f64 / all as f64
        }
    }
}
