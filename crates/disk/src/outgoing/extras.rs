//! What entries have beside their [`haul_manifest::Meta`]: owners, extended attributes, further names.

use std::{
    collections::HashMap,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use haul_manifest::{
    Extra, LinkNo, MAX_LINKS, MAX_XATTR_NAME_LEN, MAX_XATTRS, MAX_XATTRS_LEN, Owner, Xattr,
};
use haul_wire::control::Preserve;
use rustix::{
    fs::{CWD, Mode, OFlags, Stat, openat},
    io::Errno,
};

use crate::{
    unkept::{Attribute, KeepError},
    xattr::{Holder, kept_as},
};

/// What is asked for, and the files of several names that were listed.
#[derive(Debug)]
pub(super) struct Extras {
    preserve: Preserve,
    /// Numbers by device and inode.
    numbers: HashMap<(u64, u64), LinkNo>,
    /// Further names listed.
    further: u32,
}

/// What a file is among those of several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It has one name, or nobody wants to know of others.
    Alone,
    /// This is the first of its names that was found.
    First,
    /// It was listed under this number.
    Further(LinkNo),
    /// There are more than a list may tell of.
    TooMany,
}

/// Where attributes are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where<'a> {
    /// From what is open.
    Open(BorrowedFd<'a>),
    /// From the file of this name.
    File(BorrowedFd<'a>, &'a [u8]),
    /// From the file that this path leads to.
    Source(&'a Path),
    /// From the symbolic link of this name.
    Link(BorrowedFd<'a>, &'a [u8]),
}

/// What could not be read.
pub(super) type Misses = Vec<(Attribute, KeepError)>;

impl Extras {
    pub(super) fn new(preserve: Preserve) -> Self {
        Self {
            preserve,
            numbers: HashMap::new(),
            further: 0,
        }
    }

    /// Whether what cannot be read must not be sent.
    pub(super) fn is_strict(&self) -> bool {
        self.preserve.strict
    }

    /// What is to be listed; `None` when that is nothing.
    pub(super) fn read(&self, at: Where<'_>, stat: &Stat) -> (Option<Box<Extra>>, Misses) {
        let mut misses = Misses::new();
        let mut extra = Extra {
            owner: self.preserve.owner.then_some(Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
            }),
            ..Extra::default()
        };
        if self.reads_xattrs(at) {
            self.read_xattrs(at, &mut extra.xattrs, &mut misses);
        }
        let is_any = extra != Extra::default();
        (is_any.then(|| Box::new(extra)), misses)
    }

    fn reads_xattrs(&self, at: Where<'_>) -> bool {
        let Preserve {
            xattrs,
            acls,
            privileged,
            ..
        } = self.preserve;
        match at {
            // Neither users' nor lists are had by these.
            Where::Link(..) => xattrs && privileged,
            _ => xattrs || acls,
        }
    }

    fn read_xattrs(&self, at: Where<'_>, xattrs: &mut Vec<Xattr>, misses: &mut Misses) {
        let mut miss = |attribute: Attribute, why: KeepError| {
            if !misses.iter().any(|(known, _)| *known == attribute) {
                misses.push((attribute, why));
            }
        };
        let opened;
        let holder = match at {
            Where::Open(fd) => Holder::Open(fd),
            Where::Link(dir, name) => Holder::link(dir, name),
            Where::File(..) | Where::Source(_) => match open(at) {
                Ok(fd) => {
                    opened = fd;
                    Holder::Open(opened.as_fd())
                }
                Err(errno) => return miss(Attribute::Xattrs, errno.into()),
            },
        };
        let mut names = match holder.names() {
            Ok(names) => names,
            Err(errno) => return miss(Attribute::Xattrs, errno.into()),
        };
        names.sort();
        names.dedup();
        let mut room = MAX_XATTRS_LEN;
        for name in names {
            let Some(attribute) = kept_as(&self.preserve, &name) else {
                continue;
            };
            let value = match holder.get(&name) {
                Ok(value) => value,
                // Gone meanwhile.
                Err(Errno::NODATA) => continue,
                Err(errno) => {
                    miss(attribute, errno.into());
                    continue;
                }
            };
            let len = name.len() + value.len();
            if xattrs.len() == MAX_XATTRS || name.len() > MAX_XATTR_NAME_LEN || len > room {
                miss(attribute, KeepError::TooLarge);
                continue;
            }
            room -= len;
            xattrs.push(Xattr {
                name: name.into(),
                value: value.into(),
            });
        }
    }

    /// What a file or symbolic link is.
    pub(super) fn link(&self, stat: &Stat) -> Link {
        if !self.preserve.hard_links || stat.st_nlink < 2 {
            return Link::Alone;
        }
        match self.numbers.get(&key(stat)) {
            Some(_) if self.further >= MAX_LINKS => Link::TooMany,
            Some(number) => Link::Further(*number),
            None if self.numbers.len() >= MAX_LINKS as usize => Link::TooMany,
            None => Link::First,
        }
    }

    /// Numbers a file that is listed under the first of its names.
    pub(super) fn number(&mut self, stat: &Stat) -> LinkNo {
        let number = LinkNo(self.numbers.len() as u32);
        self.numbers.insert(key(stat), number);
        number
    }

    /// It could not be listed after all.
    pub(super) fn forget(&mut self, stat: &Stat) {
        self.numbers.remove(&key(stat));
    }

    /// A further name has been listed.
    pub(super) fn count_further(&mut self) {
        self.further += 1;
    }
}

fn key(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn open(at: Where<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match at {
        Where::File(dir, name) => openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        Where::Source(path) => openat(CWD, path, flags, Mode::empty()),
        Where::Open(fd) | Where::Link(fd, _) => rustix::io::fcntl_dupfd_cloexec(fd, 0),
    }
}
