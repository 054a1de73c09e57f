//! Stand-alone haul server with an embedded SSH server.

fn main() {}
