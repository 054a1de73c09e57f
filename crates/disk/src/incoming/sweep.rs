//! What the list does not have is removed, once everything has arrived: in directories that were listed,
//! and at the top where a directory's contents were sent. By held directories, following nothing.

use std::{
    collections::HashSet,
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use haul_manifest::{DirId, MAX_DEPTH, Name, SkipKind};
use haul_wire::control::{Act, Symlinks};
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, StatxFlags, fstat, openat, statat, statx,
        unlinkat,
    },
    io::Errno,
};

use super::{
    Incoming, Tree,
    dirs::Dirs,
    journal::is_journal,
    ledger::Ledger,
    naming::Naming,
    published::{Identity, Published},
};
use crate::{FailureKind, Landing, Selection};

/// Most names of a list that are remembered, in 256 MiB; after a longer list nothing is removed.
const NAMES_MAX: usize = 1 << 25;

/// What the sender leaves out, as far as its absence from the list must not be taken for its absence.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    /// Names below its sources.
    pub selection: Selection,
    /// What becomes of symbolic links.
    pub symlinks: Symlinks,
}

/// Why nothing was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undeleted {
    /// What is missing may be what failed.
    #[error("some names failed, so what is no longer at the source is not known")]
    Failures,
    /// The list has more names than are remembered.
    #[error("the source has more than {NAMES_MAX} names")]
    TooMany,
}

/// What is known of names that stay.
#[derive(Debug)]
pub(super) struct Sweep {
    left_out: LeftOut,
    naming: Naming,
    /// Whether the top is the contents of a directory of the sender's,
    has_contents: bool,
    /// and whether something there has the name of one of its sources.
    has_sources: bool,
    is_rehearsal: bool,
    /// Numbers of the paths that were listed; ascending once sweeping has begun.
    listed: Vec<u64>,
    /// What has a listed name, however the file system spells it.
    met: HashSet<Identity>,
    /// The mount that is not left.
    mount: Option<Mount>,
    /// Directories that have been looked at.
    swept: u32,
}

impl Sweep {
    pub(super) fn new(
        left_out: LeftOut,
        naming: Naming,
        landing: &Landing,
        is_rehearsal: bool,
    ) -> Self {
        Self {
            left_out,
            naming,
            has_contents: landing.contents,
            has_sources: landing.named,
            is_rehearsal,
            listed: Vec::new(),
            met: HashSet::new(),
            mount: None,
            swept: 0,
        }
    }

    /// The list has the name with this path number.
    pub(super) fn note(&mut self, path: u64) {
        if self.listed.len() <= NAMES_MAX {
            self.listed.push(path);
        }
    }

    /// Something that has a listed name stays, or would be replaced.
    fn meet(&mut self, stat: &Stat) {
        self.met.insert(Identity::of(stat));
    }

    /// Gets ready to look at the first directory.
    fn begin(&mut self, dirs: &mut Dirs, published: Published) -> Result<(), Undeleted> {
        if self.listed.len() > NAMES_MAX {
            return Err(Undeleted::TooMany);
        }
        self.listed.sort_unstable();
        self.met.extend(published.into_identities());
        for id in (1..=dirs.count()).map(DirId) {
            if self.is_rehearsal && dirs.is_new(id) {
                continue;
            }
            let dir = dirs.open(id).map_err(|_| Undeleted::Failures)?;
            let stat = fstat(&*dir).map_err(|_| Undeleted::Failures)?;
            self.meet(&stat);
        }
        let mount = Mount::of(dirs.top().as_fd());
        self.mount = Some(mount.map_err(|_| Undeleted::Failures)?);
        Ok(())
    }

    /// Whether a directory is on the file system that is swept.
    fn is_inside(&self, dir: BorrowedFd<'_>) -> bool {
        self.mount.is_some_and(|mount| Mount::of(dir) == Ok(mount))
    }

    /// Looks at the next directory; `false` when there is none.
    fn step(&mut self, tree: &mut Tree) -> bool {
        let id = DirId(self.swept);
        if id.0 > tree.dirs.count() {
            return false;
        }
        self.swept += 1;
        // In one that is new is what has arrived and nothing else.
        let is_due = match id {
            DirId::DESTINATION => self.has_contents && !tree.dirs.is_new(id),
            id => !tree.dirs.is_new(id),
        };
        if is_due && let Err(why) = self.sweep(id, tree) {
            let path = tree.dirs.path(id, b".");
            tree.ledger.failed(path, 0, why);
        }
        true
    }

    fn sweep(&self, id: DirId, tree: &mut Tree) -> Result<(), FailureKind> {
        let dir = tree.dirs.open(id)?;
        if !self.is_inside(dir.as_fd()) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The held descriptor only names the directory.
        let fd = openat(&*dir, ".", flags, Mode::empty())?;
        let mut broom = Broom {
            sweep: self,
            ledger: &mut tree.ledger,
            path: Vec::new(),
        };
        for name in names(fd)? {
            let name = name?;
            let bytes = name.to_bytes();
            let number = tree.dirs.path_number(id, bytes);
            if self.listed.binary_search(&number).is_err() {
                broom.path = tree.dirs.path(id, bytes);
                broom.remove(dir.as_fd(), &name, 1);
            }
        }
        Ok(())
    }

    /// Whether the sender would have sent it if it had it.
    fn would_be_sent(&self, path: &[u8], kind: FileType) -> bool {
        let LeftOut {
            selection,
            symlinks,
        } = &self.left_out;
        match kind {
            FileType::Symlink if *symlinks == Symlinks::Skip => return false,
            // The age there is not known.
            FileType::RegularFile if selection.has_ages() => return false,
            _ => {}
        }
        // A path below the destination begins with a source's name, or is one below a source already.
        let is_start = |depth: &usize| match depth {
            0 => self.has_contents,
            1 => self.has_sources,
            _ => false,
        };
        let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let starts = std::iter::once(0).chain(starts.map(|(at, _)| at + 1));
        let mut below = starts
            .enumerate()
            .filter(|(depth, _)| is_start(depth))
            .map(|(_, start)| &path[start..]);
        below.all(|path| selection.admits(path, kind == FileType::Directory))
    }

    /// Whether it is what has a listed name, spelt otherwise: where case does not count, or names are
    /// normalised.
    fn is_met(&self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> bool {
        if !self.met.contains(&Identity::of(stat)) {
            return false;
        }
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir || stat.st_nlink == 1 || !name.is_ascii() {
            return true;
        }
        // A hard link to such a file is another name, unless case does not count here.
        let swapped: Vec<u8> = name.iter().map(swap_case).collect();
        swapped != name
            && statat(dir, swapped, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|other| Identity::of(&other) == Identity::of(stat))
    }
}

/// Removes, and accounts for it.
struct Broom<'a> {
    sweep: &'a Sweep,
    ledger: &'a mut Ledger,
    /// Of what is being looked at, below the destination.
    path: Vec<u8>,
}

impl Broom<'_> {
    /// Removes what has this name in `dir`, and `self.path`, unless it or something in it is spared.
    /// Whether it has gone.
    fn remove(&mut self, dir: BorrowedFd<'_>, name: &CString, depth: usize) -> bool {
        match self.try_remove(dir, name, depth) {
            Ok(is_gone) => is_gone,
            Err(why) => {
                self.ledger.failed(self.path.clone(), 0, why);
                false
            }
        }
    }

    fn try_remove(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        depth: usize,
    ) -> Result<bool, FailureKind> {
        let bytes = name.to_bytes();
        if self.sweep.naming.is_own(bytes) || is_journal(bytes) {
            return Ok(false);
        }
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !self.sweep.would_be_sent(&self.path, kind) || self.sweep.is_met(dir, bytes, &stat) {
            return Ok(false);
        }
        let mut flags = AtFlags::empty();
        if kind == FileType::Directory {
            if !self.empty(dir, name, depth)? {
                return Ok(false);
            }
            flags = AtFlags::REMOVEDIR;
        }
        if !self.sweep.is_rehearsal {
            unlinkat(dir, name, flags)?;
        }
        self.ledger.received.deleted += 1;
        self.ledger.changed(Act::Delete, &self.path);
        Ok(true)
    }

    /// Removes what is in a directory; whether nothing is left.
    fn empty(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        depth: usize,
    ) -> Result<bool, FailureKind> {
        if depth > MAX_DEPTH {
            return Err(FailureKind::Skipped(SkipKind::TooDeep));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty())?;
        if !self.sweep.is_inside(fd.as_fd()) {
            return Ok(false);
        }
        let held = fd.try_clone().map_err(|_| Errno::MFILE)?;
        let len = self.path.len();
        let mut is_empty = true;
        for child in names(fd)? {
            let child = child?;
            self.path.push(b'/');
            self.path.extend_from_slice(child.to_bytes());
            is_empty &= self.remove(held.as_fd(), &child, depth + 1);
            self.path.truncate(len);
        }
        Ok(is_empty)
    }
}

impl Incoming {
    /// What is left to be done when all has arrived, a step at a time: whether there may be more. Makes
    /// the symbolic links and removes what the list does not have; events can be polled in between.
    ///
    /// # Errors
    /// [`crate::DiskError::Storage`] when the file system gives up.
    pub fn wind_up(&mut self) -> Result<bool, crate::DiskError> {
        if std::mem::replace(&mut self.is_winding_up, true) {
            let step = |sweep: &mut Sweep| sweep.step(&mut self.tree);
            return Ok(self.sweep.as_mut().is_some_and(step));
        }
        self.make_links()?;
        self.files.finishing.wait();
        self.settle_finished()?;
        self.make_hard_links()?;
        let Some(sweep) = &mut self.sweep else {
            return Ok(false);
        };
        let begun = match self.tree.ledger.received.failed_count {
            0 => sweep.begin(&mut self.tree.dirs, self.files.finishing.end()),
            _ => Err(Undeleted::Failures),
        };
        if let Err(why) = begun {
            self.tree.ledger.received.undeleted = Some(why);
            self.sweep = None;
        }
        Ok(self.sweep.is_some())
    }

    /// The sender has something of this name: nothing that has it is removed.
    pub(super) fn note_listed(&mut self, parent: DirId, name: &Name) {
        if let Some(sweep) = &mut self.sweep {
            sweep.note(self.tree.dirs.path_number(parent, name.as_bytes()));
        }
    }

    /// What has a listed name is known now, and is not removed under another spelling.
    pub(super) fn meet(&mut self, stat: &Stat) {
        if let Some(sweep) = &mut self.sweep {
            sweep.meet(stat);
        }
    }

    /// Counts what is left in a listed name's place.
    pub(super) fn note_kept(&mut self, stat: &Stat) {
        self.tree.ledger.received.kept += 1;
        self.meet(stat);
    }
}

/// The names in a directory, but for itself and the one above.
fn names(fd: OwnedFd) -> Result<impl Iterator<Item = Result<CString, Errno>>, Errno> {
    let names = Dir::new(fd)?.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    Ok(names.filter(|name| {
        !name
            .as_ref()
            .is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))
    }))
}

fn swap_case(byte: &u8) -> u8 {
    match byte {
        byte if byte.is_ascii_lowercase() => byte.to_ascii_uppercase(),
        byte => byte.to_ascii_lowercase(),
    }
}

/// Which mounted file system something is on: its device, and the mount where the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mount {
    device: (u32, u32),
    id: Option<u64>,
}

impl Mount {
    fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let found = statx(fd, c"", AtFlags::EMPTY_PATH, wanted)?;
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            id: (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn another_spelling_of_what_was_listed_is_not_another_link_to_it() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::write(at("File"), "x").unwrap();
        fs::create_dir(at("dir")).unwrap();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let dir = openat(CWD, top.path(), flags, Mode::empty()).unwrap();
        let stat = |name: &str| statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let asked = crate::Asked {
            count: 1,
            contents: true,
        };
        let (_, landing) = Landing::resolve(top.path(), b"", asked, false).unwrap();
        let (left_out, naming) = (LeftOut::default(), Naming::default());
        let mut sweep = Sweep::new(left_out, naming, &landing, false);
        let is_met = |sweep: &Sweep, name: &str, of: &str| {
            sweep.is_met(dir.as_fd(), name.as_bytes(), &stat(of))
        };
        assert!(!is_met(&sweep, "file", "File"));
        sweep.meet(&stat("File"));
        sweep.meet(&stat("dir"));
        // Where case does not count, these are what was listed.
        assert!(is_met(&sweep, "file", "File") && is_met(&sweep, "DIR", "dir"));
        fs::hard_link(at("File"), at("other")).unwrap();
        assert!(!is_met(&sweep, "other", "other"));
        fs::hard_link(at("File"), at("fILE")).unwrap();
        assert!(
            is_met(&sweep, "File", "File"),
            "its swapped name is the same file"
        );
        assert!(
            is_met(&sweep, "\u{c5}", "other"),
            "nobody knows how this is folded"
        );
    }
}
