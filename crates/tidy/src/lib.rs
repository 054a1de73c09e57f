//! Tests that keep the shape, so that nobody has to remember it.
//!
//! Nothing to use here: `tests/` holds the rules. `sizes` watches files, functions and columns,
//! `arrows` the layers between crates and which crate may touch which package, `words` left-overs,
//! names and the entries of the project's top folder.
