//! What some entries have beside their [`crate::Meta`], where it was asked for.

use serde::{Deserialize, Serialize};

use crate::ListError;

/// Most extended attributes of one entry.
pub const MAX_XATTRS: usize = 512;
/// Most bytes of the name of one, its namespace included (`XATTR_NAME_MAX`).
pub const MAX_XATTR_NAME_LEN: usize = 255;
/// Most bytes of the value of one (`XATTR_SIZE_MAX`).
pub const MAX_XATTR_VALUE_LEN: usize = 64 * 1024;
/// Most bytes of names and values of all that one entry has, so that they fit
/// [`crate::MAX_ENTRY_LEN`].
pub const MAX_XATTRS_LEN: usize = 88 * 1024;
/// Most files that one list may number because they have several names, and most further names: what
/// a receiver must remember of each bounds its memory.
pub const MAX_LINKS: u32 = 1 << 21;

/// Number of a file that has several names, in list order, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkNo(pub u32);

/// Numbers of a user and a group, as the sender's machine has them; neither is 2^32 - 1, which no
/// user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The user's.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

/// An extended attribute. POSIX access control lists are such, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// Its name with its namespace, as in `user.origin`: 1 to [`MAX_XATTR_NAME_LEN`] bytes, no NUL.
    pub name: Box<[u8]>,
    /// At most [`MAX_XATTR_VALUE_LEN`] bytes.
    pub value: Box<[u8]>,
}

/// What the entry that follows has beside its [`crate::Meta`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Extra {
    /// Whose it is.
    pub owner: Option<Owner>,
    /// It has further names, which are listed later by this number. Not for directories.
    pub link: Option<LinkNo>,
    /// Extended attributes, ascending by name: at most [`MAX_XATTRS`], with [`MAX_XATTRS_LEN`] bytes
    /// together.
    pub xattrs: Vec<Xattr>,
}

/// What is on the wire: not yet checked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Raw<'a> {
    owner: Option<Owner>,
    link: Option<LinkNo>,
    #[serde(borrow)]
    xattrs: Vec<RawXattr<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RawXattr<'a> {
    #[serde(borrow, with = "serde_bytes")]
    name: &'a [u8],
    #[serde(borrow, with = "serde_bytes")]
    value: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(crate) fn of(extra: &'a Extra) -> Self {
        let raw = |xattr: &'a Xattr| RawXattr {
            name: &xattr.name,
            value: &xattr.value,
        };
        Self {
            owner: extra.owner,
            link: extra.link,
            xattrs: extra.xattrs.iter().map(raw).collect(),
        }
    }

    pub(crate) fn check(self) -> Result<Extra, ListError> {
        let is_nobodys = |owner: Owner| owner.uid == u32::MAX || owner.gid == u32::MAX;
        let named = |xattr: &RawXattr<'_>| {
            (1..=MAX_XATTR_NAME_LEN).contains(&xattr.name.len())
                && !xattr.name.contains(&0)
                && xattr.value.len() <= MAX_XATTR_VALUE_LEN
        };
        let len = |xattr: &RawXattr<'_>| xattr.name.len() + xattr.value.len();
        let sound = !self.owner.is_some_and(is_nobodys)
            && self.xattrs.len() <= MAX_XATTRS
            && self.xattrs.iter().all(named)
            && self.xattrs.iter().map(len).sum::<usize>() <= MAX_XATTRS_LEN
            && self.xattrs.is_sorted_by(|a, b| a.name < b.name);
        if !sound {
            return Err(ListError::Extra);
        }
        let checked = |raw: RawXattr<'_>| Xattr {
            name: raw.name.into(),
            value: raw.value.into(),
        };
        Ok(Extra {
            owner: self.owner,
            link: self.link,
            xattrs: self.xattrs.into_iter().map(checked).collect(),
        })
    }
}
