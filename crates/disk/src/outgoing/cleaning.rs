//! What becomes of sources once everything has arrived: they are walked again, and what is still what
//! was listed is removed or moved, by the directories held open on the way. Nothing is followed.

use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use haul_manifest::Name;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, mkdirat, openat,
        renameat, renameat_with, stat, statat, unlinkat,
    },
    io::Errno,
};

use super::{
    Outgoing,
    files::Stamp,
    level::{DIR_FLAGS, Identity, identity, next_name},
    sent::Sent,
    wanted::CleanUp,
};
use crate::{FAILURES_KEPT, FailureKind, FileFailure};

/// What became of sources that have arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Files and links that were removed or moved.
    pub files: u64,
    /// Directories that were removed.
    pub dirs: u64,
    /// Files and links that were sent and stay, because they are no longer what was sent or could not be
    /// removed or moved.
    pub left: u64,
    /// Why, of the first [`FAILURES_KEPT`] that could not.
    pub failures: Vec<FileFailure>,
}

impl Outgoing {
    /// Removes or moves what was sent, as was asked for. To be called when the receiver has said that
    /// everything has arrived, and then once.
    pub fn clean_up(&self) -> Cleaned {
        let sent = self.lock().sent.take();
        let (Some(how), Some(sent)) = (&self.wanted.clean_up, sent) else {
            return Cleaned::default();
        };
        let listed = sent.files;
        let mut cleaning = Cleaning {
            how,
            sent,
            cleaned: Cleaned::default(),
        };
        for (index, source) in self.wanted.sources.iter().enumerate() {
            cleaning.source(source, &self.wanted.landed(index));
        }
        let mut cleaned = cleaning.cleaned;
        cleaned.left = listed.saturating_sub(cleaned.files);
        cleaned
    }
}

struct Cleaning<'a> {
    how: &'a CleanUp,
    sent: Sent,
    cleaned: Cleaned,
}

/// A directory being cleaned up.
struct Level {
    dir: Dir,
    identity: Identity,
    mode: Mode,
    /// Its name in the one above.
    name: Vec<u8>,
    /// The directory that what is in it is moved to, once there is something.
    to: Option<OwnedFd>,
}

impl Cleaning<'_> {
    fn source(&mut self, path: &Path, landed: &[Name]) {
        let outcome = match stat(path) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                self.tree(path, landed)
            }
            Ok(_) => self.single(path, landed),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = outcome {
            self.failed(path.to_owned(), errno);
        }
    }

    /// A source that is a file itself.
    fn single(&mut self, path: &Path, landed: &[Name]) -> Result<(), Errno> {
        let (Some(name), Some((own, above))) = (path.file_name(), landed.split_last()) else {
            return Ok(());
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir = openat(CWD, parent, DIR_FLAGS, Mode::empty())?;
        let found = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let key = path.as_os_str().as_bytes();
        if !self.sent.has((0, 0), key, Stamp::of(&found)) {
            return Ok(());
        }
        match &self.how.move_to {
            None => unlinkat(&dir, name, AtFlags::empty())?,
            Some(to) => {
                let to = way(to, above, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
                shift(dir.as_fd(), name.as_bytes(), &to, own.as_bytes())?;
            }
        }
        self.cleaned.files += 1;
        Ok(())
    }

    /// Everything below a source that is a directory. What is open at a time is one directory per
    /// level, and as many where it is moved.
    fn tree(&mut self, path: &Path, landed: &[Name]) -> Result<(), Errno> {
        let dir = openat(CWD, path, DIR_FLAGS, Mode::empty())?;
        let mut levels = vec![Level::new(dir, Vec::new())?];
        while let Some(level) = levels.last_mut() {
            match next_name(&mut level.dir) {
                Some(Ok(raw)) => match self.visit(&mut levels, landed, &raw) {
                    Ok(entered) => levels.extend(entered),
                    Err(errno) => self.failed(within(path, &levels, raw.to_bytes()), errno),
                },
                Some(Err(errno)) => {
                    self.failed(within(path, &levels, b""), errno);
                    levels.pop();
                }
                None => {
                    let done = levels.pop();
                    if let (Some(done), Some(above)) = (done, levels.last()) {
                        self.leave(above, &done);
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes or moves one entry of the last directory; a directory is returned, to be entered.
    fn visit(
        &mut self,
        levels: &mut [Level],
        landed: &[Name],
        raw: &CStr,
    ) -> Result<Option<Level>, Errno> {
        let Some(level) = levels.last() else {
            return Ok(None);
        };
        let fd = level.dir.fd()?;
        let found = statat(fd, raw, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            if !(self.sent).has(level.identity, raw.to_bytes(), identity(&found)) {
                return Ok(None);
            }
            let flags = DIR_FLAGS | OFlags::NOFOLLOW;
            let dir = openat(fd, raw, flags, Mode::empty())?;
            return Level::new(dir, raw.to_bytes().to_vec()).map(Some);
        }
        let was_sent = self
            .sent
            .has(level.identity, raw.to_bytes(), Stamp::of(&found));
        if !was_sent {
            return Ok(None);
        }
        match &self.how.move_to {
            None => unlinkat(fd, raw, AtFlags::empty())?,
            Some(top) => {
                make_way(top, landed, levels)?;
                if let Some(Level {
                    dir, to: Some(to), ..
                }) = levels.last()
                {
                    shift(dir.fd()?, raw.to_bytes(), to, raw.to_bytes())?;
                }
            }
        }
        self.cleaned.files += 1;
        Ok(None)
    }

    /// Removes a directory below the source that was listed and is empty now.
    fn leave(&mut self, above: &Level, done: &Level) {
        if !self.how.empty_dirs || !self.sent.has(above.identity, &done.name, done.identity) {
            return;
        }
        let removed = above.dir.fd().and_then(|fd| {
            let found = statat(fd, &*done.name, AtFlags::SYMLINK_NOFOLLOW)?;
            if identity(&found) != done.identity {
                return Err(Errno::NOENT);
            }
            unlinkat(fd, &*done.name, AtFlags::REMOVEDIR)
        });
        // One that is not empty, or has gone, is none to be removed.
        self.cleaned.dirs += u64::from(removed.is_ok());
    }

    fn failed(&mut self, path: PathBuf, errno: Errno) {
        if self.cleaned.failures.len() < FAILURES_KEPT {
            self.cleaned.failures.push(FileFailure {
                path: path.into_os_string().into_vec(),
                why: FailureKind::Os(errno),
            });
        }
    }
}

impl Level {
    fn new(dir: OwnedFd, name: Vec<u8>) -> Result<Self, Errno> {
        let found: Stat = fstat(&dir)?;
        Ok(Self {
            dir: Dir::new(dir)?,
            identity: identity(&found),
            mode: Mode::from_raw_mode(found.st_mode),
            name,
            to: None,
        })
    }
}

/// The path of something in the last of these directories.
fn within(source: &Path, levels: &[Level], name: &[u8]) -> PathBuf {
    let names = levels.iter().skip(1).map(|level| level.name.as_slice());
    let mut path = source.to_owned();
    path.extend(names.chain([name]).map(OsStr::from_bytes));
    path
}

/// Makes the directories that correspond to these, as far as they are missing.
fn make_way(top: &Path, landed: &[Name], levels: &mut [Level]) -> Result<(), Errno> {
    let first = levels.iter().position(|level| level.to.is_none());
    for at in first.unwrap_or(levels.len())..levels.len() {
        let (above, rest) = levels.split_at_mut(at);
        let Some(level) = rest.first_mut() else { break };
        level.to = Some(match above.last().and_then(|above| above.to.as_ref()) {
            None => way(top, landed, level.mode)?,
            Some(above) => step(above, &level.name, level.mode)?,
        });
    }
    Ok(())
}

/// The directory that names lead to from a path; what is missing of the names is made.
fn way(top: &Path, names: &[Name], mode: Mode) -> Result<OwnedFd, Errno> {
    let mut at = openat(CWD, top, DIR_FLAGS, Mode::empty())?;
    for name in names {
        at = step(&at, name.as_bytes(), mode)?;
    }
    Ok(at)
}

fn step(dir: &OwnedFd, name: &[u8], mode: Mode) -> Result<OwnedFd, Errno> {
    match mkdirat(dir, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(dir, name, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())
}

/// Moves a file to where nothing is.
fn shift(from: BorrowedFd<'_>, name: &[u8], to: &OwnedFd, as_name: &[u8]) -> Result<(), Errno> {
    match renameat_with(from, name, to, as_name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    match statat(to, as_name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => renameat(from, name, to, as_name),
        Err(errno) => Err(errno),
    }
}
