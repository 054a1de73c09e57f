//! Stand-alone haul server with an embedded SSH server, for machines without sshd.
//!
//! It needs no root: it serves one directory tree, as the user who runs it, to whoever holds a key
//! listed in its authorized keys. The transfer itself is the same code that `haul --remote` runs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod cap;
mod door;
mod keys;
mod listen;
mod session;

use std::{io::Write, process::ExitCode};

use clap::Parser;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{args::Args, listen::Server};

#[tokio::main]
async fn main() -> ExitCode {
    // Keys belong in no core file. Where the system will not have it so, that is no reason to fail.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let host_key = keys::host_key(&args.host_key_file()?)?;
    let fingerprint = keys::fingerprint(&host_key);
    let server = Server::bind(args, host_key).await?;
    // The one line on standard output: scripts wait for it and read the port from it.
    writeln!(
        std::io::stdout(),
        "listening on {} host key {fingerprint}",
        server.address()?
    )?;
    server.run().await
}

/// One line on standard error. A log that cannot be written must not end a transfer.
fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "hauld: {line}");
}
