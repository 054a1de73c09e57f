//! An emulated wide-area link between two network namespaces of one machine.
//!
//! ```text
//!  near namespace                 this process                      far namespace
//!  10.77.0.1                                                        10.77.0.2
//!  programs ─► TUN ─► policer ─► queue at rate ─► loss ─► delay ─► TUN ─► programs
//!           ◄─ TUN ◄─ delay ◄─ loss ◄─ queue at rate ◄─ policer ◄─ TUN ◄─
//! ```
//!
//! Packets cross in **virtual time**: when a packet leaves the bottleneck follows from when it came,
//! the bytes before it and the rate alone, so that an emulator that is scheduled late makes a packet
//! late, but never changes the rate. [`Wan::start`] makes both namespaces, [`Wan::near`] and
//! [`Wan::far`] run programs in them, [`Wan::counters`] tells what became of every flow. Namespaces
//! and devices vanish with the process.
//!
//! Needs root, or a user namespace in which this process is root: see [`inside_user_namespace`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

mod counters;
mod emulator;
mod error;
mod flow;
mod icmp;
mod jitter;
mod link;
mod namespace;
mod pipe;
mod proof;

pub use counters::{Bucket, Counters, FlowCounter, SERIES_STEP};
pub use emulator::{FAR_ADDRESS, FAR_ADDRESS_V6, NEAR_ADDRESS, NEAR_ADDRESS_V6, Wan};
pub use error::WanError;
pub use flow::{Flow, Transport};
pub use link::{Burst, Direction, JITTER_PERIOD, Link, Policer, Reorder};
pub use namespace::{Namespace, inside_user_namespace};
pub use proof::Proof;
