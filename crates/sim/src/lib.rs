//! Two endpoints, a hostile network and a faulty disk in virtual time.
//!
//! The sender and the receiver of `haul-flow` run as they would in a real session, but the time,
//! the network, the disk and the clocks around them are simulated, and every random choice is a
//! function of one seed: a failure is replayed by its seed alone.
//!
//! ```text
//!   Source ──► flow::Sender ──► Tx ──► Link ───────────────► Disk, flow::Receiver
//!                   ▲                  rate, queue, delay, loss,        │
//!                   │                  bursts, copies, damage,          │
//!                   └───────────────── disorder, black-holes ◄── Link ◄─┘
//!
//!   everything that happens ──► Fact ──► Check (delivery, pacing, bounds, repeats, quiet, ending)
//!                                  └──► Tally, TraceHash, Printer
//! ```
//!
//! Packets carry their number, the address of their block and a sample of its bytes, so that what
//! arrives is compared and not assumed. Messages cross the network encoded.
//!
//! [`swarm`] makes a scenario of a seed; [`named`] holds those that everybody asks for. Keys,
//! sockets and files are not simulated: a damaged datagram is dropped where its tag would be
//! checked.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

pub mod check;
mod clock;
mod content;
mod datagram;
mod disk;
mod fact;
mod link;
mod loss;
pub mod matrix;
pub mod named;
mod numbers;
mod observer;
mod receive;
mod rng;
mod scenario;
mod send;
mod source;
mod summary;
pub mod swarm;
mod tally;
mod tx;
mod violation;
mod world;

pub use clock::ClockConfig;
pub use content::{Body, Content};
pub use disk::{DiskConfig, Written};
pub use fact::{Fact, Gauges, Planned, TraceHash};
pub use link::{JITTER_PERIOD, LinkConfig, LossCause, Policer};
pub use loss::Loss;
pub use observer::Printer;
pub use rng::Rng;
pub use scenario::{Expect, Scenario};
pub use source::{Known, SourceConfig};
pub use summary::Summary;
pub use tally::Tally;
pub use violation::Violation;
pub use world::{Outcome, run, run_twice};
