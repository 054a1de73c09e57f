//! Moves files at the speed of the link over sealed UDP.
//!
//! ```text
//! args → job → client ── ssh: log in, run `haul --remote` there ──► remote
//!                │    ── transfer::initiate ◄─ conversation ─► transfer::respond
//!                ▼
//!              output → events (--json), screen (people)      failure → one line, one number
//! ```

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod access;
mod account;
mod amount;
mod args;
mod ask;
mod bound;
mod client;
mod ctl;
mod ending;
mod events;
mod failure;
mod hooks;
mod human;
mod job;
mod keep;
mod keys;
mod line;
mod lists;
mod logbook;
mod memory;
mod name;
mod output;
mod place;
mod protect;
mod remote;
mod report;
mod retry;
mod screen;
mod select;
mod signals;
mod socket;
mod steer;
mod streams;
mod taking;
mod token;
mod trace;
mod url;
mod version;
mod words;

use std::{ffi::OsString, process::ExitCode};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{failure::Failure, job::Job, output::Output};

fn main() -> ExitCode {
    // Keys belong in no core file. Where the system will not have it so, that is no reason to fail.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let typed: Vec<OsString> = std::env::args_os().collect();
    let result = match typed.get(1) {
        Some(first) if first == "--remote" => remote::run(&typed[2..]),
        Some(first) if first == "--ctl" => ctl::run(&typed[2..]),
        _ => transfer(typed),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.conclude(),
    }
}

fn transfer(typed: Vec<OsString>) -> Result<(), Failure> {
    let args = select::parse(typed)?;
    let mut output = Output::new(&args.output, &args.proof)?;
    let result = Job::resolve(&args)
        .map_err(Failure::from)
        .and_then(|job| client::run(job, &mut output));
    let accounts = output.close_accounts();
    let result = result.and(accounts);
    output.end(&result);
    result
}
