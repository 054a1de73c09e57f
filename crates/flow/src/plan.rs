use std::time::Duration;

use arrayvec::ArrayVec;
use haul_wire::{BlockAddr, PacketRun};

use crate::{PLAN_BLOCKS_MAX, Time};

/// The next batch: which blocks, under which packet numbers, not before when.
///
/// The caller seals it, sends it at or after `release_at` and at least (the previous plan's `gap` −
/// one burst) after the previous one, then calls [`crate::Sender::handle_sent`].
#[derive(Debug)]
pub struct Plan {
    /// One fresh packet number per block, in order.
    pub run: PacketRun,
    /// Length of each datagram, header and tag included.
    pub datagram_len: usize,
    /// The blocks, or the parts of blocks, all in as many parts; as many as `run` has numbers, at
    /// least one.
    pub blocks: ArrayVec<BlockAddr, PLAN_BLOCKS_MAX>,
    /// Not to be sent earlier. May lie in the past: at once, then.
    pub release_at: Time,
    /// Airtime of this batch at the rate of planning, at most 2 ms: at rates so slow that it would
    /// be more, `release_at` alone keeps batches apart, and follows when the rate rises again. Zero
    /// for probes, which are no part of the pace.
    pub gap: Duration,
    /// Whether to mark the datagrams ECT(0): able to take marks of congestion.
    pub ecn: bool,
}
