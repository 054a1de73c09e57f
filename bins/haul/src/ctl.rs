//! `haul --ctl`: says one command on a control socket and shows the answers.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use clap::Parser;
use haul_transfer::ErrorCode;
use serde_json::Value;

use crate::{args::CtlArgs, failure::Failure};

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    /// Nobody listens.
    #[error("{socket}: {source}; is there a haul running with --control {socket}?")]
    Connect {
        /// The path, escaped.
        socket: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// The transfer refuses.
    #[error("{0}")]
    Refused(String),
    /// The transfer has ended instead of answering.
    #[error("the transfer ended before it answered")]
    Ended,
}

impl CtlError {
    /// Its line in the table of exit statuses.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Connect { .. } => ErrorCode::Unreachable,
            Self::Refused(_) => ErrorCode::Usage,
            Self::Ended => ErrorCode::ConnectionLost,
        }
    }
}

/// Says what the arguments after `--ctl` say.
pub(crate) fn run(typed: &[OsString]) -> Result<(), Failure> {
    let program = OsString::from("haul --ctl");
    let args = CtlArgs::try_parse_from(std::iter::once(&program).chain(typed))?;
    Ok(converse(&args)?)
}

fn converse(args: &CtlArgs) -> Result<(), CtlError> {
    let connect = |source| CtlError::Connect {
        socket: args.socket.display().to_string().escape_debug().to_string(),
        source,
    };
    let mut stream = UnixStream::connect(&args.socket).map_err(connect)?;
    let command = args.command.join(" ");
    writeln!(stream, "{command}").map_err(|_| CtlError::Ended)?;
    let watching = command.trim() == "watch";
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let answer = lines.next().ok_or(CtlError::Ended)?;
    let parsed: Value = serde_json::from_str(&answer).unwrap_or_default();
    if let Some(why) = parsed["error"].as_str() {
        return Err(CtlError::Refused(why.to_owned()));
    }
    if !watching {
        // A reader that has gone has seen enough.
        let _ = writeln!(io::stdout(), "{answer}");
        return Ok(());
    }
    for line in lines {
        if writeln!(io::stdout(), "{line}").is_err() {
            break;
        }
    }
    Ok(())
}
