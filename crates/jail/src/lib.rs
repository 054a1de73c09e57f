//! Walls around a process that serves strangers, of what the kernel has to build them: files by Landlock,
//! system calls by seccomp.
//!
//! They are not what keeps a peer inside the served directory: that is how every name is resolved
//! (`disk::Root`). They are for the day when something of that, or a library, turns out to be wrong.

mod calls;
mod files;

use std::{fmt, io, path::Path};

use landlock::RulesetStatus;
use rustix::process::{Resource, Rlimit, setrlimit};

use files::Files;
pub use files::Leave;

/// Why there are no walls.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Threads that run already would stay outside.
    #[error("{0} threads run already, and they would stay outside of the jail")]
    Threads(usize),
    /// The kernel has Landlock and does not take the rules.
    #[error("Landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The kernel does not take the filter.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
    /// This processor is not one that the filter is written for.
    #[error("seccomp: {0}")]
    Processor(#[from] seccompiler::BackendError),
    /// A limit, or the number of threads.
    #[error("the system: {0}")]
    System(#[from] io::Error),
}

/// Walls to be: what is left to the process.
#[derive(Debug)]
pub struct Jail {
    files: Files,
}

impl Jail {
    /// What any program needs: to read the time zone and what the kernel says of this process.
    pub fn new() -> Self {
        Self {
            files: Files::usual(),
        }
    }

    /// Leaves what is beneath this directory, or this file, to the process. It is opened now.
    ///
    /// # Errors
    /// The system's, when it cannot be opened.
    pub fn leave(&mut self, path: &Path, leave: Leave) -> io::Result<()> {
        self.files.leave(path, leave)
    }

    /// Builds the walls, for good, around this thread and all that it starts. Nothing has a core file.
    ///
    /// # Errors
    /// See [`JailError`]. A kernel without Landlock is none: [`Walls`] says so.
    pub fn close(self) -> Result<Walls, JailError> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads > 1 {
            return Err(JailError::Threads(threads));
        }
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none).map_err(io::Error::from)?;
        let files = self.files.close()?;
        calls::close()?;
        Ok(files.into())
    }
}

impl Default for Jail {
    fn default() -> Self {
        Self::new()
    }
}

/// What the kernel had for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walls {
    /// All of it.
    Whole,
    /// Less of Landlock than there is elsewhere.
    Older,
    /// No Landlock: only system calls are fewer.
    CallsOnly,
}

impl Walls {
    /// Whether files outside what was left are out of reach.
    pub fn hold_files(self) -> bool {
        self != Self::CallsOnly
    }
}

impl From<RulesetStatus> for Walls {
    fn from(files: RulesetStatus) -> Self {
        match files {
            RulesetStatus::FullyEnforced => Self::Whole,
            RulesetStatus::PartiallyEnforced => Self::Older,
            RulesetStatus::NotEnforced => Self::CallsOnly,
        }
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "Landlock and seccomp",
            Self::Older => "Landlock, as far as this kernel has it, and seccomp",
            Self::CallsOnly => "seccomp only: this kernel has no Landlock",
        })
    }
}
