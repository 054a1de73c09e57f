use std::time::Duration;

use haul_flow::{Policy, Time};
use haul_wire::{SEGMENT_OVERHEAD, block_len, segment_len};

use crate::{
    clock::ClockConfig, content::Content, disk::DiskConfig, link::LinkConfig, source::SourceConfig,
};

/// Latest moment at which a transfer that must be given up has been.
const GIVEN_UP: Duration = Duration::from_secs(90);

/// Everything a simulation is a function of.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Name, for people.
    pub name: String,
    /// Seed of everything random that happens while it runs.
    pub seed: u64,
    /// Largest UDP payload of the path.
    pub datagram_len: usize,
    /// What is transferred.
    pub content: Content,
    /// Who decides the rate.
    pub policy: Policy,
    /// Bits per second of UDP payload; the rate of `fixed`, a ceiling for `fair`.
    pub rate_target_bps: Option<u64>,
    /// From sender to receiver: data and syncs.
    pub forward: LinkConfig,
    /// From receiver to sender: reports.
    pub reverse: LinkConfig,
    /// The receiver's writing stage.
    pub disk: DiskConfig,
    /// The sender's source.
    pub source: SourceConfig,
    /// One timer in twenty fires up to this much too late: the host was busy.
    pub lateness_max: Duration,
    /// Round-trip time that the opening of the path measured.
    pub initial_rtt: Duration,
    /// The receiver's clock. The sender's is the simulation's.
    pub receiver_clock: ClockConfig,
    /// How many transmissions of the last content block are lost, the first ones.
    pub lose_last_block: u32,
    /// How it must end.
    pub expect: Expect,
}

/// How a simulation must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Everything arrives before [`Scenario::deadline`].
    Delivery,
    /// The sender gives up because the peer is silent.
    Silence,
    /// The sender gives up because the peer, though heard, hears nothing.
    Blocked,
}

impl Scenario {
    /// A transfer of `content_blocks` over a clean path of `rate_bps` both ways and `rtt`, at the
    /// path's rate under `fixed`, without a ceiling under `fair`.
    pub fn clean(policy: Policy, rate_bps: u64, rtt: Duration, content_blocks: u64) -> Self {
        Self {
            name: String::from("clean"),
            seed: 1,
            datagram_len: 1452,
            content: Content {
                seed: 1,
                list_blocks: 0,
                content_blocks,
            },
            policy,
            rate_target_bps: (policy == Policy::Fixed).then_some(rate_bps / 1000 * 985),
            forward: LinkConfig::clean(rate_bps, rtt),
            reverse: LinkConfig::clean(rate_bps, rtt),
            disk: DiskConfig::fast(),
            source: SourceConfig::ready(),
            lateness_max: Duration::from_micros(60),
            initial_rtt: rtt,
            receiver_clock: ClockConfig {
                offset_ns: 3_000_000_000,
                drift_ppm: 20,
            },
            lose_last_block: 0,
            expect: Expect::Delivery,
        }
    }

    /// Length of a block in bytes.
    pub fn block_len(&self) -> usize {
        block_len(self.datagram_len)
    }

    /// Length of a data datagram in bytes.
    pub fn segment_len(&self) -> usize {
        segment_len(self.block_len())
    }

    /// Bits per second at which data can leave: the target or the bottleneck, whichever is less.
    pub fn rate_bps(&self) -> u64 {
        let target = self.rate_target_bps.unwrap_or(u64::MAX);
        target.min(self.forward.rate_bps)
    }

    /// Longest round trip the links' parameters allow.
    pub fn rtt_max(&self) -> Duration {
        self.forward.delay_max(self.segment_len()) + self.reverse.delay_max(SEGMENT_OVERHEAD + 1100)
    }

    /// Round trip through empty queues, without jitter or reordering.
    pub fn rtt_min(&self) -> Duration {
        self.forward.delay + self.reverse.delay + self.forward.airtime(self.segment_len())
    }

    /// The least time a perfect sender needs for what the scenario moves:
    /// `max(wire bits / (rate · (1 − loss)), (bytes − buffer) / disk speed, last step of the
    /// source) + delay`. The last buffer full need not be written, only taken.
    pub fn ideal(&self) -> Duration {
        let wire_bits = self.content.blocks() as f64 * self.segment_len() as f64 * 8.0;
        let loss = self.forward.loss_share();
        let sending = wire_bits / (self.rate_bps() as f64 * (1.0 - loss));
        let bytes = self.content.blocks() as f64 * self.block_len() as f64;
        let beyond_buffer = (bytes - self.disk.buffer_bytes as f64).max(0.0);
        let writing = beyond_buffer / self.disk.mean_bytes_per_second();
        let source = (self.source.complete_at() - Time::ZERO).as_secs_f64();
        Duration::from_secs_f64(sending.max(writing).max(source)) + self.forward.delay
    }

    /// When a transfer that goes on has gone on for too long:
    /// `10 s + slack · ideal + 3 · holes + 60 · rtt_max / (1 − loss there) / (1 − loss back)`,
    /// with a slack of 2 under `fixed` and 10 under `fair`, which must find the rate itself.
    ///
    /// A transfer that must be given up must have been after a minute and a half.
    ///
    /// Thrice the holes, because probes back off by doubling; 60 round trips, because what is lost
    /// at the end is lost again with the same probability: (30 %)⁶⁰ is beyond any seed.
    pub fn deadline(&self) -> Time {
        if self.expect != Expect::Delivery {
            return Time::ZERO + GIVEN_UP;
        }
        let slack = match self.policy {
            Policy::Fixed => 2.0,
            Policy::High | Policy::Fair | Policy::Low => 10.0,
        };
        let forward = 1.0 - self.forward.loss_share();
        let reverse = 1.0 - self.reverse.loss_share();
        let chasing = 60.0 * self.rtt_max().as_secs_f64() / forward / reverse;
        let holes = self.forward.holes.iter().chain(&self.reverse.holes);
        let dark: Duration = holes.map(|hole| hole.end - hole.start).sum();
        let stalls = self.disk.stall * 4;
        let span = slack * self.ideal().as_secs_f64() + chasing + 3.0 * dark.as_secs_f64();
        Time::ZERO + Duration::from_secs(10) + stalls + Duration::from_secs_f64(span)
    }

    /// Datagrams in flight when the path is full: what may be sent before anything is heard.
    pub fn in_flight_packets(&self) -> u64 {
        let bits = self.rate_bps() as f64 * self.rtt_max().as_secs_f64();
        (bits / 8.0 / self.segment_len() as f64).ceil() as u64
    }
}
