use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use haul_manifest::Name;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::{
    DiskError, Root, Target, pattern,
    source::{Landed, absolute},
};

/// How much was asked for, as far as it decides where things land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How many sources, patterns expanded.
    pub count: usize,
    /// Whether any of them means a directory's contents without the directory.
    pub contents: bool,
}

impl Asked {
    /// Counts sources as they were written or expanded.
    pub fn of<S: AsRef<[u8]>>(sources: &[S]) -> Self {
        let contents = |source: &S| Landed::of(source.as_ref()) == Landed::Contents;
        Self {
            count: sources.len(),
            contents: sources.iter().any(contents),
        }
    }
}

/// Where in the [`Root`] the top of the list goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The one thing that comes is given this name. `None`: everything keeps its name.
    pub(crate) rename: Option<Name>,
    /// It was written with a slash at the end: only a directory will do.
    pub(crate) dir_only: bool,
    /// Among what comes are the contents of a directory whose place the destination takes,
    pub(crate) contents: bool,
    /// and things that come with their names.
    pub(crate) named: bool,
    /// The destination is a directory that would be made if this were no rehearsal.
    pub(crate) is_missing: bool,
    /// As resolved, for messages.
    pub(crate) path: PathBuf,
}

impl Landing {
    /// Decides where a transfer lands, as scp does: in the destination when it is a directory;
    /// otherwise a single source gets the destination's name, in a directory that exists. `~` and
    /// relative paths begin at `base`. With `create_dir` the destination is made a directory,
    /// parents included. Symbolic links in the destination are followed, except one that is to be
    /// replaced: it was the user who wrote it.
    ///
    /// # Errors
    /// [`DiskError::NotADirectory`] when several things should go into something that is not a
    /// directory; [`DiskError::Destination`] when it, or its parent, cannot be used.
    pub fn resolve(
        base: &Path,
        destination: &[u8],
        asked: Asked,
        create_dir: bool,
    ) -> Result<(Root, Self), DiskError> {
        let path = absolute(base, destination);
        let failed = |cause| DiskError::Destination {
            path: path.clone(),
            cause,
        };
        let found = fs::metadata(&path);
        if found.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Self::inside(path, asked);
        }
        if create_dir {
            fs::create_dir_all(&path).map_err(failed)?;
            return Self::inside(path, asked);
        }
        let slash = destination.ends_with(b"/");
        match found {
            Ok(_) if asked.count > 1 || asked.contents || slash => {
                return Err(DiskError::NotADirectory { path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if asked.count > 1 {
                    return Err(DiskError::NotADirectory { path });
                }
                if asked.contents {
                    fs::create_dir(&path).map_err(failed)?;
                    return Self::inside(path, asked);
                }
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let bytes = path.as_os_str().as_bytes();
        let Landed::Named(name) = Landed::of(bytes) else {
            return Err(failed(io::Error::from(io::ErrorKind::NotFound)));
        };
        let end = bytes.iter().rposition(|byte| *byte != b'/').unwrap_or(0) + 1;
        let parent = Path::new(OsStr::from_bytes(&bytes[..end - name.as_bytes().len()]));
        let landing = Self {
            rename: Some(name),
            dir_only: slash,
            contents: false,
            named: true,
            is_missing: false,
            path: path.clone(),
        };
        Ok((Root::open(parent)?, landing))
    }

    /// Decides the same, and makes nothing. In the place of a directory that would be made the root is
    /// one above it, which serves for nothing.
    ///
    /// # Errors
    /// Those of [`Self::resolve`]; [`DiskError::Destination`] when the directory could not be made.
    pub fn rehearse(
        base: &Path,
        destination: &[u8],
        asked: Asked,
        create_dir: bool,
    ) -> Result<(Root, Self), DiskError> {
        let path = absolute(base, destination);
        let found = fs::symlink_metadata(&path);
        let is_missing = found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let is_made = create_dir || (asked.contents && asked.count <= 1);
        if !is_missing || !is_made {
            return Self::resolve(base, destination, asked, create_dir);
        }
        let failed = |cause| DiskError::Destination {
            path: path.clone(),
            cause,
        };
        let mut above = path.ancestors().skip(1).map(|path| match path.as_os_str() {
            empty if empty.is_empty() => Path::new("."),
            _ => path,
        });
        let above = if create_dir {
            above.find(|path| path.exists())
        } else {
            above.next()
        };
        let above = above.unwrap_or_else(|| Path::new("/"));
        let access = Access::WRITE_OK | Access::EXEC_OK;
        let writable = accessat(CWD, above, access, AtFlags::EACCESS);
        writable.map_err(|errno| failed(errno.into()))?;
        let (root, landing) = Self::inside(above.to_owned(), asked)?;
        let landing = Self {
            is_missing: true,
            path: path.clone(),
            ..landing
        };
        Ok((root, landing))
    }

    /// Whether what comes keeps its name, in a directory that exists.
    pub fn keeps_names(&self) -> bool {
        self.rename.is_none()
    }

    fn inside(path: PathBuf, asked: Asked) -> Result<(Root, Self), DiskError> {
        let root = Root::open(&path)?;
        let landing = Self {
            rename: None,
            dir_only: false,
            contents: asked.contents,
            named: !asked.contents || asked.count > 1,
            is_missing: false,
            path,
        };
        Ok((root, landing))
    }
}

/// What was written, relative to the home directory.
fn written(spec: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(spec));
    path.strip_prefix("~").unwrap_or(path).to_owned()
}

/// What may arrive at the top of a download: names that answer what was asked for. A server that
/// sends another (CVE-2019-6111) is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Patterns for names; `None` when contents of a directory were asked for.
    patterns: Option<Vec<Box<[u8]>>>,
}

impl Expected {
    /// From the sources as the user wrote them.
    pub fn new<S: AsRef<[u8]>>(sources: &[S]) -> Self {
        let pattern = |source: &S| match Landed::of(source.as_ref()) {
            Landed::Named(name) => Some(name.as_bytes().into()),
            Landed::Contents => None,
        };
        Self {
            patterns: sources.iter().map(pattern).collect(),
        }
    }

    /// From sources of which each lands by its path below `base`, all as the user wrote them.
    ///
    /// # Errors
    /// [`DiskError::NotBelow`] when that is not to be seen from what was written.
    pub fn below<S: AsRef<[u8]>>(sources: &[S], base: &[u8]) -> Result<Self, DiskError> {
        let base = written(base);
        let pattern = |source: &S| Ok(Target::below(&written(source.as_ref()), &base)?.first());
        let patterns: Result<Option<Vec<_>>, DiskError> = sources.iter().map(pattern).collect();
        Ok(Self {
            patterns: patterns?,
        })
    }

    /// From where each source lands.
    ///
    /// # Errors
    /// [`DiskError::Target`] when one is no such place.
    pub fn at<S: AsRef<[u8]>>(targets: &[S]) -> Result<Self, DiskError> {
        let first = |target: &S| Ok(Target::new(target.as_ref())?.first());
        let patterns: Result<Option<Vec<_>>, DiskError> = targets.iter().map(first).collect();
        Ok(Self {
            patterns: patterns?,
        })
    }

    /// Whether an entry of this name may arrive at the top.
    pub fn allows(&self, name: &Name) -> bool {
        let name = name.as_bytes();
        self.patterns.as_ref().is_none_or(|patterns| {
            patterns
                .iter()
                .any(|pattern| **pattern == *name || pattern::matches(pattern, name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        base: &Path,
        destination: &str,
        sources: &[&str],
        create_dir: bool,
    ) -> Result<Option<String>, DiskError> {
        let asked = Asked::of(sources);
        let (_, landing) = Landing::resolve(base, destination.as_bytes(), asked, create_dir)?;
        Ok(landing.rename.map(|name| name.to_string()))
    }

    #[test]
    fn things_land_where_scp_puts_them() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("dir")).unwrap();
        fs::write(base.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("dir", base.path().join("link")).unwrap();
        let go = |destination, sources: &[&str]| resolve(base.path(), destination, sources, false);
        let named = |name: &str| Some(name.to_owned());
        for inside in ["", "~", ".", "dir", "dir/", "./dir/.", "link", "dir/.."] {
            assert_eq!(go(inside, &["a", "b"]).unwrap(), None, "{inside}");
        }
        assert_eq!(go("file", &["a"]).unwrap(), named("file"));
        assert_eq!(go("dir/new", &["a"]).unwrap(), named("new"));
        assert_eq!(go("new/", &["a"]).unwrap(), named("new"));
        let not_dir = |result| matches!(result, Err(DiskError::NotADirectory { .. }));
        assert!(not_dir(go("file", &["a", "b"])));
        assert!(not_dir(go("file/", &["a"])) || go("file/", &["a"]).is_err());
        assert!(not_dir(go("file", &["a/."])));
        assert!(not_dir(go("missing", &["a", "b"])));
        let unusable = |result| matches!(result, Err(DiskError::Destination { .. }));
        assert!(unusable(go("missing/x", &["a"])));
        assert!(unusable(go("missing/..", &["a"])));
        assert!(!base.path().join("missing").exists());
    }

    #[test]
    fn directories_are_made_when_asked_or_needed() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(resolve(base.path(), "a/b/c", &["x"], true).unwrap(), None);
        assert!(base.path().join("a/b/c").is_dir());
        assert_eq!(resolve(base.path(), "d", &["x/."], false).unwrap(), None);
        assert!(base.path().join("d").is_dir());
        fs::write(base.path().join("file"), "").unwrap();
        assert!(resolve(base.path(), "file", &["x"], true).is_err());
    }

    #[test]
    fn only_what_was_asked_for_may_come() {
        let name = |name: &str| Name::new(name.as_bytes()).unwrap();
        let expected = Expected::new(&["dir/a.txt", "logs/*.log", "odd[1]"]);
        for allowed in ["a.txt", "x.log", "odd1", "odd[1]"] {
            assert!(expected.allows(&name(allowed)), "{allowed}");
        }
        for refused in ["b.txt", ".hidden.log", "dir", ".ssh", "a.txt2"] {
            assert!(!expected.allows(&name(refused)), "{refused}");
        }
        assert!(Expected::new(&["a", "dir/."]).allows(&name("anything")));

        let below = Expected::below(&["~/data/run*/x", "data/y"], b"data/").unwrap();
        assert!(below.allows(&name("run7")) && below.allows(&name("y")));
        assert!(!below.allows(&name("x")) && !below.allows(&name("data")));
        let all = Expected::below(&["data/."], b"./data").unwrap();
        assert!(all.allows(&name("anything")));
        assert!(Expected::below(&["/data/y"], b"data").is_err());

        let at = Expected::at(&["a/b", "c"]).unwrap();
        assert!(at.allows(&name("a")) && at.allows(&name("c")) && !at.allows(&name("b")));
        assert!(Expected::at(&["../b"]).is_err());
    }
}
