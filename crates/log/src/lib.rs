//! Log files in a directory that several processes share, with rotation.
//!
//! Lines go to `haul.log`. When one more would make it longer than allowed, it becomes `haul.log.1`,
//! what was that becomes `haul.log.2`, and so on; [`KEPT`] of them are kept. Whoever writes or rotates
//! holds the lock of the very file that is called `haul.log`, so lines stay whole and none gets lost
//! in between.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod files;
mod place;

use std::{
    io::{self, Write},
    path::Path,
};

use jiff::Timestamp;

pub use files::KEPT;
pub use place::{LogPlace, LogPlaceError};

use files::Files;

/// Where lines of a log go.
const NAME: &str = "haul.log";

/// Lines as they are, in files under a name of their own; shared and rotated as a log is.
#[derive(Debug)]
pub struct Lines(Files);

impl Lines {
    /// Opens the file of this name in a directory, of at most so many bytes before it is rotated.
    ///
    /// # Errors
    /// The system's, when it cannot be opened for writing.
    pub fn open(dir: &Path, name: &str, size_max: u64) -> io::Result<Self> {
        Ok(Self(Files::open(dir, name, size_max)?))
    }

    /// Adds one line, which has no line break in it.
    ///
    /// # Errors
    /// The system's: the disk is full, or the directory has gone.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        self.0.append(format!("{line}\n").as_bytes())
    }
}

/// A log that lines are added to.
#[derive(Debug)]
pub struct Log {
    /// Program and process, ahead of every line.
    writer: String,
    out: Out,
}

#[derive(Debug)]
enum Out {
    Files(Files),
    Stdout,
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {place}: {source}; name a directory that exists and may be written")]
pub struct LogError {
    /// Where it is, escaped.
    place: String,
    source: io::Error,
}

impl Log {
    /// Opens the log that `place` names, for lines of this process under the name `program`.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be opened for writing.
    pub fn open(place: &LogPlace, program: &str) -> Result<Self, LogError> {
        let out = match place {
            LogPlace::Stdout => Out::Stdout,
            LogPlace::Directory { dir, size_max } => {
                let files = Files::open(dir, NAME, *size_max);
                Out::Files(files.map_err(|source| LogError {
                    place: place.to_string(),
                    source,
                })?)
            }
        };
        let writer = format!("{program}[{}]", std::process::id());
        Ok(Self { writer, out })
    }

    /// Adds one line, with the time (UTC, RFC 3339, milliseconds) and the writer ahead. Control characters
    /// become spaces.
    ///
    /// # Errors
    /// The system's: the disk is full, or the directory has gone.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        let text = text.replace(char::is_control, " ");
        let line = format!("{:.3} {} {text}\n", Timestamp::now(), self.writer);
        match &mut self.out {
            Out::Files(files) => files.append(line.as_bytes()),
            Out::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
        }
    }
}
