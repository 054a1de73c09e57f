//! What the sender of data is asked to take.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{RULES_MAX, SOURCES_MAX, bounded};

/// What the sender of data takes, and what becomes of it there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Taking {
    /// Go into directories.
    pub recursive: bool,
    /// Which of what is below the sources is wanted.
    pub selection: Selection,
    /// What becomes of symbolic links.
    pub symlinks: Symlinks,
    /// Special files are left out without a word.
    pub skip_special: bool,
    /// Where each source lands below the destination, in the order of the sources; without any, each
    /// gets its own name.
    #[serde(deserialize_with = "bounded::list::<_, _, SOURCES_MAX>")]
    pub targets: Vec<ByteBuf>,
    /// Each source lands by its path below this directory.
    pub src_base: Option<ByteBuf>,
    /// First byte, and one beyond the last, of the part of the one file that is wanted.
    pub range: Option<(u64, u64)>,
    /// Files that grow are followed until nothing has been added for so many seconds.
    pub grow_seconds: Option<u32>,
    /// What becomes of files that have arrived.
    pub after: After,
    /// Directories that are empty after that go too.
    pub remove_empty_dirs: bool,
}

/// What becomes of symbolic links below a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Symlinks {
    /// They are made anew.
    #[default]
    Copy,
    /// What they point to is sent in their place.
    Follow,
    /// They are left out.
    Skip,
}

/// What becomes of a source that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum After {
    /// It stays.
    #[default]
    Keep,
    /// It is removed.
    Remove,
    /// It is moved into this directory.
    Move(ByteBuf),
}

/// Which of what is below a source is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Lines as in a `.gitignore` file, the last that matches decides.
    #[serde(deserialize_with = "bounded::list::<_, _, RULES_MAX>")]
    pub rules: Vec<ByteBuf>,
    /// Files last modified before this second since 1970 are not.
    pub oldest: Option<i64>,
    /// Files last modified after this one are not.
    pub newest: Option<i64>,
}

impl Selection {
    /// What these rules select.
    pub fn new(rules: Vec<String>, oldest: Option<i64>, newest: Option<i64>) -> Self {
        Self {
            rules: rules.into_iter().map(ByteBuf::from).collect(),
            oldest,
            newest,
        }
    }
}
