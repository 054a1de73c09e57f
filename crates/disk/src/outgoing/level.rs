use std::ffi::CString;

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{Dir, OFlags, Stat, fstatfs},
    io::Errno,
};

use super::scan::Spot;

/// Which file or directory something is, whatever its name: device and inode.
pub(super) type Identity = (u64, u64);

/// A directory being read.
pub(super) struct Level {
    pub(super) dir: Dir,
    pub(super) at: Spot,
    /// Its regular files are made up by the kernel when read, and have no size.
    pub(super) is_virtual: bool,
}

impl Level {
    pub(super) fn new(dir: Dir, at: Spot) -> Self {
        let is_virtual = dir.fd().is_ok_and(is_virtual);
        Self {
            dir,
            at,
            is_virtual,
        }
    }

    pub(super) fn next(&mut self) -> Option<Result<CString, Errno>> {
        next_name(&mut self.dir)
    }
}

/// The next name that is neither the directory itself nor its parent.
pub(super) fn next_name(dir: &mut Dir) -> Option<Result<CString, Errno>> {
    loop {
        match dir.read()? {
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Ok(entry) => return Some(Ok(entry.file_name().to_owned())),
            Err(errno) => return Some(Err(errno)),
        }
    }
}

pub(super) const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// `proc` and `sysfs` (linux/magic.h).
const VIRTUAL_FILE_SYSTEMS: [i64; 2] = [0x9fa0, 0x6265_6572];

pub(super) fn is_virtual(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd.as_fd()).is_ok_and(|fs| VIRTUAL_FILE_SYSTEMS.contains(&fs.f_type))
}

pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}
