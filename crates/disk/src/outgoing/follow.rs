//! What symbolic links below a source lead to.

use std::{ffi::CStr, fs::read_link, os::fd::AsRawFd as _, path::Path};

use haul_manifest::SkipKind;
use rustix::{
    fd::{BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, Stat, fstat, openat},
    io::Errno,
};

use super::scan::unreadable;

/// What a link leads to, held without having been opened.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

/// Follows a link to its end. With a `jail`, what is outside of that does not count; it is looked
/// where the held target is, not where the link seems to lead.
pub(super) fn follow(
    dir: BorrowedFd<'_>,
    name: &CStr,
    jail: Option<&Path>,
) -> Result<Target, SkipKind> {
    let held = openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let fd = held.map_err(|errno| match errno {
        Errno::LOOP => SkipKind::Loop,
        Errno::NOENT | Errno::NOTDIR => SkipKind::Dangling,
        _ => SkipKind::Unreadable,
    })?;
    if let Some(jail) = jail {
        let place = read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if !place.is_ok_and(|place| place.starts_with(jail)) {
            return Err(SkipKind::Outside);
        }
    }
    let stat = fstat(&fd).map_err(unreadable)?;
    Ok(Target { fd, stat })
}
