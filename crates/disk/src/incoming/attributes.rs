use std::os::fd::OwnedFd;

use haul_manifest::{Meta, Timestamp};
use haul_wire::control::Preserve;
use rustix::{
    fs::{Mode, Stat, Timespec, Timestamps, fchmod, futimens},
    io::Errno,
};

use super::published::modified;

/// Which of a sender's attributes are applied, and how. Never set-user-id, set-group-id or sticky.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    preserve: Preserve,
    umask: u32,
}

const PERMISSIONS: u32 = 0o777;
const OWNER: u32 = 0o700;

impl Attributes {
    pub(super) fn new(preserve: Preserve, umask: u32) -> Self {
        Self { preserve, umask }
    }

    /// Whether times are kept.
    pub(super) fn keeps_times(&self) -> bool {
        self.preserve.times
    }

    /// Whether anything is kept that a directory gets at the end.
    pub(super) fn keeps_any(&self) -> bool {
        self.preserve.mode || self.preserve.times
    }

    /// The permissions something shall have in the end.
    pub(super) fn mode(&self, meta: &Meta) -> u32 {
        let mode = meta.mode & PERMISSIONS;
        if self.preserve.mode {
            mode
        } else {
            mode & !self.umask
        }
    }

    /// Gives something open, which has these permissions now, those it shall have, and its times.
    pub(super) fn apply(&self, fd: &OwnedFd, meta: &Meta, mode_now: u32) -> Result<(), Errno> {
        let mode = self.mode(meta);
        if mode != mode_now & PERMISSIONS {
            fchmod(fd, Mode::from_raw_mode(mode))?;
        }
        if let Some(times) = self.times(meta) {
            futimens(fd, &times)?;
        }
        Ok(())
    }

    /// Whether a file that was there before is to be changed.
    pub(super) fn would_change(&self, meta: &Meta, now: &Stat) -> bool {
        let Preserve { mode, times, .. } = self.preserve;
        (mode && self.mode(meta) != now.st_mode & PERMISSIONS)
            || (times && meta.modified != modified(now))
    }

    /// The permissions a directory is made with: its owner must be able to fill it.
    pub(super) fn mode_while_filling(&self, meta: &Meta) -> u32 {
        (meta.mode & PERMISSIONS & !self.umask) | OWNER
    }

    /// Whether a directory that has been made needs anything more at the end.
    pub(super) fn is_due_for_new_dir(&self, meta: &Meta) -> bool {
        self.preserve.times || self.mode(meta) != self.mode_while_filling(meta)
    }

    /// The times something shall have; `None` leaves them as they come.
    pub(super) fn times(&self, meta: &Meta) -> Option<Timestamps> {
        let spec = |time: Timestamp| Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanos.into(),
        };
        self.preserve.times.then(|| Timestamps {
            last_access: spec(meta.accessed),
            last_modification: spec(meta.modified),
        })
    }
}
