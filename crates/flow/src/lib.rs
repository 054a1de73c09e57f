//! Which block goes when: loss, gaps, RTT, pacing, rate policies.
//!
//! Nothing here performs I/O, reads a clock, starts a thread or draws randomness: time and seed are
//! arguments, inputs are `handle_*`, outputs are `poll_*`. [`Sender`] decides what the next batch
//! holds and when it may leave; [`Receiver`] turns arrivals into reports; a [`RatePolicy`] decides
//! the rate and nothing else.
//!
//! ```text
//!                   handle_had
//!            handle_available, handle_complete        handle_packet, handle_written, handle_free
//!                        │                                          │
//!                        ▼            DATA (Plan)                   ▼
//!                    ┌────────┐ ────────────────────────────► ┌──────────┐
//!                    │ Sender │            SYNC               │ Receiver │
//!                    │        │ ────────────────────────────► │          │
//!                    │        │           REPORT              │          │
//!                    └────────┘ ◄──────────────────────────── └──────────┘
//!                        │
//!                        ▼ Sample → RatePolicy → rate
//! ```
//!
//! Loss is judged on packet numbers, delivery on blocks: every transmission has a new number, so a
//! retransmission is never ambiguous (RFC 9002, section 2). A packet is declared lost only when a
//! report spoke of its number and did not have it; a report that is lost costs delay, never a
//! duplicate.
//!
//! # Call order
//!
//! After any `handle_*` call, call every `poll_*` method that returns an `Option` of something to
//! do until it returns `None`, then sleep until `poll_timeout` or the next input, and at a time-out
//! call `handle_timeout` first. All times given to one object come from one monotonic clock that is
//! zero at the session's beginning; an earlier time than before is treated as the time before.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod bits;
mod config;
mod error;
mod interval;
mod plan;
mod random;
pub mod rate;
mod receiver;
mod sender;
mod stats;
mod time;

pub use config::{PLAN_BLOCKS_MAX, ReceiverConfig, SenderConfig};
pub use error::FlowError;
use interval::report_interval;
pub use plan::Plan;
pub use rate::{
    Decision, Estimates, Mode, Policy, RateConfig, RatePolicy, Remembered, Sample, UnknownPolicy,
    Why,
};
pub use receiver::Receiver;
pub use sender::{EcnFault, EcnState, Sender};
pub use stats::{ReceiverStats, SenderStats};
pub use time::Time;
