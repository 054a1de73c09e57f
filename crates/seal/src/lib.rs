//! Plain segments to sealed ones and back, in place; counts key use.
//!
//! ```text
//! schedule ── TrafficSecret ──► Sealer  ── Batch of plain segments ──► Sealed
//!          └─ TrafficSecret ──► Opener  ── Batch from the network  ──► Opened
//! ```
//!
//! [`Sealed`] and [`Opened`] can only be made here: plaintext cannot reach the socket, and bytes
//! that were not authenticated cannot reach the rest of the program. Sealing consumes packet
//! numbers ([`haul_wire::PacketRun`]), so no number is ever used twice under one key.
//!
//! Nothing here performs I/O, reads a clock or logs. The cipher work is done by a [`Backend`] on
//! many packets in lockstep; see `lanes`.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod error;
mod lanes;
mod opener;
#[cfg(test)]
mod random;
mod receive;
mod replay;
pub mod schedule;
mod sealer;
mod secret;
mod suite;

pub use error::SealError;
pub use opener::{Opened, OpenedAt, OpenedSegment, Opener, body_range};
pub use receive::{OpenCounters, OpenOptions};
pub use schedule::{Direction, KeyInput, Role, SessionSecrets};
pub use sealer::{SealOptions, Sealed, Sealer};
pub use secret::TrafficSecret;
pub use suite::Backend;
