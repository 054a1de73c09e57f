//! Sender and receiver against each other over a path that misbehaves, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod hostile;
mod paths;
mod regressions;
mod resume;
mod silence;
mod world;
