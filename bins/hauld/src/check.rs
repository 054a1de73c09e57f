//! `hauld --check-config`: what a policy says of somebody, without serving anybody.

use std::{
    ffi::OsString,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use haul_policy::{Policy, USUAL_PLACE, Visitor};
use jiff::Timestamp;

/// Tells what a policy allows a user, and which section says so.
#[derive(Debug, Parser)]
#[command(name = "hauld --check-config", version, max_term_width = 100)]
struct CheckArgs {
    /// The policy
    #[arg(long, value_name = "FILE", default_value = USUAL_PLACE)]
    config: PathBuf,
    /// The fingerprint of the key that is used
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// A group of the user's on this machine; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// The name of the account
    user: String,
    /// Where the user comes from
    address: Option<IpAddr>,
}

/// 0 when the user may come in, 1 when not, 2 when the policy is none.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let name = OsString::from("hauld --check-config");
    let args = match CheckArgs::try_parse_from(std::iter::once(&name).chain(words)) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let policy = match Policy::load(&args.config) {
        Ok(policy) => policy,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hauld: {error}");
            return ExitCode::from(2);
        }
    };
    let visitor = Visitor {
        user: args.user,
        groups: args.group,
        address: args.address,
        key: args.key,
        now: Timestamp::now(),
    };
    let mut out = io::stdout();
    let told = match (policy.admit(&visitor), policy.rules(&visitor)) {
        (Ok(rules), _) => write!(out, "{}", rules.explained()).map(|()| ExitCode::SUCCESS),
        // What would hold if the visitor could come helps to see why not.
        (Err(refusal), rules) => writeln!(out, "refused ({}): {refusal}", refusal.code)
            .and_then(|()| match rules {
                Ok(rules) => write!(out, "{}", rules.explained()),
                Err(_) => Ok(()),
            })
            .map(|()| ExitCode::from(1)),
    };
    told.unwrap_or(ExitCode::FAILURE)
}
