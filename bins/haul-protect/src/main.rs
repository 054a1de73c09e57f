//! Encrypts, decrypts and looks at protected files, which are age files.
//!
//! ```text
//!  args → keys: recipients, identities, passphrase      → work: one file after the other
//!                                                          place: output beside its final name, then there
//!                                                          failure: one line, one number
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod failure;
mod keys;
mod place;
mod work;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{args::Args, failure::Failure};

fn main() -> ExitCode {
    // Keys belong in no core file. Where the system will not have it so, that is no reason to fail.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let result = Args::try_parse()
        .map_err(Failure::CommandLine)
        .and_then(|args| work::run(&args.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.conclude(),
    }
}
