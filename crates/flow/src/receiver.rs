//! The receiving half: arrivals in, reports out. Packet numbers only; blocks are the disk's.
//!
//! ```text
//! handle_packet ─► Arrivals, Samples ─┐
//! handle_written, handle_free ────────┼─► poll_report
//! handle_sync ─► floor, horizon ──────┘      ▲
//!                                     Cadence│
//! ```

mod arrivals;
mod cadence;
mod rounds;
mod samples;

use haul_wire::{PacketNo, Report, path::Sync};

use crate::{ReceiverConfig, ReceiverStats, Time};
use arrivals::{Arrival, Arrivals};
use cadence::Cadence;
use rounds::Rounds;
use samples::Samples;

/// The first number after all packet numbers.
const NUMBERS_END: u64 = PacketNo::MAX.0 + 1;

/// Turns arrivals into reports.
///
/// # Call order
///
/// 1. [`Self::handle_packet`] for each authenticated data packet, in order of arrival;
///    [`Self::handle_sync`] for each synchronisation; [`Self::handle_written`] and
///    [`Self::handle_free`] as the writing stage goes on; [`Self::handle_ce`],
///    [`Self::handle_ect0`], [`Self::handle_epoch`] and [`Self::handle_rekey_wanted`] where they apply.
/// 2. [`Self::poll_report`] until `None`: one interval may need several reports.
/// 3. Sleep until [`Self::poll_timeout`] or an input; [`Self::handle_timeout`], then 2.
///
/// # Limits
///
/// 65,536 runs of packet numbers; 24 reports per round, each within 1,100 bytes.
#[derive(Debug)]
pub struct Receiver {
    /// Latest time any call named.
    clock: Time,
    arrivals: Arrivals,
    samples: Samples,
    cadence: Cadence,
    rounds: Rounds,
    /// All numbers below have been sent, or have arrived.
    horizon: u64,
    newest: Option<Newest>,
    counters: ReceiverStats,
    free_bytes: u64,
    epoch: u8,
    rekey: bool,
    heard_at: Time,
}

/// The last and the largest arrival.
#[derive(Debug, Clone, Copy)]
struct Newest {
    packet: PacketNo,
    at: Time,
    largest: PacketNo,
    largest_at: Time,
}

impl Receiver {
    /// Begins a session in which nothing has arrived. The first report is due at once: it tells the
    /// sender that somebody is there.
    pub fn new(config: ReceiverConfig, now: Time) -> Self {
        Self {
            clock: now,
            arrivals: Arrivals::default(),
            samples: Samples::new(),
            cadence: Cadence::new(config.initial_rtt, now),
            rounds: Rounds::default(),
            horizon: 0,
            newest: None,
            counters: ReceiverStats::default(),
            free_bytes: config.free_bytes_initial,
            epoch: 0,
            rekey: false,
            heard_at: now,
        }
    }

    /// An authenticated data packet of `datagram_len` bytes arrived at `at`.
    pub fn handle_packet(&mut self, packet: PacketNo, datagram_len: usize, at: Time) {
        let at = self.tick(at);
        self.heard_at = at;
        let arrival = self.arrivals.insert(packet.0);
        if arrival == Arrival::Repeated {
            self.counters.repeated_packets += 1;
            return;
        }
        self.counters.received_packets += 1;
        self.counters.received_bytes += datagram_len as u64;
        self.counters.largest_packet = self.counters.largest_packet.max(packet.0);
        self.horizon = self.horizon.max(packet.0 + 1);
        let newest = self.newest.get_or_insert(Newest {
            packet,
            at,
            largest: packet,
            largest_at: at,
        });
        (newest.packet, newest.at) = (packet, at);
        if packet > newest.largest {
            (newest.largest, newest.largest_at) = (packet, at);
        }
        self.samples.add(packet, at);
        self.cadence.on_arrival(arrival == Arrival::AfterGap, at);
    }

    /// The writing stage took over `bytes` more block bytes and saw `duplicate_blocks` more blocks
    /// that had arrived before.
    pub fn handle_written(&mut self, bytes: u64, duplicate_blocks: u64) {
        self.counters.written_bytes += bytes;
        self.counters.duplicate_blocks += duplicate_blocks;
    }

    /// So many bytes can be buffered now. Room after there was hardly any is news.
    pub fn handle_free(&mut self, free_bytes: u64) {
        let told = self.rounds.told_free_bytes();
        if free_bytes > told && free_bytes / 2 >= told {
            self.cadence.on_news();
        }
        self.free_bytes = free_bytes;
    }

    /// An authenticated synchronisation arrived.
    pub fn handle_sync(&mut self, sync: &Sync, now: Time) {
        let now = self.tick(now);
        self.heard_at = now;
        self.cadence.on_sync(now);
        // No header carries a number beyond the last, so no report may speak of one.
        let floor = sync.report_floor.0.min(NUMBERS_END);
        let next = sync.next_packet.0.clamp(floor, NUMBERS_END);
        self.arrivals.raise_floor(floor);
        if next > self.horizon {
            // Packets that the sender speaks of are not here: it should know soon.
            self.horizon = next;
            self.cadence.hasten();
        }
    }

    /// So many more data packets arrived with the ECN mark "congestion experienced".
    pub fn handle_ce(&mut self, packets: u64) {
        if packets > 0 {
            self.counters.ecn_ce += packets;
            self.cadence.hasten();
        }
    }

    /// So many more data packets arrived with the ECN mark ECT(0).
    pub fn handle_ect0(&mut self, packets: u64) {
        self.counters.ecn_ect0 += packets;
    }

    /// Low eight bits of the largest key epoch seen on data.
    pub fn handle_epoch(&mut self, epoch: u8) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.cadence.on_news();
        }
    }

    /// Whether the sender should begin a new key epoch, because too many forged datagrams were seen
    /// under this one. Every report repeats the wish until it is taken back.
    pub fn handle_rekey_wanted(&mut self, wanted: bool) {
        if wanted && !self.rekey {
            self.cadence.on_news();
        }
        self.rekey = wanted;
    }

    /// Time passed; reports that are due come from [`Self::poll_report`].
    pub fn handle_timeout(&mut self, now: Time) {
        self.tick(now);
    }

    /// The next report of the current round, or the first of a round that is due; each encodes into
    /// 1,100 bytes. `None` until the next is due.
    pub fn poll_report(&mut self, now: Time) -> Option<Report> {
        let now = self.tick(now);
        let mut samples = Vec::new();
        if !self.rounds.is_running() {
            if now < self.cadence.due_at() {
                return None;
            }
            self.cadence.on_report(now);
            self.rounds.begin(self.horizon, self.free_bytes);
            if let Some(newest) = self.newest {
                samples = self.samples.take((newest.packet, newest.at));
            }
        }
        let span = self.rounds.next_span(&self.arrivals)?;
        self.counters.reports += 1;
        let newest = self.newest;
        let hold = newest.map_or(0, |newest| (now - newest.largest_at).as_micros());
        Some(Report {
            // Numbers of reports wrap after some years at the fastest pace.
            seq: self.counters.reports as u32,
            largest: newest.map_or(PacketNo(0), |newest| newest.largest),
            largest_hold_us: u32::try_from(hold).unwrap_or(u32::MAX),
            newest_at_us: newest.map_or(0, |newest| newest.at.as_micros()),
            received_packets: self.counters.received_packets,
            received_bytes: self.counters.received_bytes,
            duplicate_blocks: self.counters.duplicate_blocks,
            written_bytes: self.counters.written_bytes,
            free_bytes: self.free_bytes,
            ecn_ect0: self.counters.ecn_ect0,
            ecn_ce: self.counters.ecn_ce,
            epoch: self.epoch,
            rekey: self.rekey,
            span_low: PacketNo(span.low),
            span_high: PacketNo(span.high),
            ranges: span.ranges,
            samples,
        })
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_report`] if nothing else happens; may
    /// lie in the past. Never `None`: a receiver keeps itself heard.
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(if self.rounds.is_running() {
            self.clock
        } else {
            self.cadence.due_at()
        })
    }

    /// When the sender was heard last, by data or synchronisation.
    pub fn silent_since(&self) -> Time {
        self.heard_at
    }

    /// Copies the facts.
    pub fn stats(&self) -> ReceiverStats {
        ReceiverStats {
            ranges: self.arrivals.runs(),
            ..self.counters
        }
    }

    fn tick(&mut self, now: Time) -> Time {
        self.clock = self.clock.max(now);
        self.clock
    }
}
