use std::{
    fs::read_link,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

use crate::DiskError;

/// The only door from names to directories of the receiving side: a directory, held open, that no
/// lookup leaves.
///
/// What is below is reached by `openat2` confined beneath a held descriptor, without symbolic or
/// magic links. Where the kernel has no `openat2`, or a filter forbids it, the same is done name by
/// name with `O_NOFOLLOW`; names have been checked to be single components before.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    resolver: Resolver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolver {
    Kernel,
    Walk,
}

/// `openat2` gives up with EAGAIN when a rename somewhere happens at the wrong moment.
const RETRIES_MAX: usize = 32;
/// Bytes of path resolved by one call, below the kernel's PATH_MAX of 4,096.
const PATH_LEN_MAX: usize = 3_800;

const CONFINED: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
const DIR_FLAGS: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Root {
    /// Opens a directory that the user named; symbolic links in `path` are followed.
    ///
    /// # Errors
    /// [`DiskError::Destination`] when it is not there or not a directory.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            let path = path.to_owned();
            let cause = errno.into();
            DiskError::Destination { path, cause }
        })?;
        let resolver = match openat2(&fd, ".", DIR_FLAGS, Mode::empty(), CONFINED) {
            Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => Resolver::Walk,
            _ => Resolver::Kernel,
        };
        Ok(Self { fd, resolver })
    }

    /// Resolves name by name even where the kernel could do more at once.
    pub fn walking(mut self) -> Self {
        self.resolver = Resolver::Walk;
        self
    }

    /// A second descriptor of the directory itself.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)
    }

    /// Where the directory is at this moment.
    ///
    /// # Errors
    /// The system's, when it does not tell.
    pub fn place(&self) -> io::Result<PathBuf> {
        read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// The directory that `names` lead to from `from`, which is at or below this root.
    pub(crate) fn dir(&self, from: BorrowedFd<'_>, names: &[&[u8]]) -> Result<OwnedFd, Errno> {
        let mut reached: Option<OwnedFd> = None;
        let mut rest = names;
        while !rest.is_empty() {
            let at = reached.as_ref().map_or(from, AsFd::as_fd);
            let count = match self.resolver {
                Resolver::Kernel => fitting(rest),
                Resolver::Walk => 1,
            };
            let (step, after) = rest.split_at(count);
            let fd = match self.resolver {
                Resolver::Kernel => confined(at, &step.join(&b'/'))?,
                Resolver::Walk => openat(at, step[0], DIR_FLAGS, Mode::empty())?,
            };
            reached = Some(fd);
            rest = after;
        }
        reached.ok_or(Errno::INVAL)
    }
}

fn confined(from: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match openat2(from, path, DIR_FLAGS, Mode::empty(), CONFINED) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RETRIES_MAX => tries += 1,
            result => return result,
        }
    }
}

/// How many of the names make a path that one call takes; at least one.
fn fitting(names: &[&[u8]]) -> usize {
    let mut len = 0;
    let fits = names.iter().take_while(|name| {
        len += name.len() + 1;
        len <= PATH_LEN_MAX
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn roots(path: &Path) -> [Root; 2] {
        let root = Root::open(path).unwrap();
        assert_eq!(root.resolver, Resolver::Kernel, "this kernel has openat2");
        [root, Root::open(path).unwrap().walking()]
    }

    #[test]
    fn deep_directories_are_reached() {
        let top = tempfile::tempdir().unwrap();
        let names: Vec<Vec<u8>> = (0..100).map(|_| vec![b'd'; 200]).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        for root in roots(top.path()) {
            let mut at = root.duplicate().unwrap();
            for name in &names {
                match rustix::fs::mkdirat(&at, *name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => panic!("{errno}"),
                }
                at = root.dir(at.as_fd(), &[name]).unwrap();
            }
            let direct = root.dir(root.fd.as_fd(), &names).unwrap();
            let stats = [at, direct].map(|fd| rustix::fs::fstat(fd).unwrap().st_ino);
            assert_eq!(stats[0], stats[1]);
        }
    }

    #[test]
    fn n68_links_lead_nowhere() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("real")).unwrap();
        symlink("real", top.path().join("inside")).unwrap();
        symlink("/etc", top.path().join("outside")).unwrap();
        symlink("loop", top.path().join("loop")).unwrap();
        symlink("/proc/self/root", top.path().join("magic")).unwrap();
        for root in roots(top.path()) {
            for link in ["inside", "outside", "loop", "magic"] {
                let found = root.dir(root.fd.as_fd(), &[link.as_bytes()]);
                assert!(found.is_err(), "{link} {:?}", root.resolver);
            }
            assert!(root.dir(root.fd.as_fd(), &[b"real"]).is_ok());
        }
    }
}
