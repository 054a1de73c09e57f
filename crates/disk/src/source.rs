use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use haul_manifest::Name;
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};

use crate::{DiskError, pattern};

/// Most files one pattern may stand for.
const MATCHES_MAX: usize = 100_000;

/// What a source puts at the top of the destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// One entry of this name.
    Named(Name),
    /// What is in the directory, without the directory.
    Contents,
}

impl Landed {
    /// Decided by the last component alone, as it was written.
    pub(crate) fn of(source: &[u8]) -> Self {
        let end = source.iter().rposition(|byte| *byte != b'/');
        let trimmed = &source[..end.map_or(0, |end| end + 1)];
        let last = trimmed.rsplit(|byte| *byte == b'/').next();
        Name::new(last.unwrap_or_default()).map_or(Self::Contents, Self::Named)
    }
}

/// Whether a source can be sent at all.
pub(crate) fn check(path: &Path, recursive: bool) -> Result<(), DiskError> {
    let failed = |errno: rustix::io::Errno| DiskError::Source {
        path: path.to_owned(),
        cause: errno.into(),
    };
    let path_buf = || path.to_owned();
    let stat = stat(path).map_err(failed)?;
    let access = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Access::READ_OK,
        FileType::Directory if recursive => Access::READ_OK | Access::EXEC_OK,
        FileType::Directory => return Err(DiskError::SourceIsDir { path: path_buf() }),
        _ => return Err(DiskError::SourceIsSpecial { path: path_buf() }),
    };
    accessat(CWD, path, access, AtFlags::EACCESS).map_err(failed)
}

/// What a source means on the machine it is on: `~` and relative paths begin at `home`, and `*`,
/// `?` and `[...]` stand for the names they match, sorted. A name that exists as written is taken
/// as written. A `.` or `/.` at the end is kept.
///
/// # Errors
/// [`DiskError::Source`] when a pattern matches nothing. Whether what is named exists is not looked
/// at here.
pub fn expand_source(home: &Path, spec: &[u8]) -> Result<Vec<PathBuf>, DiskError> {
    let path = absolute(home, spec);
    let bytes = path.as_os_str().as_bytes();
    if !pattern::is_pattern(spec) || fs::symlink_metadata(&path).is_ok() {
        return Ok(vec![path]);
    }
    let mut found = vec![PathBuf::from("/")];
    for component in bytes.split(|byte| *byte == b'/') {
        if component.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        for dir in found {
            if pattern::is_pattern(component) {
                next.extend(matches(&dir, component));
            } else {
                next.push(joined(&dir, component));
            }
            if next.len() > MATCHES_MAX {
                return Err(DiskError::Source {
                    path,
                    cause: io::Error::from(io::ErrorKind::ArgumentListTooLong),
                });
            }
        }
        found = next;
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    if found.is_empty() {
        return Err(DiskError::Source {
            path,
            cause: io::Error::from(io::ErrorKind::NotFound),
        });
    }
    Ok(found)
}

/// What a specification names on the machine it is on, taken as it is written: `~` and relative paths
/// begin at `home`.
pub fn named(home: &Path, spec: &[u8]) -> PathBuf {
    absolute(home, spec)
}

/// A path as it was written for a machine where the user's home is `home`.
pub(crate) fn absolute(home: &Path, spec: &[u8]) -> PathBuf {
    let rest = match spec {
        b"~" => b".",
        [b'~', b'/', rest @ ..] => {
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            &rest[slashes..]
        }
        _ => spec,
    };
    let rest = if rest.is_empty() { b"." } else { rest };
    if rest.starts_with(b"/") {
        return PathBuf::from(OsStr::from_bytes(rest));
    }
    joined(home, rest)
}

/// Sorted entries of a directory that match; none when it cannot be read.
fn matches(dir: &Path, component: &[u8]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut names: Vec<OsString> = names
        .filter(|name| pattern::matches(component, name.as_bytes()))
        .collect();
    names.sort();
    names.iter().map(|name| dir.join(name)).collect()
}

/// Joins without tidying up: a trailing `/.` has a meaning.
fn joined(dir: &Path, rest: &[u8]) -> PathBuf {
    let mut bytes = dir.as_os_str().as_bytes().to_vec();
    if bytes.is_empty() {
        bytes.push(b'.');
    }
    if bytes.last() != Some(&b'/') {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(rest);
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Landed {
        Landed::Named(Name::new(name.as_bytes()).unwrap())
    }

    #[test]
    fn the_last_component_decides_what_lands() {
        for (source, landed) in [
            ("a", named("a")),
            ("a/b", named("b")),
            ("a/b//", named("b")),
            ("/x", named("x")),
            ("a/.", Landed::Contents),
            ("a/./", Landed::Contents),
            ("a/..", Landed::Contents),
            (".", Landed::Contents),
            ("..", Landed::Contents),
            ("/", Landed::Contents),
            ("", Landed::Contents),
            ("...", named("...")),
        ] {
            assert_eq!(Landed::of(source.as_bytes()), landed, "{source:?}");
        }
    }

    #[test]
    fn paths_begin_at_home() {
        let home = Path::new("/home/u");
        for (spec, path) in [
            ("", "/home/u/."),
            ("~", "/home/u/."),
            ("~/", "/home/u/."),
            ("~//x", "/home/u/x"),
            ("x/.", "/home/u/x/."),
            ("/etc", "/etc"),
            ("~other", "/home/u/~other"),
        ] {
            assert_eq!(
                absolute(home, spec.as_bytes()).as_os_str(),
                path,
                "{spec:?}"
            );
        }
    }

    #[test]
    fn patterns_expand_to_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        for file in ["a1/x", "a2/x", "a2/.hidden", "b/y", "a[1]"] {
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let expand = |spec: &str| -> Vec<String> {
            let found = expand_source(home.path(), spec.as_bytes()).unwrap();
            let below = |path: &PathBuf| path.strip_prefix(home.path()).unwrap().to_owned();
            found
                .iter()
                .map(|path| below(path).into_os_string().into_string().unwrap())
                .collect()
        };
        assert_eq!(expand("a?/*"), ["a1/x", "a2/x"]);
        assert_eq!(expand("a2/.*"), ["a2/.hidden"]);
        assert_eq!(expand("a[1]"), ["a[1]"], "exists as written");
        assert_eq!(expand("a[12]/x"), ["a1/x", "a2/x"]);
        assert_eq!(expand("missing"), ["missing"]);
        let dotted = expand_source(home.path(), b"[b]/.").unwrap();
        assert!(dotted[0].as_os_str().as_bytes().ends_with(b"/b/."));
        let none = expand_source(home.path(), b"nothing*");
        assert!(matches!(none, Err(DiskError::Source { .. })));
    }
}
