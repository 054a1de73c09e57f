//! Hostile and unlucky: what no honest peer does, what no disk should do, and ends that die. Whole
//! processes on this machine; docs/HOSTILE.md says which test shows which case.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "hostile/calls.rs"]
mod calls;
#[path = "hostile/disks.rs"]
mod disks;
#[path = "hostile/journals.rs"]
mod journals;
#[path = "hostile/kills.rs"]
mod kills;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/site.rs"]
mod site;
#[path = "hostile/strays.rs"]
mod strays;
#[path = "hostile/swaps.rs"]
mod swaps;
