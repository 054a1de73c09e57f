use std::time::Duration;

use haul_wire::SEGMENT_OVERHEAD;

use crate::{FlowError, Policy, Remembered};

/// Most blocks one plan may hold: what one batch holds.
pub const PLAN_BLOCKS_MAX: usize = 64;

/// How a [`crate::Sender`] begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SenderConfig {
    /// Length in bytes of a datagram that carries a whole block, header and tag included; the path
    /// is known to carry it. Must exceed [`SEGMENT_OVERHEAD`].
    pub segment_len: usize,
    /// Most such segments in one plan, 1 to [`PLAN_BLOCKS_MAX`]. More cost less per packet and burst
    /// more; the rate policy's burst limit applies in any case.
    pub segments_per_batch_max: usize,
    /// Who decides the rate.
    pub policy: Policy,
    /// Bits per second of UDP payload: the rate itself for `fixed` (required there), a ceiling for
    /// the others.
    pub rate_target_bps: Option<u64>,
    /// Bits per second below which the user does not want to fall; 0 = no such wish. Anything
    /// larger can starve others.
    pub rate_min_bps: u64,
    /// Round-trip time measured while the path was opened. Too short a value costs needless
    /// probes in the first round trip, too long a value delays the first of them.
    pub initial_rtt: Duration,
    /// What an earlier transfer over this path found.
    pub remembered: Option<Remembered>,
    /// Bytes the receiver said it can buffer.
    pub free_bytes_initial: u64,
    /// Bytes of datagrams that may be in flight where a reliable connection carries them and decides how
    /// fast: no policy does, until the path changes ([`crate::Sender::handle_path_change`]). `None`: they
    /// go their own way.
    pub carried_bytes: Option<u64>,
    /// Whether the receiver will say what it has already, by [`crate::Sender::handle_had`]: then no
    /// content is sent before it has been judged. The list is not held back.
    pub waits_for_judgement: bool,
    /// Whether to mark datagrams as able to take marks of congestion (ECT(0), RFC 3168), as long as
    /// the path lets the marks through. Not done under [`Policy::Fixed`], which would not answer.
    pub ecn: bool,
    /// Seed of all randomness: the phase of the first burst, and the policy's.
    pub seed: u64,
}

impl SenderConfig {
    /// Refuses values no session can work with.
    pub(crate) fn validate(&self) -> Result<(), FlowError> {
        let segment_len = SEGMENT_OVERHEAD + 1..=usize::from(u16::MAX);
        if !segment_len.contains(&self.segment_len) {
            return Err(FlowError::Config("segment length"));
        }
        if !(1..=PLAN_BLOCKS_MAX).contains(&self.segments_per_batch_max) {
            return Err(FlowError::Config("segments per batch"));
        }
        Ok(())
    }
}

/// How a [`crate::Receiver`] begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReceiverConfig {
    /// Whole datagram length in bytes, header and tag included.
    pub segment_len: usize,
    /// Round-trip time measured while the path was opened; sets the first report interval.
    pub initial_rtt: Duration,
    /// Bytes that can be buffered before the writing stage has said anything.
    pub free_bytes_initial: u64,
}
