//! A whole job from two addresses to a summary.
//!
//! [`initiate()`] and [`respond()`] hold the conversation that SSH carries ([`haul_wire::control`]):
//! they agree on keys, open the UDP path, run the engine and end with the receiver's verdict.
//!
//! ```text
//!  initiate()                                        respond()
//!   handshake ◄────────── control channel ──────────► handshake      keys, confirmed both ways
//!   request   ───────────────────────────────────────► place         may it, and what does it mean
//!   path      ◄══════════════ UDP ══════════════════► path           address proved, size probed
//!   data      ◄══════════════ UDP ══════════════════► data           the engine runs
//!   summary   ◄───────────── verdict ──────────────── or the other way round
//! ```
//!
//! Whatever goes wrong at one end reaches the other as an error with its cause, and both end with
//! the same exit status ([`EXIT_CODES`]).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod bps;
mod control;
mod data;
mod detour;
mod error;
mod event;
mod exit;
mod gate;
mod handshake;
mod initiate;
mod job;
mod limits;
mod path;
mod place;
mod respond;
mod seat;
pub mod streams;
mod summary;
mod take;
#[cfg(test)]
mod tests;

pub use bps::{Bps, BpsError};
pub use detour::join;
pub use error::{Misbehaviour, Phase, TransferError, UdpDirection, system_code};
pub use event::{
    ChangeRecord, DigestRecord, Event, FailedFile, FileRecord, HostFacts, LineFacts, Omitted,
    PathFacts, Progress, RequestFacts, SessionFacts, StageFacts, Summary, Warning,
};
pub use exit::{EXIT_CODES, ExitCode, entry as exit_code};
pub use gate::{Asking, Gate, Leave, Unauthorized};
pub use haul_disk::{Bounds, NameRule};
pub use haul_flow::{Decision, EcnState, Policy};
pub use haul_udp::BUFFER_BYTES_WANTED;
pub use haul_wire::{
    SuiteId,
    control::{Act, ErrorCode, escaped},
};
pub use initiate::initiate;
pub use job::{
    ANY_UDP_PORT, After, Channels, DEFAULT_RECEIVE_BUFFER_BYTES, DEFAULT_UDP_PORTS, DigestOptions,
    Digests, Direction, Fsync, Job, JobOptions, Measure, Overwrite, Placing, Preserve, Proofs,
    Protection, Remembered, RespondSetup, Resume, Selection, Symlinks, Taking, Token,
};
pub use limits::{Cause, InForce, Limits};
pub use respond::respond;
pub use seat::{Demand, Seat, Seats};
