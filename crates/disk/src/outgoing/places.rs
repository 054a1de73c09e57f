use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use crate::{lru::Lru, source::Landed};

/// Where something is on this machine: a source that was asked for, or a directory below one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

#[derive(Debug)]
enum Node {
    /// As the user wrote it; opened by path, following symbolic links.
    Source(PathBuf),
    /// A directory found by the scan; opened from its parent's descriptor, following nothing unless
    /// links are followed altogether.
    Child { parent: Place, name: Box<[u8]> },
}

/// All places of one transfer. Kept as long as it lasts: files are reopened from here.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Node>);

/// How to open a place: from the source's path or a cached ancestor, then name by name.
#[derive(Debug, Default)]
pub(super) struct Route {
    source: Option<(Place, PathBuf)>,
    from: Option<Arc<OwnedFd>>,
    steps: Vec<(Place, Box<[u8]>)>,
}

impl Places {
    pub(super) fn add_source(&mut self, path: PathBuf) -> Place {
        self.add(Node::Source(path))
    }

    pub(super) fn add_child(&mut self, parent: Place, name: &[u8]) -> Place {
        let name = name.into();
        self.add(Node::Child { parent, name })
    }

    fn add(&mut self, node: Node) -> Place {
        // The list's own limit on directories, checked before, is far below 2^32.
        let place = Place(self.0.len() as u32);
        self.0.push(node);
        place
    }

    /// The path of `name` in `place`, or of the place itself when `name` is empty.
    pub(super) fn path(&self, place: Place, name: &[u8]) -> PathBuf {
        let mut names = vec![name];
        let mut at = place;
        loop {
            match &self.0[at.0 as usize] {
                Node::Child { parent, name } => {
                    names.push(name);
                    at = *parent;
                }
                Node::Source(path) => {
                    let mut path = path.clone();
                    let names = names.iter().rev().filter(|name| !name.is_empty());
                    path.extend(names.map(|name| OsStr::from_bytes(name)));
                    return path;
                }
            }
        }
    }

    /// The path of `name` in `place` below the source.
    pub(super) fn path_below(&self, place: Place, name: &[u8]) -> Vec<u8> {
        let mut names = vec![name];
        let mut at = place;
        while let Node::Child { parent, name } = &self.0[at.0 as usize] {
            names.push(name);
            at = *parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path that `name` in `place`, or the place itself when `name` is empty, is listed under.
    pub(super) fn listed(&self, place: Place, name: &[u8]) -> Vec<u8> {
        let mut names = vec![name];
        let mut at = place;
        let top = loop {
            match &self.0[at.0 as usize] {
                Node::Child { parent, name } => {
                    names.push(name);
                    at = *parent;
                }
                Node::Source(path) => break Landed::of(path.as_os_str().as_bytes()),
            }
        };
        if let Landed::Named(top) = &top {
            names.push(top.as_bytes());
        }
        let names = names.iter().rev().filter(|name| !name.is_empty());
        names.copied().collect::<Vec<_>>().join(&b'/')
    }

    /// What has to be opened to reach `place`, given what `cache` still has open.
    pub(super) fn route(&self, place: Place, cache: &mut DirCache) -> Route {
        let mut route = Route::default();
        let mut at = place;
        loop {
            if let Some(fd) = cache.open.get(at) {
                route.from = Some(Arc::clone(fd));
                break;
            }
            match &self.0[at.0 as usize] {
                Node::Child { parent, name } => {
                    route.steps.push((at, name.clone()));
                    at = *parent;
                }
                Node::Source(path) => {
                    route.source = Some((at, path.clone()));
                    break;
                }
            }
        }
        route.steps.reverse();
        route
    }
}

impl Route {
    /// The path of a place that is a source itself.
    pub(super) fn source_path(&self) -> Option<&PathBuf> {
        self.source.as_ref().map(|(_, path)| path)
    }
}

/// Directories that are open.
#[derive(Debug)]
pub(super) struct DirCache {
    open: Lru<Place, Arc<OwnedFd>>,
    follows: bool,
}

impl DirCache {
    pub(super) fn new(capacity: usize, follows: bool) -> Self {
        Self {
            open: Lru::new(capacity),
            follows,
        }
    }

    /// The directory at `place`, if it is open.
    pub(super) fn get(&mut self, place: Place) -> Option<Arc<OwnedFd>> {
        self.open.get(place).map(Arc::clone)
    }

    /// Opens what a route leads to, and keeps it and what is on the way open.
    pub(super) fn follow(&mut self, route: Route) -> Result<Arc<OwnedFd>, Errno> {
        let mut fd = match (route.from, route.source) {
            (Some(fd), _) => fd,
            (None, Some((place, path))) => {
                let fd = Arc::new(openat(CWD, &path, DIR_FLAGS, Mode::empty())?);
                self.open.insert(place, Arc::clone(&fd));
                fd
            }
            (None, None) => return Err(Errno::NOENT),
        };
        let flags = match self.follows {
            true => DIR_FLAGS,
            false => DIR_FLAGS | OFlags::NOFOLLOW,
        };
        for (place, name) in route.steps {
            fd = Arc::new(openat(&*fd, &*name, flags, Mode::empty())?);
            self.open.insert(place, Arc::clone(&fd));
        }
        Ok(fd)
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

const DIR_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
