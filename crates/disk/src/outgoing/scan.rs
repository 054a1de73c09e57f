//! Walks the sources and lists what it finds, parents before children, never much ahead of what has
//! been delivered.

use std::{collections::HashMap, ffi::CStr, os::unix::ffi::OsStrExt as _, path::Path};

use haul_manifest::{
    DirId, Entry, Layout, MAX_DEPTH, MAX_DIRS, MAX_PATH_LEN, Meta, Name, SkipKind, Timestamp,
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
    Available, EXTENTS_AHEAD, LIST_AHEAD_BYTES, Outgoing, Totals, files::Stamp, holes,
    places::Place,
};
use crate::{DiskError, FailureKind, source::Landed};

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
        let mut scan = Scan {
            out: self,
            listed,
            told: Available::default(),
            steps: 0,
            dirs: 0,
            merged: (self.sources.len() > 1).then(HashMap::new),
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
}

/// A directory being read.
struct Level {
    dir: Dir,
    at: Spot,
    /// As what it is listed; what stands for a source's contents has no name.
    listed: Option<(DirId, Name)>,
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
                let layout = self.layout(CWD, path.as_os_str().as_bytes(), &stat);
                self.file(top, name, b"", &stat, layout);
                Ok(())
            }
            (FileType::Directory, landed) if self.out.options.recursive => {
                let dir = openat(CWD, path, DIR_FLAGS, Mode::empty()).map_err(failed)?;
                let dir = Dir::new(dir).map_err(failed)?;
                let (at, listed) = match landed {
                    Landed::Contents => (Some(top), None),
                    Landed::Named(name) => {
                        let listed = Some((top.id, name.clone()));
                        (self.dir(top, name, &stat, place), listed)
                    }
                };
                let Some(at) = at else { return Ok(()) };
                self.walk(Level::new(dir, at, listed)).map_err(failed)
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
    ///
    /// # Errors
    /// When what stands for a source's contents cannot be read.
    fn walk(&mut self, first: Level) -> Result<(), Errno> {
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            if !self.pace() {
                return Ok(());
            }
            match level.next() {
                Some(Ok(raw)) => {
                    let entered = self.visit(level, &raw);
                    levels.extend(entered);
                }
                Some(Err(errno)) => {
                    self.skip_rest(level, errno)?;
                    levels.pop();
                }
                None => {
                    levels.pop();
                }
            }
        }
        Ok(())
    }

    /// Tells of a directory that cannot be read to its end: what is missing of it would not be missed
    /// otherwise.
    fn skip_rest(&self, level: &mut Level, errno: Errno) -> Result<(), Errno> {
        let (parent, name) = level.listed.take().ok_or(errno)?;
        let why = unreadable(errno);
        let mut state = self.out.lock();
        let path = state.places.path(level.at.place, b"");
        state.fail(path, FailureKind::Skipped(why));
        state.listing.push(&Entry::Skipped { parent, name, why });
        Ok(())
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
        let listed = Some((at.id, found.name.clone()));
        let spot = self.dir(at, found.name, &found.stat, place)?;
        Some(Level::new(dir, spot, listed))
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
        let layout = self.layout(found.fd, found.raw.to_bytes(), &found.stat);
        let raw = found.raw.to_bytes();
        self.file(at, found.name, raw, &found.stat, layout);
    }

    fn symlink(&mut self, at: Spot, found: Found<'_>) {
        match readlinkat(found.fd, found.raw, Vec::new()) {
            Ok(target) => {
                let mut state = self.out.lock();
                state.totals.symlinks += 1;
                state.listing.push(&Entry::Symlink {
                    parent: at.id,
                    meta: self.meta(&found.stat),
                    name: found.name,
                    target: target.to_bytes().into(),
                });
            }
            Err(errno) => {
                self.skip(at, found.name, unreadable(errno));
            }
        }
    }

    /// Where a file's data is. Only a file with fewer blocks than bytes is opened for that.
    fn layout(&self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Layout {
        let size = size(stat);
        if stat.st_blocks.cast_unsigned().saturating_mul(512) >= size {
            return Layout::Dense;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => holes::layout(&fd, size),
            Err(_) => Layout::Dense,
        }
    }

    fn file(&mut self, at: Spot, name: Name, local: &[u8], stat: &Stat, layout: Layout) {
        let size = size(stat);
        let mut state = self.out.lock();
        let entry = Entry::File {
            parent: at.id,
            name,
            meta: self.meta(stat),
            size,
            layout: layout.clone(),
            digest: None,
        };
        match state.listing.push_file(&entry, size, &layout) {
            Ok(file) => {
                if file.is_some() {
                    state.files.push(at.place, local, Stamp::of(stat));
                }
                state.totals.files += 1;
                state.totals.bytes = state.totals.bytes.saturating_add(size);
                state.totals.content_bytes = state.listing.map().end();
            }
            Err(_) => {
                let path = state.places.path(at.place, local);
                state.fail(path, FailureKind::Os(Errno::OVERFLOW));
            }
        }
    }

    /// Lists a directory, unless another source has listed it.
    fn dir(&mut self, at: Spot, name: Name, stat: &Stat, place: Place) -> Option<Spot> {
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
        let mut state = self.out.lock();
        state.totals.dirs += 1;
        state.listing.push(&Entry::Dir {
            parent: at.id,
            name,
            meta: self.meta(stat),
        });
        Some(spot)
    }

    fn skip(&mut self, at: Spot, name: Name, why: SkipKind) -> Option<Level> {
        let mut state = self.out.lock();
        let path = state.places.path(at.place, name.as_bytes());
        state.fail(path, FailureKind::Skipped(why));
        // Too deep to be sent is too deep to be listed.
        if why != SkipKind::TooDeep {
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
        totals
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
    fn new(dir: Dir, at: Spot, listed: Option<(DirId, Name)>) -> Self {
        let is_virtual = dir
            .fd()
            .and_then(|fd| fstatfs(fd.as_fd()))
            .is_ok_and(|fs| VIRTUAL_FILE_SYSTEMS.contains(&fs.f_type));
        Self {
            dir,
            at,
            listed,
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
