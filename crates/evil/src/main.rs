//! A peer that follows a script instead of the protocol, for tests: it shakes hands as an honest end
//! does, up to where its scenario deviates.
//!
//! ```text
//! haul --ssh-program 'haul-evil server SCENARIO' …       the other end of an honest haul
//! haul-evil client SCENARIO PROGRAM ARGUMENT…            starts an honest other end and talks to it
//! ```
//!
//! Scenarios are named by the cases of docs/HOSTILE.md. What it hears at last it says on standard
//! error; as a client it ends with the status of the program that it started.

#![allow(
    clippy::print_stderr,
    reason = "a program for tests, which read what it says"
)]

mod client;
mod flow;
mod server;
mod shake;
mod talk;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

use crate::talk::Talk;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(status) => ExitCode::from(status),
        // That the other end hangs up is what most scenarios are about.
        Err(error) => {
            eprintln!("haul-evil: {error:#}");
            ExitCode::from(99)
        }
    }
}

fn run(words: &[String]) -> anyhow::Result<u8> {
    match words {
        // What ssh would be told follows, and says nothing to this.
        [role, scenario, ..] if role == "server" => {
            let talk = Talk::new(std::io::stdin(), std::io::stdout());
            server::play(scenario, talk)?;
            Ok(0)
        }
        [role, scenario, program, arguments @ ..] if role == "client" => {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context(program.clone())?;
            let reader = child.stdout.take().context("no output")?;
            let writer = child.stdin.take().context("no input")?;
            let played = client::play(scenario, Talk::new(reader, writer));
            let status = child.wait()?;
            match played {
                Ok(words) => eprintln!("haul-evil: last words: {words}"),
                Err(error) => eprintln!("haul-evil: {error:#}"),
            }
            let status = status.code().context("it was killed")?;
            Ok(u8::try_from(status)?)
        }
        _ => bail!("server SCENARIO, or client SCENARIO PROGRAM ARGUMENT…"),
    }
}
