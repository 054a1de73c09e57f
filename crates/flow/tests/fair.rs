//! The policy `fair` against a packet-level model of one bottleneck (`fair/bottleneck.rs`, `flow.rs`, `host.rs`).
//!
//! Every number is stated as a share of what is physically there: C·(1−p) for a path of rate C that
//! loses p. Times are simulated. A failing run names its path and seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

#[path = "fair/anywhere.rs"]
mod anywhere;
#[path = "fair/beginning.rs"]
mod beginning;
#[path = "fair/bottleneck.rs"]
mod bottleneck;
#[path = "fair/changes.rs"]
mod changes;
#[path = "fair/company.rs"]
mod company;
#[path = "fair/compete.rs"]
mod compete;
#[path = "fair/cubic.rs"]
mod cubic;
#[path = "fair/floor.rs"]
mod floor;
#[path = "fair/flow.rs"]
mod flow;
#[path = "fair/host.rs"]
mod host;
#[path = "fair/interface.rs"]
mod interface;
#[path = "fair/jitter.rs"]
mod jitter;
#[path = "fair/limited.rs"]
mod limited;
#[path = "fair/marks.rs"]
mod marks;
#[path = "fair/steady.rs"]
mod steady;
#[path = "fair/traps.rs"]
mod traps;
