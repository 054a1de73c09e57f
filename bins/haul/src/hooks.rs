//! `--pre` and `--post`: commands that run on this machine before a run connects and after it has ended.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd, unix::ffi::OsStringExt},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

use haul_transfer::{Direction, Summary, TransferError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Command, sync::watch};

use crate::{args::HookArgs, failure::Failure, report::Report, signals};

/// The group of the command that runs; 0 while none does.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before anybody connects.
    Pre,
    /// After the end, whatever it was.
    Post,
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// It says so.
    #[error("the command of {} ended with {status}; {}", .hook.option(), .hook.state())]
    Failed {
        /// Which one.
        hook: Hook,
        /// How it ended.
        status: ExitStatus,
    },
    /// There is no shell, or no process to be had.
    #[error("cannot run the command of {}: {source}; {}", .hook.option(), .hook.state())]
    Start {
        /// Which one.
        hook: Hook,
        /// The system's reason.
        source: io::Error,
    },
}

impl Hook {
    /// As it was typed.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Pre => "--pre",
            Self::Post => "--post",
        }
    }

    fn state(self) -> &'static str {
        match self {
            Self::Pre => "nothing was connected",
            Self::Post => "the transfer had ended before",
        }
    }
}

/// The commands of a run, and what they are told in their environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    pre: Option<OsString>,
    post: Option<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Hooks {
    /// As the command line asks.
    pub(crate) fn new(
        args: &HookArgs,
        target: &haul_ssh::Target,
        job: &haul_transfer::Job,
    ) -> Self {
        let direction = match job.direction {
            Direction::Upload => "upload",
            Direction::Download => "download",
        };
        let destination = OsString::from_vec(job.destination.clone());
        Self {
            pre: args.pre.clone(),
            post: args.post.clone(),
            environment: vec![
                ("HAUL_DIRECTION", direction.into()),
                ("HAUL_HOST", target.host.clone().into()),
                ("HAUL_USER", target.user.clone().unwrap_or_default().into()),
                ("HAUL_DESTINATION", destination),
                ("HAUL_SOURCE_COUNT", job.sources.len().to_string().into()),
            ],
        }
    }

    /// Runs the command that goes before.
    ///
    /// # Errors
    /// [`Failure::Hook`] when it fails, [`Failure::Cancelled`] at a signal.
    pub(crate) async fn before(&self, cancel: watch::Receiver<bool>) -> Result<(), Failure> {
        match &self.pre {
            Some(command) => self.run(Hook::Pre, command, Vec::new(), cancel).await,
            None => Ok(()),
        }
    }

    /// Runs the command that comes after, and tells it how the run went.
    ///
    /// # Errors
    /// As for [`Self::before`].
    pub(crate) async fn after(
        &self,
        result: &Result<Summary, Failure>,
        report: &Report,
        cancel: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        match &self.post {
            Some(command) => {
                let outcome = outcome(result, report);
                self.run(Hook::Post, command, outcome, cancel).await
            }
            None => Ok(()),
        }
    }

    async fn run(
        &self,
        hook: Hook,
        command: &OsString,
        more: Vec<(&'static str, String)>,
        cancel: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let failed = |source| HookError::Start { hook, source };
        // After a run that was cancelled the next signal is the second one, which ends everything. Looked
        // at before there is a command: a signal may come as soon as there is.
        let mut listens = !*cancel.borrow();
        // Standard output is for events.
        let output = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .envs(self.environment.iter().cloned())
            .envs(more)
            .stdin(Stdio::null())
            .stdout(output)
            // A group of its own, so that a signal reaches all that it has started.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        RUNNING.store(
            group.map_or(0, |group| group.as_raw_nonzero().get()),
            Relaxed,
        );
        let mut interrupted = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = signals::cancelled(cancel.clone()), if listens => {
                    (listens, interrupted) = (false, true);
                    send(group, Signal::TERM);
                }
            }
        };
        RUNNING.store(0, Relaxed);
        match status.map_err(failed)? {
            _ if interrupted => Err(Failure::Cancelled),
            status if status.success() => Ok(()),
            status => Err(HookError::Failed { hook, status }.into()),
        }
    }
}

/// Ends the command that runs, and what it has started, if there is one: this process ends at once.
pub(crate) fn end() {
    send(Pid::from_raw(RUNNING.load(Relaxed)), Signal::KILL);
}

fn send(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that has gone needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

fn outcome(result: &Result<Summary, Failure>, report: &Report) -> Vec<(&'static str, String)> {
    let (summary, error) = match result {
        Ok(summary) => (Some(summary), None),
        Err(failure @ Failure::Transfer(TransferError::Partial { summary, .. })) => {
            (Some(&**summary), Some(failure))
        }
        Err(failure) => (None, Some(failure)),
    };
    let (bytes, files) = summary.map_or_else(
        || report.arrived(),
        |summary| (summary.bytes, summary.files),
    );
    let code = error.map(Failure::code);
    let status = code.map_or(0, |code| code as u8);
    vec![
        ("HAUL_STATUS", status.to_string()),
        (
            "HAUL_STATUS_NAME",
            code.map_or("success", |code| code.name()).to_owned(),
        ),
        ("HAUL_FILES", files.to_string()),
        ("HAUL_BYTES", bytes.to_string()),
        (
            "HAUL_SECONDS",
            format!("{:.3}", report.elapsed().as_secs_f64()),
        ),
        (
            "HAUL_FAILED",
            summary.map_or(0, |summary| summary.failed).to_string(),
        ),
        ("HAUL_RETRIES", report.retry_count().to_string()),
        ("HAUL_ERROR", error.map(Failure::cause).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::summary;

    fn told(result: &Result<Summary, Failure>, name: &str) -> String {
        let outcome = outcome(result, &Report::new());
        let found = outcome.into_iter().find(|(known, _)| *known == name);
        found.unwrap().1
    }

    #[test]
    fn the_outcome_is_told_of_each_kind_of_end() {
        let success = Ok(summary());
        assert_eq!(told(&success, "HAUL_STATUS"), "0");
        assert_eq!(told(&success, "HAUL_STATUS_NAME"), "success");
        assert_eq!(told(&success, "HAUL_FILES"), "20000");
        assert_eq!(told(&success, "HAUL_ERROR"), "");
        let partial = Err(Failure::Transfer(TransferError::Partial {
            failures: Vec::new(),
            summary: Box::new(Summary {
                failed: 2,
                ..summary()
            }),
        }));
        assert_eq!(told(&partial, "HAUL_STATUS"), "3");
        assert_eq!(told(&partial, "HAUL_FAILED"), "2");
        assert_eq!(told(&partial, "HAUL_BYTES"), "12345678901");
        let cancelled = Err(Failure::Cancelled);
        assert_eq!(told(&cancelled, "HAUL_STATUS_NAME"), "cancelled");
        assert_eq!(told(&cancelled, "HAUL_ERROR"), "cancelled");
        assert_eq!(told(&cancelled, "HAUL_FILES"), "0");
    }
}
