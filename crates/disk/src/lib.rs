//! File extents into and out of batches, walking, attributes, atomic finish, and the [`Root`]
//! through which every name becomes a file.
//!
//! ```text
//!  sender                                            receiver
//!  sources → scan → list ──blocks──►  list → directories, partial files
//!               └→ content map                └→ content map
//!  files ──preadv──► batch slots ═══► batch slots ──pwritev──► partial files → rename
//! ```
//!
//! The sending half is [`Outgoing`], the receiving half [`Incoming`]; [`Synthetic`] and [`Discard`]
//! take their places where only the path between them is to be measured. What a user typed becomes
//! paths through [`expand_source`] and [`Landing::resolve`]; what the peer says becomes files only
//! through [`Root`], one checked name at a time, by held directory descriptors, never following a
//! symbolic link.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bounds;
mod digest;
mod error;
mod incoming;
mod landing;
mod lru;
mod outgoing;
mod pattern;
mod root;
mod source;
mod supply;
mod unkept;
mod xattr;

pub use bounds::{Bounds, NameRule};
pub use digest::{DigestOptions, Digests};
pub use error::{DiskError, FailureKind, FileFailure};
pub use haul_wire::control::{
    Act, Change, Fsync, Had, Overwrite, Placing, Preserve, Resume, Symlinks,
};
pub use incoming::{
    Discard, FileEvent, Incoming, LeftOut, Outlet, Placed, ReceiveOptions, Received, Undeleted,
    has_leftovers,
};
pub use landing::{Asked, Expected, Landing};
pub use outgoing::{
    Available, CleanUp, Cleaned, Outgoing, PatternError, Portion, Proofs, Protection, ScanOptions,
    Selection, Single, Synthetic, Target, Totals, Until, Wanted,
};
pub use root::Root;
pub use source::{expand_source, named};
pub use supply::{Sink, Supply};
pub use unkept::{Attribute, KeepError, Unkept};

/// How far content may run ahead of the part of the list that has been delivered. The receiver
/// keeps what it cannot place yet in memory.
pub const CONTENT_AHEAD_BYTES: u64 = 16 << 20;
/// Most bytes that a receiver keeps waiting; twice what an honest sender can cause.
pub const WAITING_BYTES_MAX: u64 = 2 * CONTENT_AHEAD_BYTES;
/// Most failures that are kept by name; the rest are counted.
pub const FAILURES_KEPT: usize = 100;
