use std::{fmt, io, path::PathBuf};

use haul_manifest::{ChangeKind, ListError, Shown, SkipKind};
use haul_wire::BlockAddr;
use rustix::io::Errno;

use crate::unkept::{Attribute, KeepError};

/// Why a transfer cannot start or go on. Failures of single files are [`FileFailure`]s instead.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A source that was asked for is missing or cannot be read.
    #[error("{}: {cause}", shown(.path))]
    Source {
        /// As it was asked for.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A source is a directory, and directories were not asked for.
    #[error("{}: is a directory (not copied without -r)", shown(.path))]
    SourceIsDir {
        /// As it was asked for.
        path: PathBuf,
    },
    /// A source is a FIFO, socket or device.
    #[error("{}: not a regular file", shown(.path))]
    SourceIsSpecial {
        /// As it was asked for.
        path: PathBuf,
    },
    /// What was asked for is no place below the destination.
    #[error("\"{}\" is not a relative path that leads down from the destination", Shown(.path))]
    Target {
        /// As it was asked for.
        path: Vec<u8>,
    },
    /// A source is not where its path was to begin.
    #[error("{}: not below {}, as it is written", shown(.path), shown(.base))]
    NotBelow {
        /// The source.
        path: PathBuf,
        /// Where it was to be.
        base: PathBuf,
    },
    /// Other than one file, where only one makes sense.
    #[error("a range, a growing file and a stream take one file and nothing else")]
    NotOne,
    /// A range is not in the file.
    #[error("{}: has {size} bytes, which is not all of the range", shown(.path))]
    Range {
        /// As it was asked for.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// A file that is sent as one stream is no longer what has been sent of it.
    #[error("{}: changed while it was being sent", shown(.path))]
    Changed {
        /// As it was asked for.
        path: PathBuf,
    },
    /// What takes the file in its order takes no more.
    #[error("cannot write to standard output: {cause}")]
    Output {
        /// What the system said.
        cause: io::Error,
    },
    /// The destination cannot be used.
    #[error("{}: {cause}", shown(.path))]
    Destination {
        /// As it was asked for, resolved.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The destination has to be a directory, because several sources go there or because it was
    /// written with a slash at the end.
    #[error("{}: not a directory", shown(.path))]
    NotADirectory {
        /// As it was asked for, resolved.
        path: PathBuf,
    },
    /// The file system that is written to gives up: full, over quota, read-only, broken. No further
    /// file would fare better.
    #[error("cannot write {}: {cause}", shown(.path))]
    Storage {
        /// The file being written, below the destination.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The peer sent a list that is not one.
    #[error(transparent)]
    List(#[from] ListError),
    /// The peer sent something that was not asked for.
    #[error("the other side sent \"{}\", which was not asked for", Shown(.name))]
    Unexpected {
        /// The name it sent.
        name: Vec<u8>,
    },
    /// The peer sent a block of another length than agreed.
    #[error("the other side sent a block of {0} bytes")]
    BlockLength(usize),
    /// The peer sent a block beyond the end.
    #[error("the other side sent a block beyond the end")]
    BlockBeyondEnd,
    /// The peer sent more ahead of its list than may wait.
    #[error("the other side sent too much ahead of its list")]
    TooMuchWaiting,
    /// The peer listed more unfinished files, or damaged blocks, than may be remembered.
    #[error("the other side listed too many unfinished files")]
    TooManyUnfinished,
    /// More than one transfer may move where this runs.
    #[error("that is more than one transfer may move here")]
    TooMuch,
    /// The system gave no thread.
    #[error("no thread: {0}")]
    Thread(io::Error),
    /// A block was asked for that was never made available.
    #[error("block {0:?} is not available")]
    NotAvailable(BlockAddr),
}

impl DiskError {
    /// Whether the peer did what no honest peer does.
    pub fn is_peer_fault(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::Unexpected { .. }
                | Self::BlockLength(_)
                | Self::BlockBeyondEnd
                | Self::TooMuchWaiting
                | Self::TooManyUnfinished
        )
    }
}

/// One file that was not transferred although others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFailure {
    /// Sender: as reached from the source that was asked for. Receiver: below the destination.
    pub path: Vec<u8>,
    /// Why.
    pub why: FailureKind,
}

impl fmt::Display for FileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown(&self.path), self.why)
    }
}

/// Why one file was not transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FailureKind {
    /// A system call failed.
    #[error("{}", io::Error::from_raw_os_error(.0.raw_os_error()))]
    Os(Errno),
    /// There is a directory where the file should go.
    #[error("a directory is in its place")]
    IsADirectory,
    /// There is something else than a directory where the directory should be, or a symbolic link,
    /// which is never followed.
    #[error("something that is not a directory is in its place")]
    NotADirectory,
    /// There is a FIFO, socket or device where the file should go.
    #[error("a special file is in its place")]
    SpecialInPlace,
    /// At the top of a destination this name is the journal's; anywhere, with a suffix for partial files,
    /// it is one of theirs.
    #[error("this name is haul's own here, as a journal's or a partial file's")]
    Reserved,
    /// The rules of the machine it goes to do not let this name in.
    #[error("this name is not allowed there")]
    NotAllowed,
    /// What it replaces cannot be kept: something else has that name, or it would be too long.
    #[error("the name for its backup is taken or too long")]
    BackupTaken,
    /// Another transfer is writing the same file.
    #[error("another transfer is writing this file")]
    Busy,
    /// This transfer has already written a file that the destination's file system takes for the
    /// same one.
    #[error("another file of this transfer has the same name here")]
    Collision,
    /// The directory it belongs into could not be made.
    #[error("its directory could not be made")]
    ParentFailed,
    /// It does not come to what the sender read.
    #[error("what was written is not what was read at the other end")]
    Corrupt,
    /// It is another name of a file whose first name does not stand there.
    #[error("it is another name of a file that did not arrive")]
    FirstNameFailed,
    /// An attribute that must be kept cannot be.
    #[error("cannot keep its {0}: {1}")]
    Attribute(Attribute, KeepError),
    /// The sender found it changed, gone or unreadable after listing it.
    #[error("{}", change(.0))]
    Changed(ChangeKind),
    /// The sender found more than it could list.
    #[error("some of what is there could not be listed")]
    Unlisted,
    /// The sender did not list it.
    #[error("{}", skip(.0))]
    Skipped(SkipKind),
}

fn change(kind: &ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Modified => "changed while it was being sent",
        ChangeKind::Vanished => "disappeared while it was being sent",
        ChangeKind::Unreadable => "could not be read",
    }
}

fn skip(kind: &SkipKind) -> &'static str {
    match kind {
        SkipKind::Special => "not a regular file, skipped",
        SkipKind::Unreadable => "no permission to read it",
        SkipKind::TooDeep => "path too deep or too long",
        SkipKind::Vanished => "disappeared during the scan",
        SkipKind::Attributes => "its attributes, which must be kept, could not be read",
        SkipKind::Loop => "a symbolic link that leads in a circle, skipped",
        SkipKind::Dangling => "a symbolic link that leads nowhere",
        SkipKind::Outside => "a symbolic link that leads out of the served directory",
    }
}

impl FailureKind {
    /// Whether nothing is missing without the file: it is told of, and is no failure.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Skipped(why) if why.is_harmless())
    }

    /// Whether no other file of the same file system would fare better.
    pub(crate) fn is_storage(self) -> bool {
        matches!(
            self,
            Self::Os(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)
        )
    }
}

impl From<Errno> for FailureKind {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// Whether closing some descriptors would help.
pub(crate) fn is_descriptor_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

fn shown(path: &std::path::Path) -> Shown<'_> {
    use std::os::unix::ffi::OsStrExt as _;
    Shown(path.as_os_str().as_bytes())
}
