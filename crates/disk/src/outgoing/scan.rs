//! Walks the sources and lists what it finds, parents before children, never much ahead of what has
//! been delivered.

mod dress;
mod inside;
mod pace;
mod protected;

use std::{collections::HashMap, ffi::CStr, io, os::unix::ffi::OsStrExt as _, path::Path};

use haul_manifest::{
    DirId, Entry, MAX_DEPTH, MAX_DIRS, MAX_PATH_LEN, Meta, Name, SkipKind, Timestamp,
};
use haul_wire::control::Symlinks;
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{
        Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, accessat, openat, readlinkat,
        stat, statat,
    },
    io::Errno,
};

use self::inside::Inside;
use super::{
    Available, Outgoing, Totals, Wanted,
    extras::{Extras, Where},
    files::Stamp,
    follow::{Target, follow},
    level::{DIR_FLAGS, Identity, Level, identity, is_virtual},
    places::Place,
};
use crate::{Bounds, DiskError, FailureKind, digest, unkept::Attribute};

/// No directory of this machine.
const NOWHERE: Identity = (0, 0);

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
            merged: (self.wanted.sources.len() > 1).then(HashMap::new),
            extras: Extras::new(self.wanted.options.preserve),
            left: self.wanted.bounds.clone(),
            too_much: None,
        };
        for (index, path) in self.wanted.sources.iter().enumerate() {
            scan.source(index, path)?;
            if !scan.pace() {
                break;
            }
        }
        match scan.too_much.take() {
            Some(error) => Err(error),
            None => Ok(scan.end()),
        }
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
    /// What may still go; names are judged below the source that is being walked.
    left: Bounds,
    too_much: Option<DiskError>,
}

/// A directory as the list and the disk know it, and how much of the limits its path uses up.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) id: DirId,
    pub(super) place: Place,
    /// Which directory it is here; for what is not a directory here, none.
    pub(super) identity: Identity,
    levels: usize,
    path_len: usize,
}

/// Something found in a directory.
struct Found<'a> {
    name: Name,
    fd: BorrowedFd<'a>,
    raw: &'a CStr,
    stat: Stat,
    /// What a link led to; `stat` is of that then.
    target: Option<OwnedFd>,
}

impl Scan<'_> {
    fn source(&mut self, index: usize, path: &Path) -> Result<(), DiskError> {
        let failed = |errno: Errno| DiskError::Source {
            path: path.to_owned(),
            cause: errno.into(),
        };
        self.begin(path).map_err(|cause| DiskError::Source {
            path: path.to_owned(),
            cause,
        })?;
        let stat = stat(path).map_err(failed)?;
        let place = self.out.lock().places.add_source(path.to_owned());
        let mut names = self.out.wanted.landed(index);
        let name = names.pop();
        let top = self.lead(index, names, place);
        match (FileType::from_raw_mode(stat.st_mode), name) {
            (FileType::RegularFile, Some(name)) => {
                let whence = Where::Source(path);
                if let Some((name, extra)) = self.dress(top, name, b"", whence, &stat) {
                    let inside = self.look_inside(CWD, path.as_os_str().as_bytes(), &stat);
                    if self.file(top, (name, b""), &stat, Inside { extra, ..inside }) {
                        self.note_sent(NOWHERE, path.as_os_str().as_bytes(), &stat);
                    }
                }
                Ok(())
            }
            (FileType::Directory, name) if self.out.wanted.options.recursive => {
                let dir = openat(CWD, path, DIR_FLAGS, Mode::empty()).map_err(failed)?;
                let dir = Dir::new(dir).map_err(failed)?;
                let identity = identity(&stat);
                let at = match name {
                    None => Spot { identity, ..top },
                    Some(name) => {
                        let meta = self.meta(&stat);
                        self.dir(top, name, meta, (place, identity), Some((&dir, &stat)))
                    }
                };
                self.walk(Level::new(dir, at));
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

    /// Has names judged below this source, wherever links in its own path lead.
    fn begin(&mut self, source: &Path) -> io::Result<()> {
        let Wanted { bounds, jail, .. } = &self.out.wanted;
        if let (Some(rule), Some(jail)) = (&bounds.names, jail) {
            let place = source.canonicalize()?;
            let below = place.strip_prefix(jail).unwrap_or(&place);
            let below = below.as_os_str().as_bytes().to_vec();
            self.left.names = Some(rule.clone().below(below));
        }
        Ok(())
    }

    /// Lists the directories in which a source lands.
    fn lead(&mut self, index: usize, names: Vec<Name>, place: Place) -> Spot {
        let mut at = Spot {
            id: DirId::DESTINATION,
            place,
            identity: NOWHERE,
            levels: 0,
            path_len: 0,
        };
        for (above, name) in names.into_iter().enumerate() {
            let own = self.out.wanted.led_by(index, above + 1);
            let meta = match own.map(stat) {
                Some(Ok(stat)) => self.meta(&stat),
                _ => Meta {
                    mode: 0o755,
                    ..Meta::default()
                },
            };
            at = self.dir(at, name, meta, (place, NOWHERE), None);
        }
        at
    }

    /// Remembers a file or link that has been listed, where that is wanted.
    fn note_sent(&self, dir: Identity, name: &[u8], stat: &Stat) {
        if let Some(sent) = &mut self.out.lock().sent {
            sent.file(dir, name, Stamp::of(stat));
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
                    let entered = self.visit(&levels, &raw);
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

    /// Lists one entry of the last of these directories, each of which is in the one before; a
    /// directory is returned, to be entered.
    fn visit(&mut self, levels: &[Level], raw: &CStr) -> Option<Level> {
        let level = levels.last()?;
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
        let (stat, target) = match self.look(levels, fd, raw) {
            Ok(found) => found,
            Err(why) => return self.skip(at, name, why),
        };
        if !self.selects(at, &name, &stat) {
            return self.leave_out();
        }
        let found = Found {
            name,
            fd,
            raw,
            stat,
            target,
        };
        let options = self.out.wanted.options;
        let is_virtual = match &found.target {
            Some(target) => is_virtual(target.as_fd()),
            None => level.is_virtual,
        };
        match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::Directory => return self.enter(at, found),
            FileType::RegularFile if !is_virtual => self.regular(at, found),
            FileType::Symlink if options.symlinks == Symlinks::Skip => return self.leave_out(),
            FileType::Symlink => self.symlink(at, found),
            // Listed all the same: what has its name there is not to be taken for something that is gone.
            _ if options.skip_special => return self.leave_special(at, found.name),
            _ => return self.skip(at, found.name, SkipKind::Special),
        }
        None
    }

    /// What is found by this name, links followed where they are to be.
    fn look(
        &self,
        levels: &[Level],
        dir: BorrowedFd<'_>,
        raw: &CStr,
    ) -> Result<(Stat, Option<OwnedFd>), SkipKind> {
        let stat = statat(dir, raw, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        let wanted = &self.out.wanted;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if !is_link || !wanted.follows() {
            return Ok((stat, None));
        }
        let Target { fd, stat } = follow(dir, raw, wanted.jail.as_deref())?;
        let is_above = |level: &Level| level.at.identity == identity(&stat);
        if levels.iter().any(is_above) {
            return Err(SkipKind::Loop);
        }
        Ok((stat, Some(fd)))
    }

    fn leave_special(&self, parent: Spot, name: Name) -> Option<Level> {
        let mut state = self.out.lock();
        state.totals.left_out += 1;
        state.listing.push(&Entry::Skipped {
            parent: parent.id,
            name,
            why: SkipKind::Special,
        });
        None
    }

    fn leave_out(&self) -> Option<Level> {
        self.out.lock().totals.left_out += 1;
        None
    }

    fn selects(&self, at: Spot, name: &Name, stat: &Stat) -> bool {
        let selection = &self.out.wanted.selection;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile && !selection.admits_age(stat.st_mtime) {
            return false;
        }
        if !selection.has_rules() && self.left.names.is_none() {
            return true;
        }
        let path = self.out.lock().places.path_below(at.place, name.as_bytes());
        let is_dir = kind == FileType::Directory;
        selection.admits(&path, is_dir) && self.left.allow(&path, is_dir)
    }

    fn enter(&mut self, at: Spot, found: Found<'_>) -> Option<Level> {
        if self.dirs >= MAX_DIRS {
            return self.skip(at, found.name, SkipKind::TooDeep);
        }
        let opened = match &found.target {
            Some(target) => openat(target, ".", DIR_FLAGS, Mode::empty()),
            None => openat(
                found.fd,
                found.raw,
                DIR_FLAGS | OFlags::NOFOLLOW,
                Mode::empty(),
            ),
        };
        let dir = match opened.and_then(Dir::new) {
            Ok(dir) => dir,
            Err(errno) => return self.skip(at, found.name, unreadable(errno)),
        };
        let mut state = self.out.lock();
        let place = state.places.add_child(at.place, found.name.as_bytes());
        drop(state);
        let identity = identity(&found.stat);
        if let Some(sent) = &mut self.out.lock().sent {
            sent.dir(at.identity, found.name.as_bytes(), identity);
        }
        let (meta, open) = (self.meta(&found.stat), Some((&dir, &found.stat)));
        let spot = self.dir(at, found.name, meta, (place, identity), open);
        Some(Level::new(dir, spot))
    }

    fn regular(&mut self, at: Spot, found: Found<'_>) {
        // Asked for now so that an unreadable file is never announced.
        let flags = match found.target {
            Some(_) => AtFlags::EACCESS,
            None => AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW,
        };
        if let Err(errno) = accessat(found.fd, found.raw, Access::READ_OK, flags)
            && errno != Errno::NOSYS
        {
            self.skip(at, found.name, unreadable(errno));
            return;
        }
        let raw = found.raw.to_bytes();
        let whence = match &found.target {
            Some(target) => Where::Open(target.as_fd()),
            None => Where::File(found.fd, raw),
        };
        if let Some((name, extra)) = self.dress(at, found.name, raw, whence, &found.stat) {
            let inside = self.look_inside(found.fd, raw, &found.stat);
            if self.file(at, (name, raw), &found.stat, Inside { extra, ..inside }) {
                self.note_sent(at.identity, raw, &found.stat);
            }
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
                self.spend(0);
                let mut state = self.out.lock();
                state.totals.symlinks += 1;
                state.listing.set_extra(extra);
                state.listing.push(&Entry::Symlink {
                    parent: at.id,
                    meta: self.meta(&found.stat),
                    name,
                    target: target.to_bytes().into(),
                });
                drop(state);
                self.note_sent(at.identity, found.raw.to_bytes(), &found.stat);
            }
            Err(errno) => {
                self.skip(at, found.name, unreadable(errno));
            }
        }
    }

    /// Lists a file; whether that went well.
    fn file(
        &mut self,
        at: Spot,
        (name, local): (Name, &[u8]),
        stat: &Stat,
        inside: Inside,
    ) -> bool {
        let Inside {
            layout,
            digest,
            extra,
        } = inside;
        let Some((name, size, layout, sealer)) = self.protected(at, name, local, stat, layout)
        else {
            return false;
        };
        self.spend(size);
        // Of the source it would tell what the contents are, and of the file it is not.
        let digest = digest.filter(|_| sealer.is_none());
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
                    if let Some(sealer) = sealer {
                        state.sealers.insert(file, sealer);
                    }
                    state.prove_listed(file, size, content, proofs);
                }
                if let Some(digests) = hollow {
                    let path = state.places.listed(at.place, local);
                    state.tell(path, size, digests);
                }
                state.totals.files += 1;
                state.totals.bytes = state.totals.bytes.saturating_add(size);
                state.totals.content_bytes = state.listing.map().end();
                true
            }
            Err(_) => {
                if is_numbered {
                    self.extras.forget(stat);
                }
                let path = state.places.path(at.place, local);
                state.fail(path, FailureKind::Os(Errno::OVERFLOW));
                state.listing.note_unlisted();
                false
            }
        }
    }

    /// Lists a directory, unless another source has listed it.
    fn dir(
        &mut self,
        at: Spot,
        name: Name,
        meta: Meta,
        (place, identity): (Place, Identity),
        open: Option<(&Dir, &Stat)>,
    ) -> Spot {
        let separator = usize::from(at.levels > 0);
        let spot = |id| Spot {
            id,
            place,
            identity,
            levels: at.levels + 1,
            path_len: at.path_len + separator + name.as_bytes().len(),
        };
        if let Some(merged) = &mut self.merged {
            let key = (at.id, name.clone());
            if let Some(id) = merged.get(&key) {
                return spot(*id);
            }
            merged.insert(key, DirId(self.dirs + 1));
        }
        self.dirs += 1;
        self.spend(0);
        let spot = spot(DirId(self.dirs));
        let (extra, misses) = match open.map(|(dir, stat)| (dir.fd(), stat)) {
            Some((Ok(fd), stat)) => self.extras.read(Where::Open(fd), stat),
            Some((Err(errno), _)) => (None, vec![(Attribute::Xattrs, errno.into())]),
            None => (None, Vec::new()),
        };
        let mut state = self.out.lock();
        state.totals.dirs += 1;
        state.listing.set_extra(extra);
        state.listing.push(&Entry::Dir {
            parent: at.id,
            name: name.clone(),
            meta,
        });
        drop(state);
        if !misses.is_empty() && self.extras.is_strict() {
            // What is in it goes all the same.
            self.skip(at, name, SkipKind::Attributes);
        } else {
            self.note_misses(place, b"", misses);
        }
        spot
    }

    /// Takes this from what may still go; what is too much ends the scan at its next step.
    fn spend(&mut self, bytes: u64) {
        if let Err(error) = self.left.spend(bytes) {
            self.too_much = Some(error);
        }
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

    fn meta(&self, stat: &Stat) -> Meta {
        meta(stat, self.out.wanted.options.times)
    }
}

/// What is listed of something.
pub(super) fn meta(stat: &Stat, times: bool) -> Meta {
    let time = |seconds, nanos: u64| Timestamp {
        seconds,
        nanos: u32::try_from(nanos).unwrap_or(0),
    };
    let mut meta = Meta {
        mode: stat.st_mode & 0o7777,
        ..Meta::default()
    };
    if times {
        meta.modified = time(stat.st_mtime, stat.st_mtime_nsec);
        meta.accessed = time(stat.st_atime, stat.st_atime_nsec);
    }
    meta
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(super) fn unreadable(errno: Errno) -> SkipKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => SkipKind::Vanished,
        _ => SkipKind::Unreadable,
    }
}
