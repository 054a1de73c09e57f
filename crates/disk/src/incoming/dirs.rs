use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use haul_manifest::{DirId, Extra, Meta, Name};
use rustix::{
    fs::{Mode, OFlags, fstat, mkdirat, openat},
    io::Errno,
};

use super::{
    attributes::{Attributes, Miss, Subject},
    journal::is_reserved,
    ledger::Ledger,
    partial::{HASH_EMPTY, hash_on},
};
use crate::{Bounds, FailureKind, Root, error::is_descriptor_shortage, lru::Lru};

/// Open directories.
const OPEN_DIRS: usize = 128;

/// The directories of the destination, by [`DirId`].
#[derive(Debug)]
pub(super) struct Dirs {
    root: Root,
    /// The listed ones; the first is number 1.
    nodes: Vec<Node>,
    open: Lru<DirId, Arc<OwnedFd>>,
    top: Arc<OwnedFd>,
    /// Whether nothing is made, only found,
    is_rehearsal: bool,
    /// and not even the top is there.
    is_top_new: bool,
    /// Which names there may be.
    pub(super) bounds: Bounds,
}

#[derive(Debug)]
struct Node {
    parent: DirId,
    name: Name,
    /// What is left to be applied when everything is in it.
    last: Option<Box<(Meta, Option<Box<Extra>>)>>,
    failed: bool,
    is_new: bool,
    /// A number for its path below the destination.
    path: u64,
}

impl Dirs {
    pub(super) fn new(root: Root) -> Result<Self, Errno> {
        Ok(Self {
            top: Arc::new(root.duplicate()?),
            root,
            nodes: Vec::new(),
            open: Lru::new(OPEN_DIRS),
            is_rehearsal: false,
            is_top_new: false,
            bounds: Bounds::default(),
        })
    }

    /// Ones that are only looked for. Where the top is missing, `root` is a directory above it.
    pub(super) fn rehearsing(root: Root, is_top_missing: bool) -> Result<Self, Errno> {
        Ok(Self {
            is_rehearsal: true,
            is_top_new: is_top_missing,
            ..Self::new(root)?
        })
    }

    /// Makes the next directory, or finds it. It gets its number even if that fails.
    pub(super) fn create(
        &mut self,
        parent: DirId,
        name: &Name,
        meta: &Meta,
        extra: Option<Box<Extra>>,
        attributes: &Attributes,
    ) -> Result<(), FailureKind> {
        let mode = attributes.mode_while_filling(meta);
        let made = self.make(parent, name, Mode::from_raw_mode(mode));
        let last = match made {
            Ok(true) => attributes.is_due_for_new_dir(meta),
            Ok(false) => attributes.keeps_any(),
            Err(_) => false,
        };
        self.nodes.push(Node {
            parent,
            name: name.clone(),
            last: last.then(|| Box::new((*meta, extra))),
            failed: made.is_err(),
            is_new: made == Ok(true),
            path: self.path_number(parent, name.as_bytes()),
        });
        made.map(|_| ())
    }

    /// A number for the path of `name` in a directory, the same in every run.
    pub(super) fn path_number(&self, parent: DirId, name: &[u8]) -> u64 {
        let above = match parent {
            DirId::DESTINATION => HASH_EMPTY,
            DirId(number) => self.nodes[number as usize - 1].path,
        };
        hash_on(hash_on(above, b"/"), name)
    }

    /// How many directories have been listed.
    pub(super) fn count(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// The top directory.
    pub(super) fn top(&self) -> &Arc<OwnedFd> {
        &self.top
    }

    /// Whether this transfer has made the directory, or would: nothing was in it before.
    pub(super) fn is_new(&self, id: DirId) -> bool {
        match id {
            DirId::DESTINATION => self.is_top_new,
            DirId(number) => self.nodes[number as usize - 1].is_new,
        }
    }

    /// Why nothing that is sent may have this name, if nothing may.
    pub(super) fn bars(&self, parent: DirId, name: &Name, is_dir: bool) -> Option<FailureKind> {
        if is_reserved(parent, name) {
            return Some(FailureKind::Reserved);
        }
        let is_free = self.bounds.names.is_none()
            || self
                .bounds
                .allow(&self.path(parent, name.as_bytes()), is_dir);
        (!is_free).then_some(FailureKind::NotAllowed)
    }

    /// Whether the directory is new.
    fn make(&mut self, parent: DirId, name: &Name, mode: Mode) -> Result<bool, FailureKind> {
        if let Some(why) = self.bars(parent, name, true) {
            return Err(why);
        }
        if self.is_rehearsal && self.is_new(parent) {
            return Ok(true);
        }
        let dir = self.open(parent)?;
        let made = if self.is_rehearsal {
            Err(Errno::EXIST)
        } else {
            mkdirat(&*dir, name.as_bytes(), mode)
        };
        match made {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => match self.root.dir(dir.as_fd(), &[name.as_bytes()]) {
                Ok(_) => Ok(false),
                Err(Errno::NOENT) if self.is_rehearsal => Ok(true),
                Err(Errno::NOTDIR | Errno::LOOP) => Err(FailureKind::NotADirectory),
                Err(errno) => Err(errno.into()),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// The directory, opened again if need be.
    pub(super) fn open(&mut self, id: DirId) -> Result<Arc<OwnedFd>, FailureKind> {
        let mut names = Vec::new();
        let mut at = id;
        let mut from = Arc::clone(&self.top);
        while at != DirId::DESTINATION {
            if let Some(fd) = self.open.get(at) {
                from = Arc::clone(fd);
                break;
            }
            let node = &self.nodes[at.0 as usize - 1];
            if node.failed {
                return Err(FailureKind::ParentFailed);
            }
            names.push(node.name.as_bytes());
            at = node.parent;
        }
        if names.is_empty() {
            return Ok(from);
        }
        names.reverse();
        let mut found = self.root.dir(from.as_fd(), &names);
        if found
            .as_ref()
            .is_err_and(|errno| is_descriptor_shortage(*errno))
        {
            self.open.clear();
            found = self.root.dir(from.as_fd(), &names);
        }
        let fd = Arc::new(found?);
        self.open.insert(id, Arc::clone(&fd));
        Ok(fd)
    }

    /// Whether no other file system is mounted on one of them.
    pub(super) fn are_of_one_file_system(&mut self) -> bool {
        let Ok(top) = fstat(&*self.top) else {
            return false;
        };
        (1..=self.count()).map(DirId).all(|id| {
            let dir = self.open(id).map_err(|_| Errno::NOENT);
            dir.and_then(|dir| fstat(&*dir))
                .is_ok_and(|stat| stat.st_dev == top.st_dev)
        })
    }

    /// The path of `name` in a directory, below the destination.
    pub(super) fn path(&self, parent: DirId, name: &[u8]) -> Vec<u8> {
        let mut names = vec![name];
        let mut at = parent;
        while at != DirId::DESTINATION {
            let node = &self.nodes[at.0 as usize - 1];
            names.push(node.name.as_bytes());
            at = node.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// Gives directories the attributes they shall have, the deepest first, so that none loses
    /// a permission or gets a new time before all in it is done.
    pub(super) fn finish(&mut self, attributes: &Attributes, ledger: &mut Ledger) {
        for index in (0..self.nodes.len()).rev() {
            let Some(last) = self.nodes[index].last.take() else {
                continue;
            };
            let id = DirId(index as u32 + 1);
            let mut misses = Vec::new();
            let applied = self.apply(id, &last, attributes, &mut misses);
            let node = &self.nodes[index];
            let path = || self.path(node.parent, node.name.as_bytes());
            for miss in misses {
                ledger.missed(miss, path);
            }
            if let Err(why) = applied {
                ledger.failed(path(), 0, why);
            }
        }
    }

    fn apply(
        &mut self,
        id: DirId,
        (meta, extra): &(Meta, Option<Box<Extra>>),
        attributes: &Attributes,
        misses: &mut Vec<Miss>,
    ) -> Result<(), FailureKind> {
        let dir = self.open(id)?;
        // The held descriptor only names the directory; changing it takes one that is open.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&*dir, ".", flags, Mode::empty())?;
        let subject = Subject {
            meta,
            extra: extra.as_deref(),
            now: &fstat(&dir)?,
            is_new: self.is_new(id),
        };
        attributes.apply(&dir, &subject, misses)
    }
}
