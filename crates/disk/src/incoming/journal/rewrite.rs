//! A journal that has grown is written anew, with what still counts:
//!
//! ```text
//!  .haul-journal       old ─────────── old, unlinked, its lock held to the end
//!  .haul-journal.new       new, locked ──┘ renamed over it
//! ```
//!
//! At any instant one of the two is there, whole and locked by its run. The new one is never read under
//! its first name; one that stays there is removed by whoever has the lock of the other.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    mem::replace,
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat, statat, unlinkat},
    io::Errno,
};

use super::{Journal, Log, record::Record};
use crate::incoming::partial::is_ours;

/// Paths of which it is remembered which records of theirs came last, in 22 MB of memory; of others all are
/// kept.
const PATHS_MAX: usize = 1 << 18;

/// What becomes of what is said of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes,
    Gone,
    /// it stays,
    Kept,
    /// or it stays, and it has reached the disk since it was said.
    Held,
}

/// Which records of a path still say something, counted over all that are read.
struct Latest {
    /// The last one,
    last: u64,
    /// and for a start of the machine after this one the last that holds: this,
    held: Option<u64>,
    /// or, without, what was finished before this.
    first: u64,
}

impl Journal {
    /// Writes the last journal anew with what counts of those from `first` on; how many records that is.
    /// After an error it says what it said.
    pub(super) fn rewrite(
        &mut self,
        first: usize,
        fate: &dyn Fn(&Self, u64) -> Fate,
    ) -> io::Result<u64> {
        let Some(number) = self.files.last().map(|log| log.number) else {
            return Ok(0);
        };
        let (name, name_new) = (super::name(number), super::name_new(number));
        self.clear_new(number);
        let new = self.make(&name_new)?;
        let written = self
            .copy_to(&new, first, fate)
            .and_then(|kept| Ok((kept, new.metadata()?.len())));
        let named = written.and_then(|written| {
            renameat(&*self.top, &*name_new, &*self.top, &*name)?;
            Ok(written)
        });
        let (kept, len) = named.inspect_err(|_| self.clear_new(number))?;
        if let Some(log) = self.files.last_mut() {
            *log = Log { number, file: new };
        }
        self.is_named = false;
        (self.len, self.passing) = (len, 0);
        if self.holds {
            self.sync()?;
        }
        Ok(kept)
    }

    fn copy_to(
        &self,
        new: &File,
        first: usize,
        fate: &dyn Fn(&Self, u64) -> Fate,
    ) -> io::Result<u64> {
        flock(new, FlockOperation::NonBlockingLockExclusive)?;
        let latest = self.latest(first)?;
        // What was said in one that stays must be taken back again and again.
        let keeps_voids = self.files.len() > 1;
        let mut writer = BufWriter::new(new);
        let mut bytes = self.beginning();
        let mut kept = 0;
        self.each(first, &mut |at, mut record| {
            let (Record::File { path, .. } | Record::Void { path }) = record else {
                return Ok(());
            };
            let is_void = matches!(record, Record::Void { .. });
            let is_latest = match latest.get(&path) {
                Some(latest) if latest.last == at => keeps_voids || !is_void,
                Some(latest) => match latest.held {
                    Some(held) => held == at,
                    None => at < latest.first && matches!(record, Record::File { holds: true, .. }),
                },
                None => true,
            };
            let fate = fate(self, path);
            if !is_latest || (fate == Fate::Gone && !is_void) {
                return Ok(());
            }
            if let Record::File { holds, .. } = &mut record {
                *holds |= fate == Fate::Held;
                kept += 1;
            }
            record.frame(&mut bytes);
            writer.write_all(&bytes)?;
            bytes.clear();
            Ok(())
        })?;
        writer.write_all(&bytes)?;
        writer.flush()?;
        drop(writer);
        if self.holds {
            // Before it takes the place of what may be on the disk.
            new.sync_data()?;
        }
        Ok(kept)
    }

    /// Which records come last. Files that were finished at once are not counted: a million of them have
    /// one record each.
    fn latest(&self, first: usize) -> io::Result<HashMap<u64, Latest>> {
        let mut paths = HashMap::<u64, Latest>::new();
        self.each(first, &mut |at, record| {
            let passes = record.is_passing();
            let (path, held, first) = match record {
                Record::Run { .. } => return Ok(()),
                Record::File { path, holds, .. } => (path, holds.then_some(at), at),
                Record::Void { path } => {
                    paths.remove(&path);
                    (path, None, 0)
                }
            };
            if let Some(latest) = paths.get_mut(&path) {
                latest.last = at;
                latest.held = held.or(latest.held);
            } else if passes && paths.len() < PATHS_MAX {
                let last = at;
                paths.insert(path, Latest { last, held, first });
            }
            Ok(())
        })?;
        Ok(paths)
    }

    /// Goes through what counts of the journals from `first` on.
    fn each(
        &self,
        first: usize,
        visit: &mut dyn FnMut(u64, Record) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = 0;
        for log in &self.files[first..] {
            let mut records = log.records(self.boot.as_deref())?;
            let mut read = 0;
            while let Some((record, len)) = records.next() {
                read += len;
                at += 1;
                if records.counts(&record) {
                    visit(at, record)?;
                }
            }
            // What could be read a moment ago must not be lost because it cannot be read now.
            if read != log.file.metadata()?.len() {
                return Err(Errno::IO.into());
            }
        }
        Ok(())
    }

    /// Removes a new journal that a run which was killed has left. To be called with the lock of the one
    /// of this number.
    pub(super) fn clear_new(&self, number: u8) {
        let name = super::name_new(number);
        if statat(&*self.top, &*name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_ours(&stat)) {
            // Where it cannot be removed, the journal goes on as it is.
            let _ = unlinkat(&*self.top, &*name, AtFlags::empty());
        }
    }

    /// Has on the disk what is said, and where.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(log) = self.files.last() else {
            return Ok(());
        };
        log.file.sync_data()?;
        if !replace(&mut self.is_named, true) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // The held descriptor only names the directory.
            let top = openat(&*self.top, ".", flags, Mode::empty());
            top.and_then(fsync).inspect_err(|_| self.is_named = false)?;
        }
        Ok(())
    }
}
