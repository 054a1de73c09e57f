//! The drivers: each owns a flow machine, feeds it facts and carries out what it decides.

mod desk;
mod receive;
mod send;

pub(crate) use desk::Desk;
pub(crate) use receive::ReceiveDriver;
pub(crate) use send::SendDriver;

use arrayvec::ArrayVec;
use haul_batch::MAX_SEGMENTS;
use haul_disk::{Available, FileEvent, Placed, Received};
use haul_flow::{Policy, Time};
use haul_wire::{PacketNo, Report, path::Sync};

use crate::EngineError;

/// What a stage, or the line's owner, tells a driver.
pub(crate) enum Fact {
    /// Scan or read: so many blocks exist now.
    Available(Available),
    /// Tx: a batch has left.
    Sent {
        first: PacketNo,
        count: usize,
        at: Time,
    },
    /// Feedback: the receiver's view.
    Report { report: Box<Report>, at: Time },
    /// Open: data packets arrived and are authentic.
    Arrived(Box<Arrived>),
    /// Open: the sender's view.
    Sync { sync: Sync, at: Time },
    /// Write: blocks were taken off our hands.
    Written(Placed),
    /// Write: a file is done, one way or the other.
    File(FileEvent),
    /// Write: all files are done.
    Complete(Box<Received>),
    /// Any stage: it cannot go on.
    Failed(EngineError),
    /// The owner wants something.
    Ask(Ask),
}

/// Authentic data packets of one batch.
pub(crate) struct Arrived {
    pub(crate) packets: ArrayVec<PacketNo, MAX_SEGMENTS>,
    pub(crate) datagram_len: usize,
    pub(crate) at: Time,
    pub(crate) epoch: u8,
    pub(crate) congestion_experienced: bool,
}

/// What the owner of a line may want.
pub(crate) enum Ask {
    Rate {
        target_bps: Option<u64>,
        min_bps: u64,
    },
    Policy(Policy),
    Stop,
}
