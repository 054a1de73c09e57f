//! Six stages, one driver, bounded queues: the running data path.
//!
//! ```text
//!  sending line                                            receiving line
//!
//!  scan ─┐ Available                                       rx ──► open ──► write
//!        ▼                                                  │       │        │
//!  driver ──Plan──► read ──► seal ──► tx ═══ UDP ═══►       │       │ Facts  │ Written
//!        ▲                             │                    │       ▼        ▼
//!        ├──────────── Sent ◄──────────┘                    │     driver ◄───┘
//!        └──────────── Report ◄─── feedback ◄═══ UDP ═══════╪═══════╛
//! ```
//!
//! Every arrow between threads is a bounded channel that carries whole batches or facts about them,
//! never single packets. The drivers own the flow machines and decide; the stages only move. What
//! bounds memory is the pool of each line: a full line shows as "no free buffer" in one place.
//! Shutdown is disconnect: when the driver ends, its channels close and the line drains stage by
//! stage. An error or a panic in any stage reaches the driver, which reports it and ends.
//!
//! [`send()`] and [`receive()`] start a line and return a [`Running`] handle.

mod clock;
mod driver;
mod error;
mod newest;
mod running;
mod setup;
mod stage;
mod stats;

pub use error::{EngineError, Stage};
pub use running::{EngineEvent, Running, Stopped, receive, send};
pub use setup::{Knock, Link, OnEvent, ReceiveSetup, SendSetup};
pub use stats::{Snapshot, StageTimes};
