//! The stages: each runs on threads of its own, takes from the queue before and gives to the one
//! behind, and ends when either is gone.

pub(crate) mod feedback;
pub(crate) mod open;
pub(crate) mod probes;
pub(crate) mod read;
pub(crate) mod rx;
pub(crate) mod scan;
pub(crate) mod seal;
pub(crate) mod strangers;
pub(crate) mod tx;
pub(crate) mod write;

use std::time::Duration;

use crossbeam_channel::Sender;
use haul_batch::Batch;
use haul_flow::{Plan, Time};
use haul_seal::Sealed;
use haul_udp::{Ecn, Route};

/// How long a stage waits before it looks whether it should end; waiting for datagrams is ended
/// sooner by the socket.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether anybody is left to work for.
pub(crate) type Onward = Result<bool, crate::EngineError>;

/// Hands what a stage has done to the threads of the next one. The other way is to call the next
/// stage on the same thread: that saves waking a thread and keeps a batch in one core's cache, and
/// gives up a core.
pub(crate) fn queue<T>(out: Sender<T>) -> impl FnMut(T) -> Onward {
    move |item| Ok(out.send(item).is_ok())
}

/// A plan and its blocks.
pub(crate) struct Filled {
    plan: Plan,
    batch: Batch,
}

/// A batch ready to leave, and when it may.
pub(crate) struct Departure {
    sealed: Sealed,
    first: haul_wire::PacketNo,
    count: usize,
    release_at: Time,
    gap: Duration,
    ecn: bool,
}

/// A batch as it came in.
pub(crate) struct Landed {
    batch: Batch,
    at: Time,
    ecn: Option<Ecn>,
    /// Where it came from, if not from the peer.
    stranger: Option<Route>,
}
