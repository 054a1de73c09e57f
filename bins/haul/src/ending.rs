//! Finds the first cause of an end: when the conversation merely broke off, the remote command's
//! exit status and last words say why.

use std::time::Duration;

use haul_ssh::{Remote, RemoteExit, SshError};
use haul_transfer::{ErrorCode, Summary, TransferError};

use crate::failure::Failure;

/// How long a remote command may take to end once nobody talks to it any more.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);
/// What a shell exits with when it cannot run, or find, a command (POSIX XCU 2.8.2).
const NOT_RUN: [i32; 2] = [126, 127];
/// What ssh(1) exits with when ssh itself failed.
const SSH_FAILED: i32 = 255;
/// Most characters of the remote command's words that are told.
const WORDS_MAX: usize = 400;

/// Turns the transfer's end into the run's; waits for the remote command, so not for async code.
pub(crate) fn explain(
    result: Result<Summary, TransferError>,
    cancelled: bool,
    remote: Remote,
    host: &str,
) -> Result<Summary, Failure> {
    let error = match result {
        Ok(summary) => {
            // The verdict is in; how the connection ends changes nothing.
            let _ = remote.close();
            return Ok(summary);
        }
        Err(error) => error,
    };
    if cancelled {
        let _ = remote.close();
        return Err(TransferError::Cancelled { by_peer: false }.into());
    }
    let exit = remote.exit_status(EXIT_PATIENCE);
    let words = last_words(&remote.stderr());
    Err(first_cause(error, exit, words, host))
}

/// Only an end without a reason is replaced by one.
fn first_cause(
    error: TransferError,
    exit: Result<RemoteExit, SshError>,
    words: String,
    host: &str,
) -> Failure {
    if !matches!(
        error.code(),
        ErrorCode::RemoteMissing | ErrorCode::ConnectionLost
    ) {
        return error.into();
    }
    let told = !words.is_empty();
    let code = match exit {
        Err(SshError::Timeout(_)) => return error.into(),
        Err(lost) => return lost.into(),
        Ok(RemoteExit::Code(SSH_FAILED)) => ssh_code(&words),
        Ok(RemoteExit::Code(status)) if NOT_RUN.contains(&status) => ErrorCode::RemoteMissing,
        Ok(RemoteExit::Code(status)) => u8::try_from(status)
            .ok()
            .and_then(ErrorCode::from_wire)
            .unwrap_or_else(|| error.code()),
        Ok(RemoteExit::Signal(_) | RemoteExit::Abandoned) => error.code(),
    };
    if told {
        Failure::RemoteEnded {
            host: host.to_owned(),
            code,
            words,
        }
    } else {
        error.into()
    }
}

/// What kept ssh(1) from connecting, by its words: its exit status is always the same.
fn ssh_code(words: &str) -> ErrorCode {
    let says = |part: &str| words.contains(part);
    if says("Permission denied") || says("Too many authentication failures") {
        ErrorCode::Authentication
    } else if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        ErrorCode::HostKeyChanged
    } else if says("Host key verification failed") {
        ErrorCode::HostKeyUnknown
    } else if says("Connection to") || says("Connection closed") || says("Broken pipe") {
        ErrorCode::ConnectionLost
    } else {
        ErrorCode::Unreachable
    }
}

/// The last line that says something, without our own prefix.
fn last_words(stderr: &str) -> String {
    let line = stderr
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    let line = line.strip_prefix("haul: error: ").unwrap_or(line);
    line.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> TransferError {
        TransferError::RemoteMissing {
            output: String::new(),
        }
    }

    fn code(error: TransferError, status: i32, stderr: &str) -> ErrorCode {
        first_cause(
            error,
            Ok(RemoteExit::Code(status)),
            last_words(stderr),
            "host",
        )
        .code()
    }

    #[test]
    fn a_remote_that_says_why_is_believed() {
        assert_eq!(
            code(missing(), 127, "sh: haul: not found\n"),
            ErrorCode::RemoteMissing
        );
        assert_eq!(
            code(missing(), 15, "haul: error: this haul speaks protocol 1\n"),
            ErrorCode::VersionMismatch
        );
        assert_eq!(code(missing(), 78, "odd\n"), ErrorCode::RemoteMissing);
        assert_eq!(
            code(missing(), 77, "unauthorized to transfer\n"),
            ErrorCode::Unauthorized
        );
        assert_eq!(code(missing(), 15, ""), ErrorCode::RemoteMissing);
    }

    #[test]
    fn ssh_itself_is_understood_by_its_words() {
        for (words, expected) in [
            (
                "ann@host: Permission denied (publickey).",
                ErrorCode::Authentication,
            ),
            ("Host key verification failed.", ErrorCode::HostKeyUnknown),
            (
                "ssh: connect to host h port 22: Connection refused",
                ErrorCode::Unreachable,
            ),
            ("ssh: Could not resolve hostname h", ErrorCode::Unreachable),
            (
                "client_loop: send disconnect: Broken pipe",
                ErrorCode::ConnectionLost,
            ),
        ] {
            assert_eq!(code(missing(), 255, words), expected, "{words}");
        }
    }

    #[test]
    fn an_error_with_a_reason_stays() {
        let error = TransferError::NotPermitted("uploads");
        assert_eq!(code(error, 127, "noise"), ErrorCode::NotPermitted);
        let lost = first_cause(
            missing(),
            Err(SshError::Lost {
                message: "reset".to_owned(),
            }),
            String::new(),
            "host",
        );
        assert_eq!(lost.code(), ErrorCode::ConnectionLost);
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(last_words("banner\n\nhaul: error: no room\n\n"), "no room");
        assert_eq!(last_words(""), "");
        assert_eq!(last_words(&"x".repeat(1000)).len(), WORDS_MAX);
    }
}
