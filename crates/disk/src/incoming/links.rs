use std::os::fd::OwnedFd;

use haul_manifest::{DirId, Meta, Name};
use rustix::{
    fs::{AtFlags, renameat, statat, symlinkat, unlinkat, utimensat},
    io::Errno,
};

use super::{
    attributes::Attributes,
    naming::partial_name,
    published::{Identity, Published},
};
use crate::FailureKind;

/// A symbolic link that has been listed.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) parent: DirId,
    pub(super) name: Name,
    pub(super) meta: Meta,
    pub(super) target: Box<[u8]>,
}

impl Link {
    /// Makes the link. What has its name is replaced, unless it is a directory or special file.
    pub(super) fn create(
        &self,
        dir: &OwnedFd,
        attributes: &Attributes,
        published: &mut Published,
    ) -> Result<(), FailureKind> {
        let name = self.name.as_bytes();
        match symlinkat(&*self.target, dir, name) {
            Ok(()) => {}
            Err(Errno::EXIST) => self.replace(dir, published)?,
            Err(errno) => return Err(errno.into()),
        }
        if let Some(times) = attributes.times(&self.meta) {
            utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        published.insert(Identity::of(&stat));
        Ok(())
    }

    fn replace(&self, dir: &OwnedFd, published: &mut Published) -> Result<(), FailureKind> {
        let name = self.name.as_bytes();
        published.check_replaceable(dir, name)?;
        let partial = partial_name(name, 0);
        symlinkat(&*self.target, dir, &*partial)?;
        let replaced = published.make_way(dir, name);
        let replaced = replaced.and_then(|()| Ok(renameat(dir, &*partial, dir, name)?));
        if replaced.is_err() {
            // Why it could not be replaced is what counts.
            let _ = unlinkat(dir, &*partial, AtFlags::empty());
        }
        replaced
    }
}
