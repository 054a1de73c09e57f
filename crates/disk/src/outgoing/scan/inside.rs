use haul_manifest::{Digest, Extra, Layout};
use rustix::{
    fd::BorrowedFd,
    fs::{Mode, OFlags, Stat, openat},
};

use super::{Scan, size};
use crate::{digest, outgoing::holes};

/// What a regular file has inside.
pub(super) struct Inside {
    pub(super) layout: Layout,
    pub(super) digest: Option<Digest>,
    pub(super) extra: Option<Box<Extra>>,
}

impl Default for Inside {
    fn default() -> Self {
        Self {
            layout: Layout::Dense,
            digest: None,
            extra: None,
        }
    }
}

impl Scan<'_> {
    /// What there is to know of a file beside what its directory says. It is only opened for that if it
    /// has fewer blocks than bytes, or if its contents are to be compared.
    pub(super) fn look_inside(&self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Inside {
        let size = size(stat);
        let may_have_holes = stat.st_blocks.cast_unsigned().saturating_mul(512) < size;
        let compare = self.out.wanted.options.compare;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = (may_have_holes || compare.reads())
            .then(|| openat(dir, name, flags, Mode::empty()).ok())
            .flatten();
        let Some(fd) = opened else {
            return Inside::default();
        };
        // One that cannot be read is found out when it is to be sent.
        let digest = digest::to_compare(compare, &fd, size).ok().flatten();
        let layout = if may_have_holes {
            holes::layout(&fd, size)
        } else {
            Layout::Dense
        };
        Inside {
            layout,
            digest,
            extra: None,
        }
    }
}
