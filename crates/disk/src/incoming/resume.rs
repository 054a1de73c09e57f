//! What is there already: found while the list is read, told to the sender.

use std::ops::Range;

use haul_manifest::{Extent, RangeSet};
use haul_wire::control::{HAD_RANGES_MAX, Had, Placing};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};

use super::{Incoming, journal::JOURNAL_NAME, naming::Naming};
use crate::{DiskError, Landing, Root};

/// Whether there is anything at a destination that need not be sent: without, the sender need not wait
/// to hear what.
pub fn has_leftovers(root: &Root, landing: &Landing, placing: &Placing) -> bool {
    let Ok(top) = root.duplicate() else {
        return false;
    };
    if let Some(name) = &landing.rename {
        let partial = Naming::new(placing).partial(name.as_bytes(), 0);
        let names = [name.as_bytes(), &partial, JOURNAL_NAME];
        let is_there = |name| statat(&top, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        return names.into_iter().any(is_there);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = openat(&top, ".", flags, Mode::empty()).and_then(Dir::new);
    // One that cannot be read may hold what is asked for all the same.
    entries.is_ok_and(|entries| {
        let mut names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        names.any(|name| name.is_ok_and(|name| !matches!(name.to_bytes(), b"." | b"..")))
    })
}

impl Incoming {
    /// From now on [`Self::poll_had`] tells what need not be sent.
    pub fn tell_had(&mut self) {
        self.judged = Some(0);
    }

    /// Whether it does.
    pub fn tells_had(&self) -> bool {
        self.judged.is_some()
    }

    /// Which blocks need not be sent, of those that the list has told of since the last call.
    pub fn poll_had(&mut self) -> Option<Had> {
        let from = self.judged?;
        let len = self.block_len as u64;
        let end = self.placeable().div_ceil(len);
        if end <= from {
            return None;
        }
        let mut ranges = Vec::new();
        let mut judged = end;
        let mut start = from * len;
        let gaps = self.arrived.gaps(from * len..end * len);
        for gap in gaps.chain(std::iter::once(end * len..end * len)) {
            let (first, last) = (start.div_ceil(len), gap.start / len);
            if first < last {
                if ranges.len() == HAD_RANGES_MAX {
                    judged = first;
                    break;
                }
                ranges.push((first, last));
            }
            start = gap.end;
        }
        self.judged = Some(judged);
        Some(Had { ranges, judged })
    }

    /// This range of content need not come.
    pub(super) fn note_had(&mut self, range: Range<u64>) -> Result<(), DiskError> {
        self.arrived.insert(range);
        self.release_map()
    }

    /// Of a file these bytes need not come, as far as they lie in this part of the content; how many
    /// that are.
    pub(super) fn note_part(
        &mut self,
        content: Range<u64>,
        extents: impl Iterator<Item = Extent>,
        written: &RangeSet,
    ) -> Result<u64, DiskError> {
        let mut at = content.start;
        let mut had = 0;
        for Extent { offset, len } in extents {
            for range in written.ranges() {
                let (from, to) = (range.start.max(offset), range.end.min(offset + len));
                if from < to {
                    let start = at + (from - offset);
                    let end = (at + (to - offset)).min(content.end);
                    had += self.arrived.insert(start..end.max(start));
                }
            }
            at += len;
        }
        self.tree.ledger.received.there_bytes += had;
        self.release_map()?;
        Ok(had)
    }

    /// What pads the last block need not come either, if nothing else of it does.
    pub(super) fn pad_end(&mut self) {
        let (end, len) = (self.inflow.content_bytes(), self.block_len as u64);
        let last = end / len * len;
        if last < end && self.arrived.covers(last..end) {
            self.arrived.insert(end..last.saturating_add(len));
        }
    }
}
