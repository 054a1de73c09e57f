//! What is listed of a file or link beside its own entry.

use std::os::unix::ffi::OsStringExt as _;

use haul_manifest::{Entry, Extra, LinkNo, Name, SkipKind};
use rustix::fs::Stat;

use super::{Scan, Spot};
use crate::{
    outgoing::{
        extras::{Link, Misses, Where},
        places::Place,
    },
    unkept::{Attribute, KeepError},
};

impl Scan<'_> {
    /// What a file or symbolic link has beside its `Meta`. `None`: it need not be listed any more.
    pub(super) fn dress(
        &mut self,
        at: Spot,
        name: Name,
        local: &[u8],
        whence: Where<'_>,
        stat: &Stat,
    ) -> Option<(Name, Option<Box<Extra>>)> {
        match self.extras.link(stat) {
            Link::Further(to) => {
                self.hard_link(at, name, to);
                return None;
            }
            Link::TooMany => {
                let miss = (Attribute::HardLinks, KeepError::TooLarge);
                self.note_misses(at.place, local, vec![miss]);
            }
            Link::Alone | Link::First => {}
        }
        let (extra, misses) = self.extras.read(whence, stat);
        if !misses.is_empty() && self.extras.is_strict() {
            self.skip(at, name, SkipKind::Attributes);
            return None;
        }
        self.note_misses(at.place, local, misses);
        Some((name, extra))
    }

    pub(super) fn note_misses(&self, place: Place, local: &[u8], misses: Misses) {
        if misses.is_empty() {
            return;
        }
        let state = &mut *self.out.lock();
        let path = || state.places.path(place, local).into_os_string().into_vec();
        for miss in misses {
            state.unkept.note(miss, path);
        }
    }

    /// The same, with its number if it may have further names.
    pub(super) fn numbered(
        &mut self,
        extra: Option<Box<Extra>>,
        stat: &Stat,
    ) -> Option<Box<Extra>> {
        if self.extras.link(stat) != Link::First {
            return extra;
        }
        let mut extra = extra.unwrap_or_default();
        extra.link = Some(self.extras.number(stat));
        Some(extra)
    }

    fn hard_link(&mut self, at: Spot, name: Name, to: LinkNo) {
        self.extras.count_further();
        let mut state = self.out.lock();
        state.totals.files += 1;
        state.listing.push(&Entry::HardLink {
            parent: at.id,
            name,
            to,
        });
    }
}
