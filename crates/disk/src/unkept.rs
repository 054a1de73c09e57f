//! What of files could not be kept beside their contents.

use std::{fmt, io};

use rustix::io::Errno;

/// A kind of attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// Numbers of user and group.
    Owner,
    /// Permissions, and the bits that stand with them.
    Mode,
    /// Times of modification and access.
    Times,
    /// Extended attributes.
    Xattrs,
    /// POSIX access control lists.
    Acls,
    /// Being one file with several names.
    HardLinks,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Mode => "permissions",
            Self::Times => "times",
            Self::Xattrs => "extended attributes",
            Self::Acls => "access control list",
            Self::HardLinks => "hard links",
        })
    }
}

/// Why one could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeepError {
    /// The system said so.
    #[error("{}", io::Error::from_raw_os_error(.0.raw_os_error()))]
    Os(Errno),
    /// It gives power, and nobody asked for such.
    #[error("only with --privileged")]
    Unprivileged,
    /// It is larger, or there are more, than a list takes.
    #[error("too large to be listed")]
    TooLarge,
}

impl From<Errno> for KeepError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// What of one kind could not be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unkept {
    /// The kind.
    pub attribute: Attribute,
    /// Of how many files, directories and links.
    pub count: u64,
    /// The first of them. Sender: as reached from the source. Receiver: below the destination.
    pub path: Vec<u8>,
    /// Why not of that one.
    pub why: KeepError,
}

/// Counts by kind.
#[derive(Debug, Default)]
pub(crate) struct Tally(Vec<Unkept>);

impl Tally {
    pub(crate) fn note(
        &mut self,
        (attribute, why): (Attribute, KeepError),
        path: impl FnOnce() -> Vec<u8>,
    ) {
        let known = self.0.iter_mut().find(|known| known.attribute == attribute);
        match known {
            Some(known) => known.count += 1,
            None => self.0.push(Unkept {
                attribute,
                count: 1,
                path: path(),
                why,
            }),
        }
    }

    /// What has been counted, each kind once.
    pub(crate) fn all(&self) -> &[Unkept] {
        &self.0
    }

    /// The same.
    pub(crate) fn into_all(self) -> Vec<Unkept> {
        self.0
    }
}
