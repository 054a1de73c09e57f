/// Why bytes cannot be the name of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes.
    #[error("empty name")]
    Empty,
    /// More than [`crate::MAX_NAME_LEN`] bytes.
    #[error("name of {0} bytes")]
    TooLong(usize),
    /// `.` or `..`.
    #[error("name is . or ..")]
    Dots,
    /// A slash or a NUL inside.
    #[error("name contains a slash or NUL")]
    ForbiddenByte,
}

/// Why a list is not one that an honest sender would send. Always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// An entry that does not parse, or is larger than [`crate::MAX_ENTRY_LEN`].
    #[error("malformed entry in the list")]
    Malformed,
    /// A name that must not become a file.
    #[error("bad name in the list: {0}")]
    Name(#[from] NameError),
    /// A parent that has not been listed.
    #[error("entry below a directory that was not listed")]
    UnknownParent,
    /// Deeper than [`crate::MAX_DEPTH`].
    #[error("path too deep")]
    TooDeep,
    /// Longer than [`crate::MAX_PATH_LEN`].
    #[error("path too long")]
    PathTooLong,
    /// The same directory twice.
    #[error("directory listed twice")]
    DuplicateDir,
    /// More than [`crate::MAX_DIRS`].
    #[error("too many directories")]
    TooManyDirs,
    /// A link's target is empty, too long, or contains NUL.
    #[error("bad target of a symbolic link")]
    Target,
    /// Extents empty, out of order, overlapping or beyond the file's size.
    #[error("bad extents of a file")]
    Extents,
    /// A size or a sum of sizes that no file system and no 64-bit offset can hold.
    #[error("sizes overflow")]
    Overflow,
    /// Nanoseconds of a second and more.
    #[error("bad time stamp")]
    Timestamp,
    /// Attributes that no file has, in excess, or of nothing that has such.
    #[error("bad attributes in the list")]
    Extra,
    /// A further name of a file that was not listed, or one too many.
    #[error("bad hard link in the list")]
    HardLink,
    /// A stream that is not the last of the list, is not closed, or is closed and was never open.
    #[error("a stream out of place in the list")]
    Stream,
    /// A change of a file or block that was not listed.
    #[error("change of a file that was not listed")]
    UnknownFile,
    /// Totals that differ from what was listed.
    #[error("the list's totals do not agree with its entries")]
    Totals,
    /// Something other than a change after the end.
    #[error("entry after the end of the list")]
    AfterEnd,
}
