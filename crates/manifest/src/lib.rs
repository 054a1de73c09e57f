//! What is to be moved and what has arrived.
//!
//! The sender describes its files in a **list** of [`Entry`]s, which travels as blocks of its own
//! ([`ListWriter`], [`ListReader`]), and concatenates the contents of all files, in list order,
//! into one **content space** ([`ContentMap`]). Both ends number alike: directories from 1 in list
//! order ([`DirId`]), files that have content from 0 ([`FileNo`]).
//!
//! Nothing here performs I/O or reads a clock. What comes from the network is checked here, before
//! anything on a disk is touched: names, depth, lengths, sizes, totals. Nothing panics on it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod content;
mod encoding;
mod entry;
mod error;
mod extra;
mod name;
mod range_set;
mod reader;
mod writer;

pub use content::{ContentMap, Piece};
pub use entry::{
    ChangeKind, Digest, DirId, Entry, Extent, FileNo, Layout, Meta, SkipKind, Timestamp,
};
pub use error::{ListError, NameError};
pub use extra::{
    Extra, LinkNo, MAX_LINKS, MAX_XATTR_NAME_LEN, MAX_XATTR_VALUE_LEN, MAX_XATTRS, MAX_XATTRS_LEN,
    Owner, Xattr,
};
pub use name::{Name, Shown};
pub use range_set::RangeSet;
pub use reader::ListReader;
pub use writer::ListWriter;

/// Most bytes of one name.
pub const MAX_NAME_LEN: usize = 255;
/// Most directories one inside the other, the file's own name included.
pub const MAX_DEPTH: usize = 128;
/// Most bytes of a path below the destination, separators included.
pub const MAX_PATH_LEN: usize = 4096;
/// Most bytes of a symbolic link's target.
pub const MAX_TARGET_LEN: usize = 4095;
/// Most data extents one file may be listed with; a sender treats further holes as data.
pub const MAX_EXTENTS: usize = 4096;
/// Most directories in one list: what a receiver must remember of each bounds its memory.
pub const MAX_DIRS: u32 = 1 << 21;
/// Most bytes of one encoded entry: a name, [`MAX_EXTENTS`] extents of two ten-byte integers each,
/// attributes.
pub const MAX_ENTRY_LEN: usize = 96 * 1024;

/// Set in the number of a content block that is *torn*: some of its bytes are zeros because a file
/// could not be read as it was listed. The sender puts it there when it fills the block.
///
/// A torn block that belongs to one file alone spoils that file. One that several files share must
/// wait for its [`Entry::Torn`], above which every spoiled file is listed as [`Entry::Changed`]:
/// the others' bytes in it are good. Thus no file is ever taken for whole that is not.
pub const TORN: u64 = 1 << 47;

/// Number of a content block that means nothing and is thrown away. A sender that is asked for a
/// block which has been delivered meanwhile, and which it has forgotten, sends this in its place.
pub const VOID: u64 = (1 << 48) - 1;
