//! What every fuzz target checks. A check takes any bytes, panics when a promise is broken, and
//! says whether the bytes were accepted as valid.
//!
//! ```text
//! targets/X.rs ── libFuzzer ──────────────► X::check ◄── replay.rs ── the workspace's tests
//!                 corpus/X, and mutations                corpus/X
//! ```
//!
//! The checks in [`pure`] need no socket, file or clock. The tests include these files by path, so
//! every change is judged by the committed corpora without libFuzzer and without a nightly compiler.

pub mod known_hosts;
#[path = "../../bins/haul/src/place.rs"]
mod place;
pub mod places;
pub mod pure;
pub mod ssh_config;
#[path = "../../bins/haul/src/url.rs"]
mod url;
