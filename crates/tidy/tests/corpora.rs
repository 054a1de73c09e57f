//! Every committed fuzz input of the pure decoders, through the checks of its fuzz target.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../../fuzz/src/pure/mod.rs"]
mod pure;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/seeds/mod.rs"]
mod seeds;

use std::path::Path;

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

#[test]
fn control_frame() {
    replay::replay(fuzz(), "control_frame", pure::control_frame::check);
}

#[test]
fn datagram() {
    replay::replay(fuzz(), "datagram", pure::datagram::check);
}

#[test]
fn flow_receiver() {
    replay::replay(fuzz(), "flow_receiver", pure::flow_receiver::check);
}

#[test]
fn list_entries() {
    replay::replay(fuzz(), "list_entries", pure::list_entries::check);
}

#[test]
fn path_bodies() {
    replay::replay(fuzz(), "path_bodies", pure::path_bodies::check);
}

#[test]
fn report() {
    replay::replay(fuzz(), "report", pure::report::check);
}

#[test]
#[ignore = "writes fuzz/corpus anew: for a change of what is on the wire"]
fn write_seeds() {
    seeds::write(&fuzz().join("corpus")).unwrap();
}
