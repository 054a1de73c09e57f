//! Measures links, machines and rivals: what a network engineer would ask of haul.
//!
//! Every subcommand fills one [`report::Report`], which is shown as a table and, on request, written
//! as JSON or as a page with plots.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod amount;
mod contender;
mod crypto;
mod disk;
mod errand;
mod lab;
mod ladder;
mod limits;
mod link;
mod measure;
mod peers;
mod report;
mod run;
mod share;
mod signals;
mod wan;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Outputs;

/// Measure links, machines and rivals.
#[derive(Debug, Parser)]
#[command(name = "haul-bench", version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the path to a host, memory to memory, in both directions, and tell what limits it
    Link(measure::Args),
    /// Measure how fast a directory is read and written the way haul does it
    Disk(disk::Args),
    /// Measure how fast this machine seals and opens, by suite
    Crypto(crypto::Args),
    /// Run haul over an emulated wide-area network: the named links, or a grid of your own
    Wan(wan::Args),
    /// Put haul beside TCP, or beside itself, on one bottleneck and tell who gets what
    Share(share::Args),
    /// Race haul against scp, rsync and whatever else is installed, on the same link in one run
    Peers(peers::Args),
    /// Run any command at the near end of an emulated link; `ssh -F "$LAB/config" far` reaches the
    /// far end
    Shell(wan::ShellArgs),
    /// Prove that the emulation adds nothing of its own
    Prove(wan::ProveArgs),
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("haul-bench: error: {error:#}");
            // What haul ended with says more than that it failed.
            let status = error.downcast_ref::<measure::HaulFailed>();
            ExitCode::from(status.map_or(1, |failed| failed.status))
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    signals::watch()?;
    let report = match args.command {
        Command::Link(link) => measure::run(&link)?,
        Command::Disk(disk) => disk::run(&disk)?,
        Command::Crypto(crypto) => crypto::run(&crypto)?,
        Command::Wan(wan) => wan::run(&wan)?,
        Command::Peers(peers) => peers::run(&peers)?,
        Command::Share(share) => share::run(&share)?,
        Command::Shell(shell) => return wan::shell(&shell),
        Command::Prove(prove) => wan::prove(&prove)?,
    };
    args.outputs.write(&report)?;
    Ok(if report.passes() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
