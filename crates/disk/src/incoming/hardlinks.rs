//! Files that have several names: the first is received as any file, the others are made when it has
//! its name.

use std::{os::fd::OwnedFd, sync::Arc};

use haul_manifest::{DirId, Extra, LinkNo, Meta, Name, Timestamp};
use rustix::{
    fs::{AtFlags, linkat, renameat, statat, unlinkat},
    io::Errno,
};

use super::{
    Incoming,
    finishing::{Done, Finished, Job, What},
    partial,
    published::{Published, Stamp},
};
use crate::{DiskError, FailureKind};

/// Names made between two looks at what became of them.
const STEP: usize = 4096;

/// The files that have several names, by [`LinkNo`], and the names that are to be made.
#[derive(Debug, Default)]
pub(super) struct HardLinks {
    firsts: Vec<First>,
    further: Vec<Further>,
}

/// The first name of a file.
#[derive(Debug)]
struct First {
    parent: DirId,
    name: Name,
    modified: Timestamp,
    /// How the file was finished, once it stands there.
    file: Option<Stamp>,
    /// How many names of it were listed.
    names: u64,
}

#[derive(Debug)]
struct Further {
    parent: DirId,
    name: Name,
    to: LinkNo,
    /// How many names the file has without this one.
    others: u64,
}

/// A further name that can be made.
#[derive(Debug)]
pub(super) struct HardLink {
    pub(super) parent: DirId,
    pub(super) name: Name,
    /// Where the first name is, and how the file that has it was finished.
    from: (Arc<OwnedFd>, Name),
    file: Stamp,
    others: u64,
    /// Whether the name was there.
    pub(super) was_there: bool,
}

impl HardLinks {
    /// Takes the next file of several names.
    pub(super) fn expect(&mut self, parent: DirId, name: &Name, modified: Timestamp) {
        self.firsts.push(First {
            parent,
            name: name.clone(),
            modified,
            file: None,
            names: 1,
        });
    }

    /// Takes a further name of a file; it waits for the end.
    pub(super) fn add(&mut self, parent: DirId, name: Name, to: LinkNo) {
        if let Some(first) = self.firsts.get_mut(to.0 as usize) {
            let others = first.names;
            first.names += 1;
            self.further.push(Further {
                parent,
                name,
                to,
                others,
            });
        }
    }

    /// The first name stands.
    pub(super) fn stands(&mut self, number: LinkNo, file: Stamp) {
        if let Some(first) = self.firsts.get_mut(number.0 as usize) {
            first.file = Some(file);
        }
    }
}

impl Incoming {
    /// What was listed for this file or symbolic link.
    pub(super) fn take_extra(
        &mut self,
        parent: DirId,
        name: &Name,
        meta: &Meta,
    ) -> Option<Box<Extra>> {
        let extra = self.extra.take()?;
        if extra.link.is_some() {
            self.hard_links.expect(parent, name, meta.modified);
        }
        Some(extra)
    }

    /// Takes a further name of a file that was listed.
    pub(super) fn expect_hard_link(
        &mut self,
        parent: DirId,
        name: Name,
        to: LinkNo,
    ) -> Result<(), DiskError> {
        if !self.tree.attributes.keeps_hard_links() {
            let name = name.as_bytes().to_vec();
            return Err(DiskError::Unexpected { name });
        }
        self.note_listed(parent, &name);
        if let Some(why) = self.tree.bars(parent, &name) {
            return self.tree.failed(parent, &name, 0, why);
        }
        if self.is_rehearsal {
            return self.rehearse_hard_link(parent, &name);
        }
        self.hard_links.add(parent, name, to);
        Ok(())
    }

    /// Makes the further names of all files whose first one stands.
    pub(super) fn make_hard_links(&mut self) -> Result<(), DiskError> {
        let further = std::mem::take(&mut self.hard_links.further);
        for (index, further) in further.into_iter().enumerate() {
            if index % STEP == STEP - 1 {
                self.files.finishing.wait();
                self.settle_finished()?;
            }
            self.make_hard_link(further)?;
        }
        self.files.finishing.wait();
        self.settle_finished()
    }

    fn make_hard_link(&mut self, further: Further) -> Result<(), DiskError> {
        let Further {
            parent,
            name,
            to,
            others,
        } = further;
        let first = &self.hard_links.firsts[to.0 as usize];
        let Some(file) = first.file else {
            let why = FailureKind::FirstNameFailed;
            return self.tree.failed(parent, &name, 0, why);
        };
        let meta = Meta {
            modified: first.modified,
            ..Meta::default()
        };
        let place = (parent, &name);
        let kept = self
            .files
            .keeps(&mut self.tree, place, &meta, Some(file.file));
        if let Some(stat) = kept {
            self.note_kept(&stat);
            return Ok(());
        }
        let from = match self.tree.dirs.open(first.parent) {
            Ok(dir) => (dir, first.name.clone()),
            Err(why) => return self.tree.failed(parent, &name, 0, why),
        };
        let link = HardLink {
            parent,
            name,
            from,
            file,
            others,
            was_there: false,
        };
        match self.tree.dirs.open(parent) {
            Ok(dir) => {
                let what = What::HardLink(link);
                self.files.finishing.add(Job { dir, what });
                Ok(())
            }
            Err(why) => self.note_done(Done {
                what: Finished::HardLink(link),
                outcome: Err(why),
                digests: None,
                misses: Vec::new(),
            }),
        }
    }
}

impl HardLink {
    /// Makes the name, by the directories that are held. What has it is replaced, unless it is a
    /// directory or special file, or this very file.
    pub(super) fn create(
        &mut self,
        dir: &OwnedFd,
        published: &mut Published,
    ) -> Result<(), FailureKind> {
        let (from, first) = (&*self.from.0, self.from.1.as_bytes());
        let name = self.name.as_bytes();
        let stat = statat(from, first, AtFlags::SYMLINK_NOFOLLOW)?;
        if Stamp::of(&stat) != self.file {
            return Err(FailureKind::Busy);
        }
        let link = |name: &[u8]| linkat(from, first, dir, name, AtFlags::empty());
        match link(name) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let there = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if Stamp::of(&there) == self.file {
            // Where names that differ are taken for the same, the file has fewer than it was given.
            if there.st_nlink <= self.others {
                return Err(FailureKind::Collision);
            }
            self.was_there = true;
            return Ok(());
        }
        published.check_replaceable(dir, name)?;
        partial::clear(&published.naming, dir, &self.name)?;
        let partial = published.naming.partial(name, 0);
        link(&partial)?;
        let replaced = published.make_way(dir, name);
        let replaced = replaced.and_then(|()| Ok(renameat(dir, &*partial, dir, name)?));
        if replaced.is_err() {
            // Why it could not be replaced is what counts.
            let _ = unlinkat(dir, &*partial, AtFlags::empty());
        }
        replaced
    }
}
