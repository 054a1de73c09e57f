//! Sessions against a real sshd on the loopback interface.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod authentication;
mod command;
mod hosts;
mod program;
#[path = "../prompts/mod.rs"]
mod prompts;
mod server;
