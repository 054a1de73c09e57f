use serde::{Deserialize, Serialize};

use crate::{Extra, LinkNo, ListError, Name};

/// Number of a directory: 0 is the destination itself, listed ones count from 1 in list order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirId(pub u32);

impl DirId {
    /// Where the transfer lands.
    pub const DESTINATION: Self = Self(0);
}

/// Number of a file that has content (data bytes, not only size), in list order, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileNo(pub u64);

/// A digest of 256 bits.
pub type Digest = [u8; 32];

/// A time as file systems keep it, since 1970 in UTC; before that, seconds are negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nanos: u32,
}

/// Attributes that every entry has. What of it is applied, the receiver decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Permission bits as the sender's file system has them.
    pub mode: u32,
    /// Last change of the contents; zero when times are not to be kept.
    pub modified: Timestamp,
    /// Last access; zero when times are not to be kept.
    pub accessed: Timestamp,
}

/// A run of data in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len: u64,
}

/// Which bytes of a file are data. Only those are content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Layout {
    /// All of it.
    Dense,
    /// These extents, ascending and apart; the rest are holes.
    Sparse(Vec<Extent>),
}

/// Why a file cannot be sent as it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Its size, time or identity differ from when it was listed.
    Modified,
    /// It is no longer there.
    Vanished,
    /// Reading it failed.
    Unreadable,
}

/// Why something found while scanning is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SkipKind {
    /// A FIFO, socket or device.
    Special,
    /// No permission to read it, or reading it failed.
    Unreadable,
    /// Its path is deeper or longer than a list may hold.
    TooDeep,
    /// It disappeared while the scan was looking at it.
    Vanished,
    /// Attributes that must be kept could not be read.
    Attributes,
    /// A symbolic link that was to be followed, and leads in a circle.
    Loop,
    /// A symbolic link that was to be followed, and leads nowhere.
    Dangling,
    /// A symbolic link that was to be followed, and leads out of what is served.
    Outside,
}

impl SkipKind {
    /// Whether nothing is missing without it: it is told of, and is no failure.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Special | Self::Loop)
    }
}

/// One element of the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A directory. Listed before what is in it; takes the next [`DirId`].
    Dir {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Its attributes.
        meta: Meta,
    },
    /// A regular file. Takes the next [`FileNo`] when its layout has any data.
    File {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Its attributes.
        meta: Meta,
        /// Bytes, holes included; at most 2^63 - 1.
        size: u64,
        /// Which of them are data.
        layout: Layout,
        /// A digest by which it may be taken for one that is there, where one was asked for.
        digest: Option<Digest>,
    },
    /// A symbolic link.
    Symlink {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Its attributes.
        meta: Meta,
        /// What it points to, verbatim: 1 to [`crate::MAX_TARGET_LEN`] bytes, no NUL.
        target: Box<[u8]>,
    },
    /// A listed file turned out not to be sendable as listed: it must not be published.
    Changed {
        /// Which one.
        file: FileNo,
        /// What happened.
        why: ChangeKind,
    },
    /// A [torn](crate::TORN) content block that several files share may be used now: those of its
    /// files that are not listed as changed above are whole in it.
    Torn {
        /// The block's number, without the mark.
        block: u64,
    },
    /// What the sender read of a file comes to (BLAKE3, holes as zeros). It must not be taken for whole
    /// before the receiver has come to the same.
    Digest {
        /// Which one.
        file: FileNo,
        /// What it comes to.
        digest: Digest,
    },
    /// Something that is not sent.
    Skipped {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Why not.
        why: SkipKind,
    },
    /// A regular file whose size nobody knows yet. Takes the next [`FileNo`], and all content from
    /// there on is its; nothing but its end may be listed after it.
    Stream {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Its attributes, as far as they are known.
        meta: Meta,
    },
    /// The end of the stream.
    Closed {
        /// Its bytes; at most 2^63 - 1.
        size: u64,
        /// Its attributes.
        meta: Meta,
    },
    /// The scan has ended. Only [`Entry::Changed`], [`Entry::Torn`] and [`Entry::Digest`] may follow.
    End {
        /// Bytes of the content space.
        content_bytes: u64,
        /// How many [`Entry::File`] and [`Entry::Stream`] there were.
        files: u64,
        /// How many entries there were before this one.
        entries: u64,
        /// How much was found that no entry tells of, because it could not be listed.
        unlisted: u64,
    },
    /// What the directory, file or symbolic link that is listed next has beside its [`Meta`].
    Extra(Box<Extra>),
    /// A further name of a file or symbolic link that was listed before.
    HardLink {
        /// The directory it is in.
        parent: DirId,
        /// Its name there.
        name: Name,
        /// Which one.
        to: LinkNo,
    },
}

impl Layout {
    /// The data extents of a file of `size` bytes.
    pub fn extents(&self, size: u64) -> impl Iterator<Item = Extent> + '_ {
        let (whole, listed) = match self {
            Self::Dense => (
                (size > 0).then_some(Extent {
                    offset: 0,
                    len: size,
                }),
                &[][..],
            ),
            Self::Sparse(extents) => (None, extents.as_slice()),
        };
        whole.into_iter().chain(listed.iter().copied())
    }

    /// How many bytes of a file of `size` bytes are data.
    ///
    /// # Errors
    /// [`ListError::Extents`] when the extents are empty, out of order, overlap or leave the file.
    pub fn content_len(&self, size: u64) -> Result<u64, ListError> {
        let mut end = 0;
        let mut total = 0;
        for (index, extent) in self.extents(size).enumerate() {
            let stop = extent.offset.checked_add(extent.len);
            let apart = index == 0 || extent.offset > end;
            match stop {
                Some(stop) if apart && extent.len > 0 && stop <= size => end = stop,
                _ => return Err(ListError::Extents),
            }
            // Disjoint parts of a 64-bit size: the sum cannot overflow.
            total += extent.len;
        }
        Ok(total)
    }
}
