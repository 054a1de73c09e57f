//! Stand-alone haul server with an embedded SSH server, for machines without sshd.
//!
//! It needs no root: it serves one directory tree, as the user who runs it, to whoever holds a key
//! listed in its authorized keys. The transfer itself is the same code that `haul --remote` runs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod cap;
mod check;
mod door;
mod keys;
mod listen;
mod session;

use std::{
    io::Write,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use clap::Parser;
use haul_log::Log;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{args::Args, listen::Server};

#[tokio::main]
async fn main() -> ExitCode {
    // Keys belong in no core file. Where the system will not have it so, that is no reason to fail.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--check-config") {
        return check::run(&words[2..]);
    }
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    if let Some(place) = &args.log {
        *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(Log::open(place, "hauld")?);
        log(&format!("hauld {} begins", env!("CARGO_PKG_VERSION")));
    }
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

/// What `--log` asked for.
static LOG: Mutex<Option<Log>> = Mutex::new(None);

/// One line on standard error and in the log. A log that cannot be written must not end a transfer.
fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "hauld: {line}");
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Err(error)) = log.as_mut().map(|log| log.line(line)) {
        *log = None;
        let _ = writeln!(std::io::stderr(), "hauld: the log ends here: {error}");
    }
}
