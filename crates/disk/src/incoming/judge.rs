//! What of a listed file is there, and whether it need not be sent.

use std::os::fd::OwnedFd;

use haul_manifest::{DirId, Meta, Name, RangeSet, Timestamp};
use haul_wire::control::Overwrite;
use rustix::fs::{AtFlags, FileType, Stat, fstat, statat};

use super::{
    Tree,
    files::{Files, Listed},
    journal::Claim,
    partial::Partial,
    published::{Identity, Stamp, modified},
};
use crate::digest;

/// What of a listed file is there before it is sent.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// The same file, by all that is known.
    Whole(Stat),
    /// Another, that is not to be replaced.
    Kept(Stat),
    /// Some bytes of it, in a partial file.
    Part(Partial, OwnedFd, RangeSet),
}

impl Files {
    /// Looks what of a listed file is there.
    pub(super) fn find(&mut self, tree: &mut Tree, listed: &Listed) -> Found {
        // Also in a directory that is new: what is said of the one before must be taken back.
        let claim = self.claim(listed);
        if claim.is_none() && tree.dirs.is_new(listed.parent) {
            return Found::Nothing;
        }
        let Ok(dir) = tree.dirs.open(listed.parent) else {
            return Found::Nothing;
        };
        let stat = statat(&*dir, listed.name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok();
        match stat {
            Some(stat)
                if self.is_same(listed, &stat, claim.as_ref())
                    && self.has_digest(&dir, listed, &stat) =>
            {
                return Found::Whole(stat);
            }
            Some(stat) if self.stays(&listed.meta, &stat) => return Found::Kept(stat),
            _ => {}
        }
        let Some(Claim::Part(part)) = claim else {
            return Found::Nothing;
        };
        if part.source == listed.source()
            && let Some((partial, fd)) = Partial::find(&tree.naming, &dir, &listed.name, part.made)
            && let Ok(stat) = fstat(&fd)
        {
            let len = listed.size.min(stat.st_size as u64);
            return Found::Part(partial, fd, part.written(len));
        }
        if let Some(journal) = &mut self.journal {
            journal.void(listed.path);
        }
        Found::Nothing
    }

    fn claim(&mut self, listed: &Listed) -> Option<Claim> {
        self.journal.as_mut()?.take_claim(listed.path)
    }

    /// What has a link's name, if it is to stay, unless it is this file.
    pub(super) fn keeps(
        &self,
        tree: &mut Tree,
        (parent, name): (DirId, &Name),
        meta: &Meta,
        file: Option<Identity>,
    ) -> Option<Stat> {
        if !self.overwrite.keeps() {
            return None;
        }
        let dir = tree.dirs.open(parent).ok()?;
        let found = statat(&*dir, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok();
        found.filter(|stat| Some(Identity::of(stat)) != file && self.stays(meta, stat))
    }

    /// Whether what is there stays, though it is another. What could not be replaced is not kept.
    fn stays(&self, meta: &Meta, stat: &Stat) -> bool {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let replaceable = matches!(kind, FileType::RegularFile | FileType::Symlink);
        replaceable
            && match self.overwrite {
                Overwrite::Always | Overwrite::Diff => false,
                Overwrite::Never => true,
                Overwrite::Older | Overwrite::DiffOlder => modified(stat) >= meta.modified,
            }
    }

    /// Whether what has a listed file's name is that file: of its size and time, or what an earlier
    /// run made of this very source, untouched since.
    fn is_same(&self, listed: &Listed, stat: &Stat, claim: Option<&Claim>) -> bool {
        if !self.resumes()
            || self.overwrite == Overwrite::Always
            || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || stat.st_size as u64 != listed.size
        {
            return false;
        }
        let source = listed.source();
        // A list without times says nothing of them.
        let is_listed = source.modified != Timestamp::default();
        let is_made = |claim: &Claim| *claim == Claim::done(source, Stamp::of(stat));
        is_listed && (source.modified == modified(stat) || claim.is_some_and(is_made))
    }

    /// Whether it is also the file by its contents, where those are to be compared.
    fn has_digest(&self, dir: &OwnedFd, listed: &Listed, stat: &Stat) -> bool {
        !self.compare.reads()
            || digest::open(dir, listed.name.as_bytes(), stat)
                .and_then(|fd| digest::to_compare(self.compare, fd, listed.size))
                .is_ok_and(|digest| digest.is_some() && digest == listed.digest)
    }
}
