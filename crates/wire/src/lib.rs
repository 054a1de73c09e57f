//! Byte layouts of everything that crosses the network, and the newtypes that name things.
//!
//! Nothing here performs I/O, reads a clock or holds a key: bytes in, values out, and back. Every
//! decoder takes untrusted input, allocates no more than its input is long, and never panics.
//!
//! One datagram of the data path:
//!
//! ```text
//!  0               16      24                                       n-16            n
//! ┌───────────────┬───────┬────────────────────────────────────────┬───────────────┐
//! │ header        │ block │ block bytes, or a part of them         │ tag           │
//! │ (clear)       │ addr  │                                        │               │
//! └───────────────┴───────┴────────────────────────────────────────┴───────────────┘
//!                 ╰─────────── encrypted ─────────────────────────╯
//!  ╰──────────────────────── authenticated ───────────────────────╯
//! ```
//!
//! Other kinds ([`Kind`]) carry a postcard-encoded value ([`Report`], [`path`]) in place of address
//! and block, optionally followed by padding.

mod block;
pub mod control;
mod error;
mod header;
mod id;
pub mod path;
mod report;
mod suite;

pub use block::{
    BLOCK_ADDR_LEN, BlockAddr, PARTS_MAX, Part, Stream, block_len, part_len, parts_needed,
    segment_len,
};
pub use error::WireError;
pub use header::{HEADER_LEN, Header, Kind, PROTOCOL_VERSION, TAG_LEN};
pub use id::{BlockNo, Lane, PacketCounter, PacketNo, PacketRun, SessionId};
pub use report::{MAX_REPORT_RANGES, MAX_REPORT_SAMPLES, Report};
pub use suite::{SuiteId, UnknownSuite};

/// Bytes a sealed segment has beside its block: header, block address and tag.
pub const SEGMENT_OVERHEAD: usize = HEADER_LEN + BLOCK_ADDR_LEN + TAG_LEN;
