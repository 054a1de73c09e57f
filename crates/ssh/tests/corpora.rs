//! Every committed fuzz input of known hosts and configurations, through the checks of its target.
#![allow(missing_docs, unreachable_pub)]

#[path = "../../../fuzz/src/known_hosts.rs"]
mod known_hosts;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/ssh_config.rs"]
mod ssh_config;

use std::path::Path;

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

#[test]
fn known_hosts() {
    replay::replay(fuzz(), "known_hosts", known_hosts::check);
}

#[test]
fn ssh_config() {
    replay::replay(fuzz(), "ssh_config", ssh_config::check);
}
