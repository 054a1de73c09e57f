//! A file whose size is known only when all of it has been sent. It is the last of the list, and all
//! content from its beginning on is its.

use haul_manifest::{DirId, FileNo, Meta, Name, TORN};

use super::{Incoming, files::Listed, finishing::What};
use crate::DiskError;

/// The file, until its end has been listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    file: FileNo,
    /// Where its content begins.
    start: u64,
}

impl Incoming {
    pub(super) fn open_stream(
        &mut self,
        parent: DirId,
        name: Name,
        meta: Meta,
    ) -> Result<(), DiskError> {
        let name = self.local_name(parent, name, false)?;
        if self.is_rehearsal {
            // Nobody asks for one where nothing is to be written.
            let name = name.as_bytes().to_vec();
            return Err(DiskError::Unexpected { name });
        }
        if self.bounds.bytes_max.is_some() {
            // Nobody knows yet how much it will be.
            return Err(DiskError::TooMuch);
        }
        self.note_listed(parent, &name);
        let path = self.tree.dirs.path_number(parent, name.as_bytes());
        let barred = self.tree.bars(parent, &name);
        let listed = Listed {
            name,
            parent,
            meta,
            size: 0,
            path,
            extra: self.extra.take(),
            digest: None,
            file: None,
            proved: None,
        };
        let file = FileNo(self.next_file);
        self.next_file += 1;
        let start = self.map.end();
        let bytes = TORN * self.block_len as u64 - start.min(TORN * self.block_len as u64);
        self.map.push(file, 0, bytes)?;
        self.files.expect(file, listed, bytes)?;
        self.stream = Some(Open { file, start });
        if let Some(why) = barred {
            return self.files.fail(&mut self.tree, file, why);
        }
        Ok(())
    }

    pub(super) fn close_stream(&mut self, size: u64, meta: Meta) -> Result<(), DiskError> {
        // The list's reader lets nothing be closed that is not open.
        let Some(Open { file, start }) = self.stream.take() else {
            return Ok(());
        };
        let end = start.saturating_add(size);
        let padded = end.checked_next_multiple_of(self.block_len as u64);
        let last = self.arrived.ranges().next_back();
        if last.is_some_and(|range| range.end > padded.unwrap_or(u64::MAX)) {
            return Err(DiskError::BlockBeyondEnd);
        }
        self.map.set_end(end);
        let missing = self.arrived.gaps(start..end).map(|gap| gap.end - gap.start);
        let missing = missing.sum();
        let empty = (self.files).close(&mut self.tree, file, (size, meta), missing)?;
        match empty {
            Some(listed) => self.finish_later(listed.parent, What::Hollow(listed)),
            None => Ok(()),
        }
    }
}
