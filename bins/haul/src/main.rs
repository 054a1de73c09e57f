//! Moves files at the speed of the link over sealed UDP.

fn main() {}
