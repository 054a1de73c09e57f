use std::os::fd::OwnedFd;

use haul_manifest::{DirId, Extra, Meta, Name};
use rustix::{
    fs::{AtFlags, renameat, statat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    attributes::{Attributes, Miss, Subject},
    naming::partial_name,
    published::{Published, Stamp},
};
use crate::FailureKind;

/// A symbolic link that has been listed.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) parent: DirId,
    pub(super) name: Name,
    pub(super) meta: Meta,
    pub(super) extra: Option<Box<Extra>>,
    pub(super) target: Box<[u8]>,
}

impl Link {
    /// Makes the link. What has its name is replaced, unless it is a directory or special file.
    pub(super) fn create(
        &self,
        dir: &OwnedFd,
        attributes: &Attributes,
        published: &mut Published,
        misses: &mut Vec<Miss>,
    ) -> Result<Stamp, FailureKind> {
        let name = self.name.as_bytes();
        let made = if attributes.is_strict() {
            // Not seen before it has all it shall have.
            Err(Errno::EXIST)
        } else {
            symlinkat(&*self.target, dir, name)
        };
        let stamp = match made {
            Ok(()) => self.dress(dir, name, attributes, misses)?,
            Err(Errno::EXIST) => self.replace(dir, attributes, published, misses)?,
            Err(errno) => return Err(errno.into()),
        };
        published.insert(stamp.file);
        Ok(stamp)
    }

    fn replace(
        &self,
        dir: &OwnedFd,
        attributes: &Attributes,
        published: &mut Published,
        misses: &mut Vec<Miss>,
    ) -> Result<Stamp, FailureKind> {
        let name = self.name.as_bytes();
        published.check_replaceable(dir, name)?;
        let partial = partial_name(name, 0);
        symlinkat(&*self.target, dir, &*partial)?;
        let done = published.make_way(dir, name).and_then(|()| {
            let stamp = self.dress(dir, &partial, attributes, misses)?;
            renameat(dir, &*partial, dir, name)?;
            Ok(stamp)
        });
        if done.is_err() {
            // The first failure is what counts.
            let _ = unlinkat(dir, &*partial, AtFlags::empty());
        }
        done
    }

    /// Gives the link its attributes; how it is then.
    fn dress(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        attributes: &Attributes,
        misses: &mut Vec<Miss>,
    ) -> Result<Stamp, FailureKind> {
        let now = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let subject = Subject {
            meta: &self.meta,
            extra: self.extra.as_deref(),
            now: &now,
            is_new: true,
        };
        attributes.apply_to_link(dir, name, &subject, misses)?;
        if self.extra.as_ref().is_none_or(|extra| extra.link.is_none()) {
            return Ok(Stamp::of(&now));
        }
        // Its further names are made of what it is now.
        Ok(Stamp::of(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}
