//! Walks the sources and lists what it finds, parents before children, never much ahead of what has
//! been delivered.

mod dress;

use std::{collections::HashMap, ffi::CStr, os::unix::ffi::OsStrExt as _, path::Path};

use haul_manifest::{
    Digest, DirId, Entry, Extra, Layout, MAX_DEPTH, MAX_DIRS, MAX_PATH_LEN, Meta, Name, SkipKind,
    Timestamp,
};
use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{
        Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, accessat, fstatfs, openat,
        readlinkat, stat, statat,
    },
    io::Errno,
};

use super::{
    Available, EXTENTS_AHEAD, LIST_AHEAD_BYTES, Outgoing, Totals,
    extras::{Extras, Where},
    files::Stamp,
    holes,
    places::Place,
};
use crate::{DiskError, FailureKind, digest, source::Landed, unkept::Attribute};

/// Entries between two announcements.
const STEP: u32 = 64;

impl Outgoing {
    /// Walks and lists all sources. Runs on a thread of its own, since it waits whenever it is far
    /// ahead of [`Self::release`]. After each step it tells `listed` what may be sent. Returns
    /// early, with `scanned` unset, once [`Self::stop`] has been called.
    ///
    /// # Errors
    /// [`DiskError`] when a source itself cannot be read. What fails below one is counted, listed
    /// as skipped, and named by [`Self::failures`].
    pub fn scan(&self, listed: &mut dyn FnMut(Available)) -> Result<Totals, DiskError> {
        if !self.proofs.wanted {
            return self.walk_all(listed);
        }
        std::thread::scope(|scope| {
            let name = "haul-prove".to_owned();
            let proving = std::thread::Builder::new().name(name);
            let proving = proving.spawn_scoped(scope, || self.prove_all());
            let scanned = proving
                .map_err(DiskError::Thread)
                .and_then(|_| self.walk_all(listed));
            if scanned.is_err() {
                self.stop();
            }
            scanned
        })
    }

    fn walk_all(&self, listed: &mut dyn FnMut(Available)) -> Result<Totals, DiskError> {
        let mut scan = Scan {
            out: self,
            listed,
            told: Available::default(),
            steps: 0,
            dirs: 0,
            merged: (self.sources.len() > 1).then(HashMap::new),
            extras: Extras::new(self.options.preserve),
        };
        for path in &self.sources {
            scan.source(path)?;
            if !scan.pace() {
                break;
            }
        }
        Ok(scan.end())
    }
}

struct Scan<'a> {
    out: &'a Outgoing,
    listed: &'a mut dyn FnMut(Available),
    told: Available,
    /// Entries since the last announcement.
    steps: u32,
    dirs: u32,
    /// With several sources: the directories listed so far, because two sources may share names.
    merged: Option<HashMap<(DirId, Name), DirId>>,
    extras: Extras,
}

/// A directory being read.
struct Level {
    dir: Dir,
    at: Spot,
    /// Its regular files are made up by the kernel when read, and have no size.
    is_virtual: bool,
}

/// A directory as the list and the disk know it, and how much of the limits its path uses up.
#[derive(Clone, Copy)]
struct Spot {
    id: DirId,
    place: Place,
    levels: usize,
    path_len: usize,
}

/// What a regular file has inside.
struct Inside {
    layout: Layout,
    digest: Option<Digest>,
    extra: Option<Box<Extra>>,
}

impl Default for Inside {
    fn default() -> Self {
        Self {
            layout: Layout::Dense,
            digest: None,
            extra: None,
        }
    }
}

/// Something found in a directory.
struct Found<'a> {
    name: Name,
    fd: BorrowedFd<'a>,
    raw: &'a CStr,
    stat: Stat,
}

impl Scan<'_> {
    fn source(&mut self, path: &Path) -> Result<(), DiskError> {
        let failed = |errno: Errno| DiskError::Source {
            path: path.to_owned(),
            cause: errno.into(),
        };
        let stat = stat(path).map_err(failed)?;
        let place = self.out.lock().places.add_source(path.to_owned());
        let top = Spot {
            id: DirId::DESTINATION,
            place,
            levels: 0,
            path_len: 0,
        };
        let landed = Landed::of(path.as_os_str().as_bytes());
        match (FileType::from_raw_mode(stat.st_mode), landed) {
            (FileType::RegularFile, Landed::Named(name)) => {
                let whence = Where::Source(path);
                if let Some((name, extra)) = self.dress(top, name, b"", whence, &stat) {
                    let inside = self.look_inside(CWD, path.as_os_str().as_bytes(), &stat);
                    self.file(top, (name, b""), &stat, Inside { extra, ..inside });
                }
                Ok(())
            }
            (FileType::Directory, landed) if self.out.options.recursive => {
                let dir = openat(CWD, path, DIR_FLAGS, Mode::empty()).map_err(failed)?;
                let dir = Dir::new(dir).map_err(failed)?;
                let at = match landed {
                    Landed::Contents => Some(top),
                    Landed::Named(name) => self.dir(top, name, &stat, &dir, place),
                };
                if let Some(at) = at {
                    self.walk(Level::new(dir, at));
                }
                Ok(())
            }
            (FileType::Directory, _) => Err(DiskError::SourceIsDir {
                path: path.to_owned(),
            }),
            _ => Err(DiskError::SourceIsSpecial {
                path: path.to_owned(),
            }),
        }
    }

    /// Depth first: what is open at a time is one directory per level.
    fn walk(&mut self, first: Level) {
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            if !self.pace() {
                return;
            }
            match level.next() {
                Some(Ok(raw)) => {
                    let entered = self.visit(level, &raw);
                    levels.extend(entered);
                }
                Some(Err(errno)) => {
                    let mut state = self.out.lock();
                    let path = state.places.path(level.at.place, b"");
                    state.fail(path, errno.into());
                    state.listing.note_unlisted();
                    drop(state);
                    levels.pop();
                }
                None => {
                    levels.pop();
                }
            }
        }
    }

    /// Lists one directory entry; a directory is returned, to be entered.
    fn visit(&mut self, level: &Level, raw: &CStr) -> Option<Level> {
        let at = level.at;
        let name = Name::new(raw.to_bytes()).ok()?;
        let fd = match level.dir.fd() {
            Ok(fd) => fd,
            Err(errno) => return self.skip(at, name, unreadable(errno)),
        };
        let separator = usize::from(at.levels > 0);
        let path_len = at.path_len + separator + name.as_bytes().len();
        if at.levels + 1 > MAX_DEPTH || path_len > MAX_PATH_LEN {
            return self.skip(at, name, SkipKind::TooDeep);
        }
        let stat = match statat(fd, raw, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return self.skip(at, name, unreadable(errno)),
        };
        if !self.selects(at, &name, &stat) {
            self.out.lock().totals.left_out += 1;
            return None;
        }
        let found = Found {
            name,
            fd,
            raw,
            stat,
        };
        match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::Directory => return self.enter(at, found),
            FileType::RegularFile if !level.is_virtual => self.regular(at, found),
            FileType::Symlink => self.symlink(at, found),
            _ => return self.skip(at, found.name, SkipKind::Special),
        }
        None
    }

    fn selects(&self, at: Spot, name: &Name, stat: &Stat) -> bool {
        let selection = &self.out.selection;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile && !selection.admits_age(stat.st_mtime) {
            return false;
        }
        if !selection.has_rules() {
            return true;
        }
        let path = self.out.lock().places.path_below(at.place, name.as_bytes());
        selection.admits(&path, kind == FileType::Directory)
    }

    fn enter(&mut self, at: Spot, found: Found<'_>) -> Option<Level> {
        if self.dirs >= MAX_DIRS {
            return self.skip(at, found.name, SkipKind::TooDeep);
        }
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let opened = openat(found.fd, found.raw, flags, Mode::empty()).and_then(Dir::new);
        let dir = match opened {
            Ok(dir) => dir,
            Err(errno) => return self.skip(at, found.name, unreadable(errno)),
        };
        let mut state = self.out.lock();
        let place = state.places.add_child(at.place, found.name.as_bytes());
        drop(state);
        let spot = self.dir(at, found.name, &found.stat, &dir, place)?;
        Some(Level::new(dir, spot))
    }

    fn regular(&mut self, at: Spot, found: Found<'_>) {
        // Asked for now so that an unreadable file is never announced.
        let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
        if let Err(errno) = accessat(found.fd, found.raw, Access::READ_OK, flags)
            && errno != Errno::NOSYS
        {
            self.skip(at, found.name, unreadable(errno));
            return;
        }
        let raw = found.raw.to_bytes();
        let whence = Where::File(found.fd, raw);
        if let Some((name, extra)) = self.dress(at, found.name, raw, whence, &found.stat) {
            let inside = self.look_inside(found.fd, raw, &found.stat);
            self.file(at, (name, raw), &found.stat, Inside { extra, ..inside });
        }
    }

    fn symlink(&mut self, at: Spot, found: Found<'_>) {
        match readlinkat(found.fd, found.raw, Vec::new()) {
            Ok(target) => {
                let raw = found.raw.to_bytes();
                let whence = Where::Link(found.fd, raw);
                let Some((name, extra)) = self.dress(at, found.name, raw, whence, &found.stat)
                else {
                    return;
                };
                let extra = self.numbered(extra, &found.stat);
                let mut state = self.out.lock();
                state.totals.symlinks += 1;
                state.listing.set_extra(extra);
                state.listing.push(&Entry::Symlink {
                    parent: at.id,
                    meta: self.meta(&found.stat),
                    name,
                    target: target.to_bytes().into(),
                });
            }
            Err(errno) => {
                self.skip(at, found.name, unreadable(errno));
            }
        }
    }

    /// What there is to know of a file beside what its directory says. It is only opened for that if it
    /// has fewer blocks than bytes, or if its contents are to be compared.
    fn look_inside(&self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Inside {
        let size = size(stat);
        let may_have_holes = stat.st_blocks.cast_unsigned().saturating_mul(512) < size;
        let compare = self.out.options.compare;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = (may_have_holes || compare.reads())
            .then(|| openat(dir, name, flags, Mode::empty()).ok())
            .flatten();
        let Some(fd) = opened else {
            return Inside::default();
        };
        // One that cannot be read is found out when it is to be sent.
        let digest = digest::to_compare(compare, &fd, size).ok().flatten();
        let layout = if may_have_holes {
            holes::layout(&fd, size)
        } else {
            Layout::Dense
        };
        Inside {
            layout,
            digest,
            extra: None,
        }
    }

    fn file(&mut self, at: Spot, (name, local): (Name, &[u8]), stat: &Stat, inside: Inside) {
        let size = size(stat);
        let Inside {
            layout,
            digest,
            extra,
        } = inside;
        let proofs = self.out.proofs;
        let is_hollow = layout.extents(size).next().is_none();
        let hollow = (proofs.all && is_hollow).then(|| digest::of_zeros(proofs.digests, size));
        let extra = self.numbered(extra, stat);
        let is_numbered = extra.as_ref().is_some_and(|extra| extra.link.is_some());
        let mut state = self.out.lock();
        let entry = Entry::File {
            parent: at.id,
            name,
            meta: self.meta(stat),
            size,
            layout: layout.clone(),
            digest,
        };
        let content = state.listing.map().end();
        state.listing.set_extra(extra);
        match state.listing.push_file(&entry, size, &layout) {
            Ok(file) => {
                if let Some(file) = file {
                    state.files.push(at.place, local, Stamp::of(stat));
                    state.prove_listed(file, size, content, proofs);
                }
                if let Some(digests) = hollow {
                    let path = state.places.listed(at.place, local);
                    state.tell(path, size, digests);
                }
                state.totals.files += 1;
                state.totals.bytes = state.totals.bytes.saturating_add(size);
                state.totals.content_bytes = state.listing.map().end();
            }
            Err(_) => {
                if is_numbered {
                    self.extras.forget(stat);
                }
                let path = state.places.path(at.place, local);
                state.fail(path, FailureKind::Os(Errno::OVERFLOW));
                state.listing.note_unlisted();
            }
        }
    }

    /// Lists a directory, unless another source has listed it.
    fn dir(&mut self, at: Spot, name: Name, stat: &Stat, open: &Dir, place: Place) -> Option<Spot> {
        let separator = usize::from(at.levels > 0);
        let spot = |id| Spot {
            id,
            place,
            levels: at.levels + 1,
            path_len: at.path_len + separator + name.as_bytes().len(),
        };
        if let Some(merged) = &mut self.merged {
            let key = (at.id, name.clone());
            if let Some(id) = merged.get(&key) {
                return Some(spot(*id));
            }
            merged.insert(key, DirId(self.dirs + 1));
        }
        self.dirs += 1;
        let spot = spot(DirId(self.dirs));
        let (extra, misses) = match open.fd() {
            Ok(fd) => self.extras.read(Where::Open(fd), stat),
            Err(errno) => (None, vec![(Attribute::Xattrs, errno.into())]),
        };
        let mut state = self.out.lock();
        state.totals.dirs += 1;
        state.listing.set_extra(extra);
        state.listing.push(&Entry::Dir {
            parent: at.id,
            name: name.clone(),
            meta: self.meta(stat),
        });
        drop(state);
        if !misses.is_empty() && self.extras.is_strict() {
            // What is in it goes all the same.
            self.skip(at, name, SkipKind::Attributes);
        } else {
            self.note_misses(place, b"", misses);
        }
        Some(spot)
    }

    fn skip(&mut self, at: Spot, name: Name, why: SkipKind) -> Option<Level> {
        let mut state = self.out.lock();
        let path = state.places.path(at.place, name.as_bytes());
        state.fail(path, FailureKind::Skipped(why));
        // Too deep to be sent is too deep to be listed.
        if why == SkipKind::TooDeep {
            state.listing.note_unlisted();
        } else {
            state.listing.push(&Entry::Skipped {
                parent: at.id,
                name,
                why,
            });
        }
        None
    }

    /// Announces from time to time what may be sent, and waits while far ahead. `false`: stop.
    fn pace(&mut self) -> bool {
        self.steps += 1;
        if self.steps < STEP {
            return true;
        }
        self.steps = 0;
        loop {
            self.announce();
            let state = self.out.lock();
            if state.stopped {
                return false;
            }
            let far = |state: &super::State| {
                state.listing.held_bytes() > LIST_AHEAD_BYTES
                    || state.listing.map().extents() > EXTENTS_AHEAD
            };
            if !far(&state) {
                return true;
            }
            drop(
                self.out
                    .freed
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            );
        }
    }

    fn announce(&mut self) {
        let mut state = self.out.lock();
        state.listing.pad_if_idle();
        let available = state.listing.available();
        drop(state);
        if available != self.told {
            self.told = available;
            (self.listed)(available);
        }
    }

    fn end(mut self) -> Totals {
        let mut state = self.out.lock();
        if !state.stopped {
            state.listing.end();
            state.totals.scanned = true;
        }
        let totals = state.totals;
        drop(state);
        self.announce();
        self.announce_proofs();
        totals
    }

    /// Announces what is listed after the end: digests, until there are all.
    fn announce_proofs(&mut self) {
        self.out.moved.notify_all();
        let mut state = self.out.lock();
        while !state.listing.is_proved() && !state.stopped {
            state = self
                .out
                .freed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            drop(state);
            self.announce();
            state = self.out.lock();
        }
        drop(state);
        self.announce();
    }

    fn meta(&self, stat: &Stat) -> Meta {
        let time = |seconds, nanos: u64| Timestamp {
            seconds,
            nanos: u32::try_from(nanos).unwrap_or(0),
        };
        let mut meta = Meta {
            mode: stat.st_mode & 0o7777,
            ..Meta::default()
        };
        if self.out.options.times {
            meta.modified = time(stat.st_mtime, stat.st_mtime_nsec);
            meta.accessed = time(stat.st_atime, stat.st_atime_nsec);
        }
        meta
    }
}

impl Level {
    fn new(dir: Dir, at: Spot) -> Self {
        let is_virtual = dir
            .fd()
            .and_then(|fd| fstatfs(fd.as_fd()))
            .is_ok_and(|fs| VIRTUAL_FILE_SYSTEMS.contains(&fs.f_type));
        Self {
            dir,
            at,
            is_virtual,
        }
    }

    /// The next name that is neither the directory itself nor its parent.
    fn next(&mut self) -> Option<Result<std::ffi::CString, Errno>> {
        loop {
            match self.dir.read()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => return Some(Ok(entry.file_name().to_owned())),
                Err(errno) => return Some(Err(errno)),
            }
        }
    }
}

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// `proc` and `sysfs` (linux/magic.h).
const VIRTUAL_FILE_SYSTEMS: [i64; 2] = [0x9fa0, 0x6265_6572];

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn unreadable(errno: Errno) -> SkipKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => SkipKind::Vanished,
        _ => SkipKind::Unreadable,
    }
}
