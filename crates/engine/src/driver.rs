//! The drivers: each owns a flow machine, feeds it facts and carries out what it decides.

mod desk;
mod knocking;
mod receive;
mod roaming;
mod send;

pub(crate) use desk::Desk;
pub(crate) use receive::ReceiveDriver;
pub(crate) use send::SendDriver;

use arrayvec::ArrayVec;
use haul_batch::MAX_SEGMENTS;
use haul_disk::{Available, Change, FileEvent, Had, Placed, Received};
use haul_flow::{Policy, Time};
use haul_udp::{Ecn, Route};
use haul_wire::{PacketNo, Report, path::Sync};

use crate::EngineError;

/// Facts taken from the inbox before decisions are made anew.
const FACTS_AT_ONCE: usize = 64;

/// What the two drivers have in common: a machine that is fed, asked, and woken at its deadline.
trait Driver {
    fn desk(&mut self) -> &mut Desk;
    fn is_stopping(&self) -> bool;
    /// When the machine wants to be woken.
    fn deadline(&self) -> Option<Time>;
    fn handle_timeout(&mut self, now: Time);
    fn handle(&mut self, fact: Fact) -> Result<(), EngineError>;
    /// Whatever the machine wants done, until it wants nothing more.
    fn carry_out(&mut self, now: Time) -> Result<(), EngineError>;
    fn post(&mut self);
}

/// Turns until the owner wants it to stop, or the line fails.
fn drive(driver: &mut impl Driver) -> Result<(), EngineError> {
    while !driver.is_stopping() {
        let now = driver.desk().clock.now();
        if driver.deadline().is_some_and(|at| at <= now) {
            driver.handle_timeout(now);
        }
        driver.carry_out(now)?;
        if driver.desk().handle_time(now)? {
            driver.post();
        }
        let deadline = driver.deadline();
        let mut fact = driver.desk().wait(deadline);
        let mut taken = 0;
        while let Some(told) = fact {
            driver.handle(told)?;
            taken += 1;
            fact = if taken < FACTS_AT_ONCE {
                driver.desk().next()
            } else {
                None
            };
        }
    }
    driver.post();
    Ok(())
}

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
    /// Rx, feedback: the newest packets came from elsewhere than the peer.
    Stranger {
        route: Route,
        bytes: usize,
        at: Time,
    },
    /// Open, feedback: the other end asks for an echo, at another address than the peer's or not.
    Probe { token: u64, to: Option<Route> },
    /// Open, feedback: an echo came.
    Echo { token: u64, at: Time },
    /// Tx: the host refused to send so long datagrams.
    TooBig { datagram_len: usize },
    /// Open: the sender's view.
    Sync { sync: Sync, at: Time },
    /// Write: blocks were taken off our hands.
    Written(Placed),
    /// Write: these blocks need not come.
    Had(Had),
    /// Write: a file is done, one way or the other.
    File(FileEvent),
    /// Write: this became of a name that is no file that arrived.
    Change(Change),
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
    pub(crate) ecn: Option<Ecn>,
}

/// What the owner of a line may want.
pub(crate) enum Ask {
    Rate {
        target_bps: Option<u64>,
        min_bps: u64,
    },
    Policy(Policy),
    Had(Had),
    Stop,
}
