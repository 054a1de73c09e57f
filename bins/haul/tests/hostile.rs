//! Hostile and unlucky: what no honest peer does, what no disk should do, and ends that die. Whole
//! processes on this machine; docs/HOSTILE.md says which test shows which case.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "hostile/calls.rs"]
mod calls;
#[path = "fixture/disk.rs"]
mod disk;
#[path = "hostile/disks.rs"]
mod disks;
#[path = "fixture/ends.rs"]
mod ends;
#[path = "hostile/journals.rs"]
mod journals;
#[path = "hostile/judging.rs"]
mod judging;
#[path = "hostile/kills.rs"]
mod kills;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "fixture/noise.rs"]
mod noise;
#[path = "fixture/outcome.rs"]
mod outcome;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "fixture/site.rs"]
mod site;
#[path = "hostile/strays.rs"]
mod strays;
#[path = "hostile/swaps.rs"]
mod swaps;
#[path = "fixture/tree.rs"]
mod tree;
