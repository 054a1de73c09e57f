use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use haul_manifest::{MAX_DEPTH, MAX_PATH_LEN, Name};
use haul_wire::control::{Preserve, Resume, Symlinks};

use super::{Portion, Proofs, Protection, Selection};
use crate::{Bounds, DiskError, source::Landed};

/// What to look for, and what to say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanOptions {
    /// Whether directories are entered. Without, a source that is one is an error.
    pub recursive: bool,
    /// Whether times are listed. Costs about 18 bytes per entry.
    pub times: bool,
    /// What becomes of symbolic links below the sources.
    pub symlinks: Symlinks,
    /// Whether special files are left out without a word.
    pub skip_special: bool,
    /// By what the receiver may take a file for one that is there: digests are listed where it takes
    /// them, which means that everything is read before anything of it is sent.
    pub compare: Resume,
    /// Whether it is listed what files came to that were sent.
    pub proofs: Proofs,
    /// What else is listed. Costs system calls for each entry where it is more than permissions.
    pub preserve: Preserve,
}

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where it is on this machine. A source is taken as scp takes it: a file, a directory (by its own
    /// name), or the contents of one when it ends in `/.` or has no name of its own (`.`, `..`, `/`).
    /// Sources that are symbolic links are followed in any case.
    pub sources: Vec<PathBuf>,
    /// Where each of them lands, in the same order; none: by its own name.
    pub targets: Vec<Target>,
    /// What is looked for.
    pub options: ScanOptions,
    /// What of the one source is sent, when that is a file.
    pub portion: Portion,
    /// What of it goes.
    pub selection: Selection,
    /// Links that are followed lead nowhere outside of this directory, which has no links in its path.
    pub jail: Option<PathBuf>,
    /// How much may go, and which names; their paths are below `jail`, and links are not followed then.
    pub bounds: Bounds,
    /// What becomes of it when it has arrived, if it is not to stay.
    pub clean_up: Option<CleanUp>,
    /// Whom contents are sealed for, if they are. Only of whole files, not of a portion; nothing is proved then
    /// ([`ScanOptions::proofs`]), since that would tell what the contents are.
    pub protection: Option<Protection>,
}

/// What becomes of sources that have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanUp {
    /// They are moved below this directory, to where they landed below the destination; none: they are
    /// removed.
    pub move_to: Option<PathBuf>,
    /// Directories below the sources that are empty then are removed too.
    pub empty_dirs: bool,
}

/// Where a source lands below the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// None: at the destination itself, which a directory's contents do.
    names: Vec<Name>,
    /// Whether the source's own path ends in these names.
    is_tail: bool,
}

impl Target {
    /// From a relative path.
    ///
    /// # Errors
    /// [`DiskError::Target`] for one that is empty, absolute, too long, or has `..` in it.
    pub fn new(path: &[u8]) -> Result<Self, DiskError> {
        let refused = || DiskError::Target { path: path.into() };
        let names = names(Path::new(std::ffi::OsStr::from_bytes(path))).ok_or_else(refused)?;
        if names.is_empty() {
            return Err(refused());
        }
        Ok(Self {
            names,
            is_tail: false,
        })
    }

    /// The rest of a source's path below `base`.
    ///
    /// # Errors
    /// [`DiskError::NotBelow`] when that is not where it is, as it is written.
    pub fn below(source: &Path, base: &Path) -> Result<Self, DiskError> {
        let (plain_source, plain_base) = (plain(source), plain(base));
        let rest = plain_source.strip_prefix(plain_base).ok();
        match rest.and_then(names) {
            Some(names) => Ok(Self {
                names,
                is_tail: true,
            }),
            None => Err(DiskError::NotBelow {
                path: source.to_owned(),
                base: base.to_owned(),
            }),
        }
    }
}

impl Target {
    /// The name at the top of the destination, if there is one.
    pub(crate) fn first(&self) -> Option<Box<[u8]>> {
        self.names.first().map(|name| name.as_bytes().into())
    }
}

/// A path without the dots that mean nothing.
fn plain(path: &Path) -> PathBuf {
    let components = path.components();
    components
        .filter(|component| *component != Component::CurDir)
        .collect()
}

/// A relative path that leads down, as names.
fn names(path: &Path) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(Name::new(name.as_bytes()).ok()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    let fits = names.len() <= MAX_DEPTH && path.as_os_str().len() <= MAX_PATH_LEN;
    fits.then_some(names)
}

impl Wanted {
    /// All of these sources, by their own names.
    pub fn new(sources: Vec<PathBuf>, options: ScanOptions) -> Self {
        Self {
            sources,
            options,
            ..Self::default()
        }
    }

    /// Where a source lands: directories, and its own name at last; nothing for the contents of a
    /// directory.
    pub(super) fn landed(&self, index: usize) -> Vec<Name> {
        match (self.targets.get(index), self.sources.get(index)) {
            (Some(target), _) => target.names.clone(),
            (None, Some(source)) => match Landed::of(source.as_os_str().as_bytes()) {
                Landed::Named(name) => vec![name],
                Landed::Contents => Vec::new(),
            },
            (None, None) => Vec::new(),
        }
    }

    /// The directory of the source's own path that became the one of so many levels, where it did.
    pub(super) fn led_by(&self, index: usize, levels: usize) -> Option<&Path> {
        let target = self.targets.get(index).filter(|target| target.is_tail)?;
        let up = target.names.len().checked_sub(levels)?;
        self.sources.get(index)?.ancestors().nth(up)
    }

    /// The one file of which a portion is sent, and its name there.
    ///
    /// # Errors
    /// [`DiskError::NotOne`] when there is another number of them, or it has no name.
    pub fn single(&self) -> Result<(&Path, Name), DiskError> {
        match (&*self.sources, &*self.landed(0)) {
            ([path], [name]) => Ok((path, name.clone())),
            _ => Err(DiskError::NotOne),
        }
    }

    /// Whether links below the sources are followed.
    pub fn follows(&self) -> bool {
        self.options.symlinks == Symlinks::Follow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(target: &Target) -> Vec<String> {
        target.names.iter().map(Name::to_string).collect()
    }

    #[test]
    fn targets_lead_down() {
        let named = |path: &str| Target::new(path.as_bytes()).map(|target| strings(&target));
        assert_eq!(named("a").unwrap(), ["a"]);
        assert_eq!(named("a//./b/").unwrap(), ["a", "b"]);
        for refused in ["", ".", "/a", "a/../b", ".."] {
            assert!(matches!(named(refused), Err(DiskError::Target { .. })));
        }
    }

    #[test]
    fn what_is_below_the_base_keeps_its_path() {
        let below = |source: &str, base: &str| {
            Target::below(Path::new(source), Path::new(base)).map(|target| strings(&target))
        };
        assert_eq!(below("/data/a/b", "/data").unwrap(), ["a", "b"]);
        assert_eq!(below("data/./a/", "data/.").unwrap(), ["a"]);
        assert_eq!(below("./data/a", "data").unwrap(), ["a"]);
        assert_eq!(below("data/a", ".").unwrap(), ["data", "a"]);
        assert_eq!(below("./data/a", "data").unwrap(), ["a"]);
        assert_eq!(below("data/a", ".").unwrap(), ["data", "a"]);
        assert!(below("/data/.", "/data/").unwrap().is_empty());
        for (source, base) in [("/data2/a", "/data"), ("a", "/data"), ("/d/a/../b", "/d")] {
            assert!(matches!(
                below(source, base),
                Err(DiskError::NotBelow { .. })
            ));
        }
    }

    #[test]
    fn directories_on_the_way_are_those_of_the_source() {
        let mut wanted = Wanted::new(vec!["/data/a/b/c".into()], ScanOptions::default());
        let target = Target::below(&wanted.sources[0], Path::new("/data")).unwrap();
        wanted.targets.push(target);
        assert_eq!(wanted.led_by(0, 1), Some(Path::new("/data/a")));
        assert_eq!(wanted.led_by(0, 2), Some(Path::new("/data/a/b")));
        wanted.targets[0] = Target::new(b"x/y").unwrap();
        assert_eq!(wanted.led_by(0, 1), None);
    }
}
