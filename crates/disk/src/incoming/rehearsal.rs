//! `--dry-run`: the list is judged as ever, everything counts as there, and what would become of each name
//! is told. Nothing is made, changed or removed.

use std::{os::fd::OwnedFd, sync::Arc};

use haul_manifest::{DirId, Extra, Layout, Meta, Name};
use haul_wire::control::Act;
use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use super::{Incoming, files::Listed, judge::Found, links::Link, published::modified};
use crate::{DiskError, FailureKind};

impl Incoming {
    /// Tells that the top directory itself would be made.
    pub(super) fn rehearse_top(&mut self) {
        if self.tree.dirs.is_new(DirId::DESTINATION) {
            self.tree.ledger.changed(Act::Create, b".");
        }
    }

    /// Tells what would become of the directory that was listed last.
    pub(super) fn rehearse_dir(
        &mut self,
        parent: DirId,
        name: &Name,
        (meta, extra): (&Meta, Option<&Extra>),
    ) {
        let id = DirId(self.tree.dirs.count());
        let act = if self.tree.dirs.is_new(id) {
            Act::Create
        } else {
            let found = self.found(parent, name);
            self.would_be(meta, extra, found.as_ref())
        };
        self.tell(act, parent, name);
    }

    /// Takes a file for received, and tells what would become of it.
    pub(super) fn rehearse_file(
        &mut self,
        listed: &Listed,
        layout: &Layout,
    ) -> Result<(), DiskError> {
        let (_, range) = self.map_content(layout, listed.size)?;
        let found = self.files.find(&mut self.tree, listed);
        if let Found::Part(_, _, written) = &found {
            self.note_part(range.clone(), layout.extents(listed.size), written)?;
        }
        if !range.is_empty() {
            self.note_had(range)?;
        }
        let (parent, name) = (listed.parent, &listed.name);
        let act = match found {
            Found::Kept(stat) => {
                self.note_kept(&stat);
                self.tell(Act::Keep, parent, name);
                return Ok(());
            }
            Found::Whole(stat) => {
                self.meet(&stat);
                let received = &mut self.tree.ledger.received;
                received.there_files += 1;
                received.there_bytes += listed.size;
                self.would_be(&listed.meta, listed.extra.as_deref(), Some(&stat))
            }
            Found::Nothing | Found::Part(..) => match self.placeable_act(parent, name) {
                Ok(act) => act,
                Err(why) => return self.tree.failed(parent, name, listed.size, why),
            },
        };
        let received = &mut self.tree.ledger.received;
        received.files += 1;
        received.bytes = received.bytes.saturating_add(listed.size);
        self.tell(act, parent, name);
        Ok(())
    }

    /// Tells what would become of a symbolic link.
    pub(super) fn rehearse_link(&mut self, link: &Link) -> Result<(), DiskError> {
        let Link { parent, name, .. } = link;
        let place = (*parent, name);
        if let Some(stat) = self.files.keeps(&mut self.tree, place, &link.meta, None) {
            self.note_kept(&stat);
            self.tell(Act::Keep, *parent, name);
            return Ok(());
        }
        let act = match self.placeable_act(*parent, name) {
            Ok(Act::Replace) if self.is_same_link(link) => {
                let stat = self.found(*parent, name);
                // Its permissions are nobody's.
                let changes = self.tree.attributes.keeps_times()
                    && stat.is_none_or(|stat| modified(&stat) != link.meta.modified);
                if changes { Act::Update } else { Act::Keep }
            }
            Ok(act) => act,
            Err(why) => return self.tree.failed(*parent, name, 0, why),
        };
        self.tree.ledger.received.symlinks += 1;
        self.tell(act, *parent, name);
        Ok(())
    }

    /// Tells what would become of a further name of a file.
    pub(super) fn rehearse_hard_link(
        &mut self,
        parent: DirId,
        name: &Name,
    ) -> Result<(), DiskError> {
        match self.placeable_act(parent, name) {
            Ok(act) => {
                self.tree.ledger.received.files += 1;
                self.tell(act, parent, name);
                Ok(())
            }
            Err(why) => self.tree.failed(parent, name, 0, why),
        }
    }

    /// What would become of what has the name of something that arrives.
    fn placeable_act(&mut self, parent: DirId, name: &Name) -> Result<Act, FailureKind> {
        if let Some(why) = self.tree.bars(parent, name) {
            return Err(why);
        }
        if !self.tree.dirs.is_new(parent) {
            self.tree.dirs.open(parent)?;
        }
        let Some(stat) = self.found(parent, name) else {
            return Ok(Act::Create);
        };
        self.meet(&stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink => Ok(Act::Replace),
            FileType::Directory => Err(FailureKind::IsADirectory),
            _ => Err(FailureKind::SpecialInPlace),
        }
    }

    /// What would become of something that is there and stays.
    fn would_be(&self, meta: &Meta, extra: Option<&Extra>, found: Option<&Stat>) -> Act {
        match found {
            Some(stat) if !self.tree.attributes.would_change(meta, extra, stat) => Act::Keep,
            _ => Act::Update,
        }
    }

    fn is_same_link(&mut self, link: &Link) -> bool {
        let Some(dir) = self.existing(link.parent) else {
            return false;
        };
        readlinkat(&*dir, link.name.as_bytes(), Vec::new())
            .is_ok_and(|target| target.as_bytes() == &*link.target)
    }

    /// What has a name now.
    fn found(&mut self, parent: DirId, name: &Name) -> Option<Stat> {
        let dir = self.existing(parent)?;
        statat(&*dir, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// A directory, if it is there.
    fn existing(&mut self, id: DirId) -> Option<Arc<OwnedFd>> {
        if self.tree.dirs.is_new(id) {
            return None;
        }
        self.tree.dirs.open(id).ok()
    }

    fn tell(&mut self, act: Act, parent: DirId, name: &Name) {
        let path = self.tree.dirs.path(parent, name.as_bytes());
        self.tree.ledger.changed(act, &path);
    }
}
