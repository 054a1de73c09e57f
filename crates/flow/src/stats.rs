use std::time::Duration;

use crate::{EcnState, Estimates, Mode, Policy};

/// What a [`crate::Sender`] has done and knows; a copy, taken at one moment.
/// Bytes are of whole datagrams unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SenderStats {
    /// Packets that left, repeats included.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Of those, packets whose block had left before.
    pub retransmitted_packets: u64,
    /// Their bytes.
    pub retransmitted_bytes: u64,
    /// Packets declared lost, those included that turned out to be late.
    pub lost_packets: u64,
    /// Packets that arrived after they had been declared lost.
    pub spurious_losses: u64,
    /// Blocks that were sent and are known to have arrived, each counted once; those included of which
    /// the receiver said only then that it had had them.
    pub delivered_blocks: u64,
    /// Bytes of those blocks; the last block of a stream counts as a full one.
    pub delivered_bytes: u64,
    /// Content blocks that the receiver had already and that were never sent, as far as their turn
    /// has come.
    pub had_blocks: u64,
    /// Bytes of those blocks; the last block of the content counts as a full one.
    pub had_bytes: u64,
    /// Bytes of whole datagrams that were sent and neither acknowledged nor declared lost.
    pub in_flight_bytes: u64,
    /// Bytes that may be in flight at most, by the receiver's buffer and writing rate.
    pub credit_bytes: u64,
    /// Smoothed round-trip time.
    pub srtt: Duration,
    /// Least round-trip time of the last 15 to 30 seconds.
    pub min_rtt: Duration,
    /// The last measured round-trip time.
    pub latest_rtt: Duration,
    /// Mean deviation of the round-trip time (RFC 6298).
    pub jitter: Duration,
    /// Pacing rate, bits per second of UDP payload.
    pub rate_bps: f64,
    /// Share of packets that do not arrive, smoothed, 0 to 1.
    pub loss: f64,
    /// Who decides the rate.
    pub policy: Policy,
    /// State of that policy.
    pub mode: Mode,
    /// Share of packets that policy holds for lost whatever the rate, 0 to 1.
    pub loss_floor: f64,
    /// What it knows of the path.
    pub estimates: Estimates,
    /// Reports that were heard.
    pub reports: u64,
    /// Times nothing was heard of the packets in flight for a probe time-out.
    pub pto_count: u64,
    /// Length of the datagrams sent now: of whole blocks, or of parts on a path that has shrunk.
    pub datagram_len: usize,
    /// Times the path shrank.
    pub path_falls: u64,
    /// Whether datagrams are marked for ECN.
    pub ecn: EcnState,
}

/// What a [`crate::Receiver`] has seen; a copy, taken at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverStats {
    /// Packets that arrived, each number counted once.
    pub received_packets: u64,
    /// Bytes of those datagrams.
    pub received_bytes: u64,
    /// Packets whose number had arrived before or is older than what is remembered.
    pub repeated_packets: u64,
    /// Packets that carried a block that had arrived already.
    pub duplicate_blocks: u64,
    /// Bytes of blocks the writing stage has taken over.
    pub written_bytes: u64,
    /// Largest number that has arrived; 0 before the first.
    pub largest_packet: u64,
    /// Runs of numbers remembered now.
    pub ranges: usize,
    /// Reports that were made.
    pub reports: u64,
    /// Packets that arrived with the ECN mark ECT(0).
    pub ecn_ect0: u64,
    /// Packets that arrived with the mark "congestion experienced".
    pub ecn_ce: u64,
}
