//! Extended attributes, POSIX access control lists among them: which are kept, and how they are reached.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use haul_manifest::MAX_XATTR_VALUE_LEN;
use haul_wire::control::Preserve;
use rustix::{
    buffer::spare_capacity,
    fs::{
        XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr,
        lremovexattr, lsetxattr,
    },
    io::Errno,
};

use crate::unkept::Attribute;

/// Most bytes of the names of one file (`XATTR_LIST_MAX`).
const LIST_LEN_MAX: usize = 64 * 1024;
/// Room that is enough for most.
const ROOM_USUAL: usize = 1024;

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const CAPABILITY: &[u8] = b"security.capability";

/// As what an extended attribute of this name is kept; `None`: not at all.
pub(crate) fn kept_as(preserve: &Preserve, name: &[u8]) -> Option<Attribute> {
    let is_powerful = || name.starts_with(b"security.") || name.starts_with(b"trusted.");
    let (attribute, wanted) = match name {
        _ if ACLS.contains(&name) => (Attribute::Acls, preserve.acls),
        _ if name.starts_with(b"user.") => (Attribute::Xattrs, preserve.xattrs),
        _ if is_powerful() => (Attribute::Xattrs, preserve.xattrs && preserve.privileged),
        _ => return None,
    };
    wanted.then_some(attribute)
}

/// Whether one that the sender does not have goes. Labels of a machine's own policy stay.
pub(crate) fn is_removable(name: &[u8]) -> bool {
    !name.starts_with(b"security.") || name == CAPABILITY
}

/// Something that has extended attributes.
#[derive(Debug, Clone)]
pub(crate) enum Holder<'a> {
    /// A file or directory, open.
    Open(BorrowedFd<'a>),
    /// A symbolic link, which cannot be opened: its path through the directory that is held.
    Link(Vec<u8>),
}

impl<'a> Holder<'a> {
    /// The symbolic link of this name.
    pub(crate) fn link(dir: BorrowedFd<'_>, name: &[u8]) -> Self {
        let above = format!("/proc/self/fd/{}/", dir.as_raw_fd());
        Self::Link([above.as_bytes(), name].concat())
    }

    /// The names of all that it has. Where the file system knows none, there are none.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let list = growing(LIST_LEN_MAX, |list| match self {
            Self::Open(fd) => flistxattr(fd, spare_capacity(list)),
            Self::Link(path) => llistxattr(&**path, spare_capacity(list)),
        });
        let list = match list {
            Err(Errno::OPNOTSUPP) => Vec::new(),
            list => list?,
        };
        let names = list
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    pub(crate) fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        growing(MAX_XATTR_VALUE_LEN, |value| match self {
            Self::Open(fd) => fgetxattr(fd, name, spare_capacity(value)),
            Self::Link(path) => lgetxattr(&**path, name, spare_capacity(value)),
        })
    }

    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Link(path) => lsetxattr(&**path, name, value, XattrFlags::empty()),
        }
    }

    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Link(path) => lremovexattr(&**path, name),
        }
    }
}

/// Reads into a buffer that is made as large as need be, up to a limit of the kernel's.
fn growing(
    len_max: usize,
    mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(ROOM_USUAL);
    match read(&mut buffer) {
        Err(Errno::RANGE) => {}
        done => return done.map(|_| buffer),
    }
    buffer = Vec::with_capacity(len_max);
    read(&mut buffer).map(|_| buffer)
}
