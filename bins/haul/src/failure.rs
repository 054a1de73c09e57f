//! Everything that can end a run, as one line for people and one number for scripts.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use haul_log::LogError;
use haul_ssh::SshError;
use haul_transfer::{ErrorCode, TransferError, escaped, exit_code, system_code};

use crate::{
    account::AccountError, ctl::CtlError, hooks::HookError, job::JobError, remote::RemoteError,
    socket::SocketError, trace::TraceError,
};

/// Why a run did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line does not parse, or asks for help.
    #[error("{}", one_line(.0))]
    CommandLine(#[from] clap::Error),
    /// The command line parses, but makes no sense or names a missing file.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The trace that was asked for cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// What files came to cannot be written down.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The log that was asked for cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Events and the log are both to go to standard output.
    #[error("--json and -L - both want standard output; log to a directory instead")]
    TwoOutputs,
    /// A command around the run failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// There can be no control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A running transfer could not be steered.
    #[error(transparent)]
    Ctl(#[from] CtlError),
    /// No way into the other machine.
    #[error(transparent)]
    Login(#[from] SshError),
    /// The external SSH program connected somewhere, but the host has no address to send UDP to.
    #[error("cannot find an address of {host} for UDP: {source}")]
    NoAddress {
        /// The host name looked up.
        host: String,
        /// The resolver's word.
        source: io::Error,
    },
    /// The remote command ended before the transfer did, and said why.
    #[error("{host}: {words}")]
    RemoteEnded {
        /// Where it ran.
        host: String,
        /// What its exit status means.
        code: ErrorCode,
        /// The end of its standard error, escaped.
        words: String,
    },
    /// The transfer itself.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// What only the other end of a transfer can run into.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The user cancelled before there was a transfer.
    #[error("cancelled")]
    Cancelled,
    /// This machine gave no thread, socket or signal.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
}

impl Failure {
    /// Wraps a refusal of the system.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// Its line in the table of exit statuses.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::CommandLine(_)
            | Self::Trace(_)
            | Self::Log(_)
            | Self::Account(_)
            | Self::TwoOutputs
            | Self::Socket(_) => ErrorCode::Usage,
            Self::Hook(_) => ErrorCode::HookFailed,
            Self::Ctl(error) => error.code(),
            Self::Job(error) => error.code(),
            Self::Login(error) => login_code(error),
            Self::NoAddress { .. } => ErrorCode::Unreachable,
            Self::RemoteEnded { code, .. } => *code,
            Self::Transfer(error) => error.code(),
            Self::Remote(error) => error.code(),
            Self::Cancelled => ErrorCode::Cancelled,
            Self::System { source, .. } => system_code(source),
        }
    }

    /// What to do about it, unless the words above already say so.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CommandLine(_)
            | Self::NoAddress { .. }
            | Self::RemoteEnded { .. }
            | Self::Transfer(_)
            | Self::Cancelled => Some(exit_code(self.code()).hint),
            Self::Job(_)
            | Self::Trace(_)
            | Self::Account(_)
            | Self::Log(_)
            | Self::TwoOutputs
            | Self::Hook(_)
            | Self::Socket(_)
            | Self::Ctl(_)
            | Self::Login(_)
            | Self::Remote(_)
            | Self::System { .. } => None,
        }
    }

    /// Cause and cure on one line, whatever the words hold.
    pub(crate) fn line(&self) -> String {
        let cause = self.cause();
        match self.hint() {
            Some(hint) => format!("{}; {hint}", cause.trim_end_matches('.')),
            None => cause,
        }
    }

    /// The cause alone, on one line.
    pub(crate) fn cause(&self) -> String {
        let cause = self.to_string();
        let words: Vec<&str> = cause.split_whitespace().collect();
        words.join(" ")
    }

    /// Tells a person, and gives the exit status. Help and version are no failures.
    pub(crate) fn conclude(&self) -> ExitCode {
        if let Self::CommandLine(error) = self
            && !error.use_stderr()
        {
            // A reader that has seen enough (`haul --help | head`) is no failure either.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "haul: error: {}", self.line());
        ExitCode::from(self.code() as u8)
    }
}

/// The last line of a log: what a run ends with.
pub(crate) fn ending(failure: Option<&Failure>) -> String {
    match failure {
        None => "ends: status 0 (success)".to_owned(),
        Some(failure) => {
            let (code, why) = (failure.code(), failure.line());
            format!("ends: status {} ({}): {why}", code as u8, code.name())
        }
    }
}

/// clap's report without its usage line, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .filter(|paragraph| {
            !["Usage:", "For more"]
                .iter()
                .any(|start| paragraph.starts_with(start))
        })
        .collect();
    let text = paragraphs.join("; ");
    escaped(text.strip_prefix("error: ").unwrap_or(&text).as_bytes())
}

/// The table's line for a failure to log in.
fn login_code(error: &SshError) -> ErrorCode {
    match error {
        SshError::BadTarget { .. }
        | SshError::Config { .. }
        | SshError::ConfigFile { .. }
        | SshError::NeedsSshProgram { .. }
        | SshError::NoUser
        | SshError::BadPin(_)
        | SshError::KeyFile { .. }
        | SshError::Program { .. } => ErrorCode::Usage,
        SshError::UnknownHost { .. }
        | SshError::NoAddress { .. }
        | SshError::Unreachable { .. }
        | SshError::Timeout(_)
        | SshError::Handshake { .. } => ErrorCode::Unreachable,
        SshError::HostKeyUnknown { .. }
        | SshError::HostKeyType { .. }
        | SshError::KnownHosts { .. } => ErrorCode::HostKeyUnknown,
        SshError::HostKeyChanged { .. }
        | SshError::HostKeyRevoked { .. }
        | SshError::HostKeyPin { .. }
        | SshError::HostKeyReplaced => ErrorCode::HostKeyChanged,
        SshError::NoIdentity { .. } | SshError::AuthenticationFailed { .. } => {
            ErrorCode::Authentication
        }
        SshError::RemoteCommandRefused { .. } => ErrorCode::RemoteMissing,
        SshError::Lost { .. } => ErrorCode::ConnectionLost,
        SshError::System { source, .. } => system_code(source),
        SshError::WorkerDied => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use haul_transfer::EXIT_CODES;

    use super::*;
    use crate::args::Args;

    fn typed(line: &[&str]) -> String {
        let error = Args::try_parse_from(std::iter::once(&"haul").chain(line)).expect_err("parses");
        let failure = Failure::from(error);
        assert_eq!(failure.code(), ErrorCode::Usage);
        failure.line()
    }

    #[test]
    fn usage_errors_fit_one_line_with_cause_and_cure() {
        assert_eq!(
            typed(&["--jsom", "a", "h:"]),
            "unexpected argument '--jsom' found; tip: a similar argument exists: '--json'; \
             see haul --help"
        );
        for (line, words) in [
            (&["-c", "3des", "a", "h:"][..], "Sweet32"),
            (&["-c", "rot13", "a", "h:"], "unknown cipher"),
            (&["-l", "300MB", "a", "h:"], "bits per second"),
            (&["--policy", "rude", "a", "h:"], "fair, fixed, high, low"),
            (&["-O", "0", "a", "h:"], "UDP port"),
            (&["--x\u{1b}[2J", "a", "h:"], "unexpected argument"),
        ] {
            let text = typed(line);
            assert!(text.contains(words), "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn the_documented_table_is_the_one_in_force() {
        let table: Vec<String> = EXIT_CODES
            .iter()
            .map(|line| {
                let again = if line.retryable { "yes" } else { "no" };
                format!(
                    "| {} | `{}` | {} | {} | {again} |",
                    line.code as u8,
                    line.code.name(),
                    line.meaning,
                    line.hint
                )
            })
            .collect();
        let document = include_str!("../../../docs/CLI.md");
        let documented: Vec<&str> = document
            .lines()
            .skip_while(|line| *line != "## Exit status")
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(
            documented,
            table,
            "docs/CLI.md should have\n{}",
            table.join("\n")
        );
    }

    #[test]
    fn every_cause_of_others_has_a_status_that_exists() {
        let document = include_str!("../../../docs/ERRORS.md");
        let rows: Vec<Vec<&str>> = document
            .lines()
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line[1..line.len() - 1].split('|').map(str::trim).collect())
            .collect();
        for (number, row) in rows.iter().enumerate() {
            let [cause, words, name, again, _] = row[..] else {
                panic!("{row:?}");
            };
            assert_eq!(cause, number.to_string(), "{row:?}");
            assert!(!words.is_empty(), "{row:?}");
            if name == "-" {
                assert_eq!(again, "-", "{row:?}");
                continue;
            }
            let known = |line: &&haul_transfer::ExitCode| name == format!("`{}`", line.code.name());
            let line = EXIT_CODES.iter().find(known);
            let line = line.unwrap_or_else(|| panic!("{name} is no status: {row:?}"));
            assert_eq!(again, if line.retryable { "yes" } else { "no" }, "{row:?}");
        }
        assert_eq!(rows.len(), 67);
    }

    #[test]
    fn the_systems_words_stay_on_the_line() {
        let failure = Failure::System {
            what: "a\nb",
            source: io::Error::other("c\nd"),
        };
        assert_eq!(failure.line(), "a b: c d");
    }
}
