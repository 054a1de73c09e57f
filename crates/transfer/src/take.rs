//! What the sender of data takes, at whichever end it is.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use haul_disk::{
    Bounds, CleanUp, DiskError, LeftOut, Portion, ScanOptions, Selection, Symlinks, Target, Wanted,
};
use haul_wire::control::{self, After, Placing, Taking};

use crate::{
    TransferError,
    place::{Ground, canonical, check_dir, check_sources},
};

/// What of a request a sender needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    taking: Taking,
    scan: ScanOptions,
    /// Whether nothing is changed, here neither.
    rehearses: bool,
}

impl Wishes {
    /// `scan` says what is listed of what is found.
    pub(crate) fn new(taking: &Taking, placing: &Placing, scan: ScanOptions) -> Self {
        Self {
            taking: taking.clone(),
            scan: ScanOptions {
                recursive: taking.recursive,
                symlinks: taking.symlinks,
                skip_special: taking.skip_special,
                ..scan
            },
            rehearses: placing.dry_run,
        }
    }

    /// What an upload sends, looked at before anybody is troubled.
    ///
    /// # Errors
    /// [`TransferError::Disk`] for the first source that cannot be read, and for what does not fit it;
    /// [`TransferError::Pattern`]; [`TransferError::Usage`].
    pub(crate) fn local(&self, sources: &[Vec<u8>]) -> Result<Wanted, TransferError> {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let sources: Vec<_> = sources.iter().map(|source| path(source)).collect();
        check_sources(&sources, self.scan)?;
        let dir = |spec: &[u8]| {
            let path = path(spec);
            check_dir(&path).map(|()| path)
        };
        self.wanted(sources, &dir, None)
    }

    /// What a download sends.
    ///
    /// # Errors
    /// The same, and [`TransferError::NotPermitted`] for what leaves the jail.
    pub(crate) fn served(
        &self,
        ground: &Ground,
        specs: &[impl AsRef<[u8]>],
        bounds: Bounds,
    ) -> Result<Wanted, TransferError> {
        let sources = ground.sources(specs, self.scan)?;
        ground.check_bounds(&sources, &bounds)?;
        let wanted = self.wanted(sources, &|spec| ground.dir(spec), ground.jail()?)?;
        if bounds.names.is_some() && wanted.follows() {
            return Err(TransferError::NotPermitted(
                "following links, where only some names are served",
            ));
        }
        Ok(Wanted { bounds, ..wanted })
    }

    fn wanted(
        &self,
        sources: Vec<PathBuf>,
        dir: &dyn Fn(&[u8]) -> Result<PathBuf, TransferError>,
        jail: Option<PathBuf>,
    ) -> Result<Wanted, TransferError> {
        let portion = self.portion(&sources)?;
        Ok(Wanted {
            portion,
            targets: self.targets(&sources, dir)?,
            clean_up: self.clean_up(&sources, dir)?,
            options: self.scan,
            selection: selection(&self.taking.selection)?,
            sources,
            jail,
            bounds: Bounds::default(),
            protection: None,
        })
    }

    /// What of the one file goes.
    fn portion(&self, sources: &[PathBuf]) -> Result<Portion, TransferError> {
        let portion = match (self.taking.range, self.taking.grow_seconds) {
            (None, None) => return Ok(Portion::All),
            (Some((from, to)), None) => Portion::Range(from, to),
            (None, Some(seconds)) => Portion::Growing(Duration::from_secs(seconds.into())),
            (Some(_), Some(_)) => {
                return Err(TransferError::Usage("a range of a file does not grow"));
            }
        };
        let [path] = sources else {
            return Err(DiskError::NotOne.into());
        };
        let failed = |cause| DiskError::Source {
            path: path.clone(),
            cause,
        };
        let found = path.metadata().map_err(failed)?;
        let (path, size) = (path.clone(), found.len());
        match portion {
            _ if !found.is_file() => Err(DiskError::NotOne.into()),
            Portion::Range(from, to) if from > size || (to > size && to != u64::MAX) => {
                Err(DiskError::Range { path, size }.into())
            }
            portion => Ok(portion),
        }
    }

    fn targets(
        &self,
        sources: &[PathBuf],
        dir: &dyn Fn(&[u8]) -> Result<PathBuf, TransferError>,
    ) -> Result<Vec<Target>, TransferError> {
        let targets = &self.taking.targets;
        if let Some(base) = &self.taking.src_base {
            let base = dir(base)?;
            let below = sources.iter().map(|source| Target::below(source, &base));
            return Ok(below.collect::<Result<_, _>>()?);
        }
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        if targets.len() != sources.len() {
            return Err(TransferError::Usage(
                "a source of a list of pairs stands for one thing; patterns do not",
            ));
        }
        let targets = targets.iter().map(|target| Target::new(target));
        Ok(targets.collect::<Result<_, _>>()?)
    }

    fn clean_up(
        &self,
        sources: &[PathBuf],
        dir: &dyn Fn(&[u8]) -> Result<PathBuf, TransferError>,
    ) -> Result<Option<CleanUp>, TransferError> {
        let is_whole = self.taking.range.is_none() && self.taking.grow_seconds.is_none();
        if self.taking.after != After::Keep && !is_whole {
            return Err(TransferError::Usage(
                "only what was sent whole is removed or moved: do without a range or growing",
            ));
        }
        let move_to = match &self.taking.after {
            After::Keep => return Ok(None),
            After::Remove => None,
            After::Move(spec) => Some(canonical(&dir(spec)?)?),
        };
        if self.taking.symlinks == Symlinks::Follow {
            return Err(TransferError::Usage(
                "what links lead to is not removed or moved: do without following them",
            ));
        }
        if let Some(to) = &move_to {
            for source in sources {
                check_shelf(source, to)?;
            }
        }
        Ok((!self.rehearses).then_some(CleanUp {
            move_to,
            empty_dirs: self.taking.remove_empty_dirs,
        }))
    }
}

/// Refuses a directory to move a source into that is below it or on another file system.
fn check_shelf(source: &Path, to: &Path) -> Result<(), TransferError> {
    let failed = |cause| DiskError::Source {
        path: source.to_owned(),
        cause,
    };
    if to.starts_with(canonical(source)?) {
        return Err(TransferError::Usage(
            "the directory to move sources into is below one of them; take another",
        ));
    }
    let device = |path: &Path| path.metadata().map(|found| found.dev());
    if device(source).map_err(failed)? != device(to).map_err(failed)? {
        return Err(TransferError::Usage(
            "the directory to move sources into is on another file system; take one on theirs",
        ));
    }
    Ok(())
}

/// What the sender leaves out, as far as whoever removes what is not listed must know it.
///
/// # Errors
/// [`TransferError::Pattern`] for a rule that is none.
pub(crate) fn left_out(taking: &Taking) -> Result<LeftOut, TransferError> {
    Ok(LeftOut {
        selection: selection(&taking.selection)?,
        symlinks: taking.symlinks,
    })
}

/// What a request selects.
///
/// # Errors
/// [`TransferError::Pattern`] for a rule that is none.
fn selection(wanted: &control::Selection) -> Result<Selection, TransferError> {
    let lines: Vec<_> = (wanted.rules.iter())
        .map(|rule| String::from_utf8_lossy(rule))
        .collect();
    Ok(Selection::new(&lines, wanted.oldest, wanted.newest)?)
}
