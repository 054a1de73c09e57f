//! A small file whose content is all there at once has no name until it is whole: where the kernel and
//! the file system can, that takes half the work of a partial name, and leaves nothing behind.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, Mode, OFlags, linkat, openat},
    io::Errno,
};

/// Whether such files can be made and named in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ability {
    Untried,
    Able,
    Unable,
}

impl Ability {
    /// Makes a file without a name, that will have this mode; `None` where that is not to be had.
    pub(super) fn create(&mut self, dir: &OwnedFd, mode: u32) -> Result<Option<OwnedFd>, Errno> {
        if *self == Self::Unable {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let fd = match openat(dir, ".", flags, Mode::from_raw_mode(mode)) {
            Ok(fd) => fd,
            // A file system, or a kernel, that has none.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(None),
            // The other way closes some and tries again.
            Err(Errno::MFILE | Errno::NFILE) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        if *self == Self::Untried {
            // Naming by descriptor takes Linux 6.10 or a capability; without, it finds nothing to name
            // before it sees that this name is taken.
            let may_name = link(&fd, dir, b".") == Err(Errno::EXIST);
            *self = if may_name { Self::Able } else { Self::Unable };
        }
        Ok((*self == Self::Able).then_some(fd))
    }
}

/// Gives the file a name that nothing has.
pub(super) fn link(fd: &OwnedFd, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    linkat(fd, "", dir, name, AtFlags::EMPTY_PATH)
}
