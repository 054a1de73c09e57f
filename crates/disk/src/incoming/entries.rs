//! The list, entry by entry: directories are made, files and links expected.

use std::ops::Range;

use haul_manifest::{DirId, Entry, Extra, Layout, Meta, Name};

use super::{
    Incoming, LINKS_KEPT, Tree, files::Listed, finishing::What, judge::Found, links::Link,
};
use crate::{DiskError, FailureKind};

impl Incoming {
    /// Takes an entry of the list.
    pub(super) fn admit(&mut self, entry: Entry) -> Result<(), DiskError> {
        self.spend(&entry)?;
        match entry {
            Entry::Dir { parent, name, meta } => {
                let name = self.local_name(parent, name, true)?;
                let extra = self.extra.take();
                self.make_dir(parent, &name, &meta, extra)
            }
            Entry::File {
                parent,
                name,
                meta,
                size,
                layout,
                digest,
            } => {
                let name = self.local_name(parent, name, false)?;
                let path = self.tree.dirs.path_number(parent, name.as_bytes());
                let listed = Listed {
                    extra: self.take_extra(parent, &name, &meta),
                    name,
                    parent,
                    meta,
                    size,
                    path,
                    digest,
                    file: None,
                    proved: None,
                };
                self.expect_file(listed, &layout)
            }
            Entry::Symlink {
                parent,
                name,
                meta,
                target,
            } => {
                let name = self.local_name(parent, name, false)?;
                let extra = self.take_extra(parent, &name, &meta);
                self.expect_link(Link {
                    parent,
                    name,
                    meta,
                    extra,
                    target,
                })
            }
            Entry::Stream { parent, name, meta } => self.open_stream(parent, name, meta),
            Entry::Closed { size, meta } => self.close_stream(size, meta),
            Entry::Changed { file, why } => self.files.spoil(&mut self.tree, file, why),
            Entry::Torn { block } => self.announce_torn(block),
            Entry::Digest { file, digest } => self.files.tell(&mut self.tree, file, digest),
            Entry::Extra(extra) => {
                self.extra = self.tree.attributes.admitted(extra);
                Ok(())
            }
            Entry::HardLink { parent, name, to } => {
                let name = self.local_name(parent, name, false)?;
                self.expect_hard_link(parent, name, to)
            }
            Entry::Skipped { parent, name, why } => {
                self.note_listed(parent, &name);
                let path = self.tree.dirs.path(parent, name.as_bytes());
                let ledger = &mut self.tree.ledger;
                if why.is_harmless() {
                    ledger.skipped(&path, FailureKind::Skipped(why));
                } else {
                    ledger.failed(path, 0, FailureKind::Skipped(why));
                }
                Ok(())
            }
            Entry::End { unlisted, .. } => {
                self.check_end()?;
                self.tree.ledger.unlisted(unlisted);
                self.pad_end();
                Ok(())
            }
        }
    }

    /// What an entry takes of what may still come.
    fn spend(&mut self, entry: &Entry) -> Result<(), DiskError> {
        match entry {
            Entry::File { size, .. } => self.bounds.spend(*size),
            Entry::Dir { .. }
            | Entry::Symlink { .. }
            | Entry::HardLink { .. }
            | Entry::Stream { .. } => self.bounds.spend(0),
            _ => Ok(()),
        }
    }

    /// The name an entry gets here; at the top, whether it may come at all.
    pub(super) fn local_name(
        &mut self,
        parent: DirId,
        name: Name,
        is_dir: bool,
    ) -> Result<Name, DiskError> {
        if parent != DirId::DESTINATION {
            return Ok(name);
        }
        if let Some(expected) = &self.expected
            && !expected.allows(&name)
        {
            let name = name.as_bytes().to_vec();
            return Err(DiskError::Unexpected { name });
        }
        let Some(rename) = &self.landing.rename else {
            return Ok(name);
        };
        if self.has_top || (self.landing.dir_only && !is_dir) {
            let path = self.landing.path.clone();
            return Err(DiskError::NotADirectory { path });
        }
        self.has_top = true;
        Ok(rename.clone())
    }

    fn make_dir(
        &mut self,
        parent: DirId,
        name: &Name,
        meta: &Meta,
        extra: Option<Box<Extra>>,
    ) -> Result<(), DiskError> {
        self.note_listed(parent, name);
        let shown = if self.is_rehearsal {
            extra.clone()
        } else {
            None
        };
        let Tree {
            dirs, attributes, ..
        } = &mut self.tree;
        match dirs.create(parent, name, meta, extra, attributes) {
            Ok(()) => {
                self.tree.ledger.received.dirs += 1;
                if self.is_rehearsal {
                    self.rehearse_dir(parent, name, (meta, shown.as_deref()));
                }
            }
            Err(why) => self.tree.failed(parent, name, 0, why)?,
        }
        Ok(())
    }

    fn expect_file(&mut self, mut listed: Listed, layout: &Layout) -> Result<(), DiskError> {
        let content = layout.content_len(listed.size)?;
        self.note_listed(listed.parent, &listed.name);
        if self.is_rehearsal {
            return self.rehearse_file(&listed, layout);
        }
        let found = self.files.find(&mut self.tree, &listed);
        let barred = self.tree.bars(listed.parent, &listed.name);
        if content == 0 {
            let parent = listed.parent;
            if let Some(why) = barred {
                return self.tree.failed(parent, &listed.name, 0, why);
            }
            let what = match found {
                Found::Kept(stat) => {
                    self.note_kept(&stat);
                    return Ok(());
                }
                Found::Whole(stat) => What::There(listed, stat),
                _ => What::Hollow(listed),
            };
            return self.finish_later(parent, what);
        }
        let (file, Range { start, .. }) = self.map_content(layout, listed.size)?;
        listed.file = Some(file);
        if let Some(why) = barred {
            self.files.expect(file, listed, content)?;
            return self.files.fail(&mut self.tree, file, why);
        }
        match found {
            Found::Nothing => self.files.expect(file, listed, content),
            Found::Whole(stat) => {
                self.note_had(start..self.map.end())?;
                self.finish_later(listed.parent, What::There(listed, stat))
            }
            Found::Kept(stat) => {
                self.note_had(start..self.map.end())?;
                self.note_kept(&stat);
                Ok(())
            }
            Found::Part(partial, fd, written) => {
                // The end comes again where it is to be proved: otherwise nobody would read it over there.
                let is_proved = self.files.proof.is_some();
                let end = start + content - u64::from(is_proved);
                let had = self.note_part(start..end, layout.extents(listed.size), &written)?;
                self.files.expect(file, listed, content)?;
                let found = (partial, fd, written);
                self.files.resume(&mut self.tree, file, found, had)
            }
        }
    }

    fn expect_link(&mut self, link: Link) -> Result<(), DiskError> {
        let (parent, name) = (link.parent, &link.name);
        self.note_listed(parent, name);
        if let Some(why) = self.tree.bars(parent, name) {
            return self.tree.failed(parent, name, 0, why);
        }
        if self.is_rehearsal {
            return self.rehearse_link(&link);
        }
        self.links.push(link);
        if self.links.len() >= LINKS_KEPT {
            self.make_links()?;
        }
        Ok(())
    }
}
