//! What the other end's words mean on this machine: sources, destinations, the jail around both.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use haul_disk::{
    Asked, DiskError, Landing, LeftOut, Outgoing, Root, ScanOptions, Selection, expand_source,
};
use haul_wire::control;

use crate::TransferError;

/// Any block length does for looking at sources.
const ANY_BLOCK_LEN: usize = 1024;

/// Where a responder resolves names.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    home: PathBuf,
    jail: Option<PathBuf>,
}

impl Ground {
    pub(crate) fn new(home: PathBuf, jail: Option<PathBuf>) -> Self {
        Self { home, jail }
    }

    /// The files that the specifications stand for.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when one stands for nothing or cannot be read,
    /// [`TransferError::NotPermitted`] when one leaves the jail.
    pub(crate) fn sources(
        &self,
        specs: &[impl AsRef<[u8]>],
        scan: ScanOptions,
    ) -> Result<Vec<PathBuf>, TransferError> {
        let mut sources = Vec::new();
        for spec in specs {
            let (base, spec) = self.confine(spec.as_ref())?;
            sources.extend(expand_source(base, &spec)?);
        }
        check_sources(&sources, scan)?;
        for source in &sources {
            self.check_inside(source)?;
        }
        Ok(sources)
    }

    /// Where files land, or in a dry run would.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when it cannot be used, [`TransferError::NotPermitted`] when it
    /// leaves the jail.
    pub(crate) fn landing(
        &self,
        destination: &[u8],
        asked: Asked,
        placing: &control::Placing,
    ) -> Result<(Root, Landing), TransferError> {
        let (base, destination) = self.confine(destination)?;
        if self.jail.is_some() {
            // Before anything is created: the nearest ancestor that exists decides.
            let path = base.join(OsStr::from_bytes(&destination));
            let existing = path.ancestors().find(|path| path.exists());
            self.check_inside(existing.unwrap_or(&path))?;
        }
        let resolve = landing(placing);
        Ok(resolve(base, &destination, asked, placing.create_dir)?)
    }

    /// The directory that a specification is relative to, and the specification as it reads there.
    /// In a jail, `/` and `~` are the jail itself, and nothing leads up.
    fn confine(&self, spec: &[u8]) -> Result<(&Path, Vec<u8>), TransferError> {
        let Some(jail) = &self.jail else {
            return Ok((&self.home, spec.to_vec()));
        };
        let spec = match spec {
            b"~" => b"",
            [b'~', b'/', rest @ ..] => rest,
            other => other,
        };
        let slashes = spec.iter().take_while(|byte| **byte == b'/').count();
        let spec = &spec[slashes..];
        let path = Path::new(OsStr::from_bytes(spec));
        if path
            .components()
            .any(|component| component == Component::ParentDir)
        {
            return Err(TransferError::NotPermitted("paths with .. in them"));
        }
        Ok((
            jail,
            if spec.is_empty() {
                b".".to_vec()
            } else {
                spec.to_vec()
            },
        ))
    }

    /// Refuses what a symbolic link has led out of the jail. Whoever can swap directories inside
    /// the jail while this looks needs walls made by the system.
    fn check_inside(&self, path: &Path) -> Result<(), TransferError> {
        let Some(jail) = &self.jail else {
            return Ok(());
        };
        let real = |path: &Path| {
            path.canonicalize().map_err(|cause| DiskError::Source {
                path: path.to_owned(),
                cause,
            })
        };
        if real(path)?.starts_with(real(jail)?) {
            Ok(())
        } else {
            Err(TransferError::NotPermitted(
                "paths that lead out of the served directory",
            ))
        }
    }
}

/// Local paths of an upload, looked at before anybody is troubled.
///
/// # Errors
/// [`TransferError::Disk`] for the first that cannot be read.
pub(crate) fn local_sources(
    sources: &[Vec<u8>],
    scan: ScanOptions,
) -> Result<Vec<PathBuf>, TransferError> {
    let sources: Vec<_> = sources
        .iter()
        .map(|source| PathBuf::from(OsStr::from_bytes(source)))
        .collect();
    check_sources(&sources, scan)?;
    Ok(sources)
}

/// A way to resolve a destination.
type Resolve = fn(&Path, &[u8], Asked, bool) -> Result<(Root, Landing), DiskError>;

/// How a destination is resolved: as it is made, or in a dry run as it would be.
pub(crate) fn landing(placing: &control::Placing) -> Resolve {
    if placing.dry_run {
        Landing::rehearse
    } else {
        Landing::resolve
    }
}

/// Runs what may wait for a disk where it holds up nobody.
///
/// # Errors
/// Those of `work`; [`TransferError::TaskFailed`] naming `task` when it panics.
pub(crate) async fn in_background<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| TransferError::TaskFailed(task))?
}

/// What a request selects.
///
/// # Errors
/// [`TransferError::Pattern`] for a rule that is none.
pub(crate) fn selection(wanted: &control::Selection) -> Result<Selection, TransferError> {
    let lines: Vec<_> = (wanted.rules.iter())
        .map(|rule| String::from_utf8_lossy(rule))
        .collect();
    Ok(Selection::new(&lines, wanted.oldest, wanted.newest)?)
}

/// What the sender leaves out, as far as whoever removes what is not listed must know it.
///
/// # Errors
/// [`TransferError::Pattern`] for a rule that is none.
pub(crate) fn left_out(taking: &control::Taking) -> Result<LeftOut, TransferError> {
    Ok(LeftOut {
        selection: selection(&taking.selection)?,
        symlinks: taking.symlinks,
    })
}

fn check_sources(sources: &[PathBuf], scan: ScanOptions) -> Result<(), TransferError> {
    let outgoing = Outgoing::new(ANY_BLOCK_LEN, sources.to_vec(), scan);
    match outgoing.check_sources().into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
