//! Batches to and from a UDP socket, with segmentation and receive offload where the kernel has them.
//!
//! One [`UdpPath`] is one socket with one peer, who may move. A whole [`haul_batch::Batch`] is one system call with
//! GSO; where the kernel or a driver refuses, the same bytes go out one datagram at a time. Nothing
//! here knows what the bytes mean, and nothing here decides when to send them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod receive;
mod send;
mod socket;

pub use error::UdpError;
pub use receive::{Arrival, Ecn, RECEIVE_SLOTS, Received};
pub use send::SendOutcome;
pub use socket::{BUFFER_BYTES_WANTED, BufferSizes, Route, UdpPath};
