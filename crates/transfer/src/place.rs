//! What the other end's words mean on this machine: sources, destinations, the jail around both.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use haul_disk::{
    Asked, Bounds, DiskError, Landing, Outgoing, Root, ScanOptions, Wanted, expand_source, named,
};
use haul_wire::control::Placing;

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

    /// Refuses sources that may not be sent, wherever links in their paths lead.
    ///
    /// # Errors
    /// [`TransferError::NotPermitted`] for the first of them.
    pub(crate) fn check_bounds(
        &self,
        sources: &[PathBuf],
        bounds: &Bounds,
    ) -> Result<(), TransferError> {
        let Some(rule) = &bounds.names else {
            return Ok(());
        };
        for source in sources {
            if !rule.allows(&self.inside(source)?, source.is_dir()) {
                return Err(TransferError::NotPermitted("what is named"));
            }
        }
        Ok(())
    }

    /// A directory that a request names.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when it is none; [`TransferError::NotPermitted`] when it leaves the jail.
    pub(crate) fn dir(&self, spec: &[u8]) -> Result<PathBuf, TransferError> {
        let (base, spec) = self.confine(spec)?;
        let path = named(base, &spec);
        check_dir(&path)?;
        self.check_inside(&path)?;
        Ok(path)
    }

    /// The directory that links do not lead out of, if there is one.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when it is gone.
    pub(crate) fn jail(&self) -> Result<Option<PathBuf>, TransferError> {
        self.jail.as_deref().map(canonical).transpose()
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
        placing: &Placing,
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

    /// A path as seen from the jail, links followed: empty for the jail itself.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when it leads nowhere.
    pub(crate) fn inside(&self, path: &Path) -> Result<Vec<u8>, TransferError> {
        let path = canonical(path)?;
        let jail = self.jail()?.unwrap_or_default();
        let inside = path.strip_prefix(jail).unwrap_or(&path);
        Ok(inside.as_os_str().as_bytes().to_vec())
    }

    /// Refuses what a symbolic link has led out of the jail. Whoever can swap directories inside
    /// the jail while this looks needs walls made by the system.
    fn check_inside(&self, path: &Path) -> Result<(), TransferError> {
        let Some(jail) = &self.jail else {
            return Ok(());
        };
        if canonical(path)?.starts_with(canonical(jail)?) {
            Ok(())
        } else {
            Err(TransferError::NotPermitted(
                "paths that lead out of the served directory",
            ))
        }
    }
}

/// Where a path leads, without links.
///
/// # Errors
/// [`TransferError::Disk`] when it leads nowhere.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, TransferError> {
    path.canonicalize().map_err(|cause| {
        let path = path.to_owned();
        DiskError::Source { path, cause }.into()
    })
}

/// A way to resolve a destination.
type Resolve = fn(&Path, &[u8], Asked, bool) -> Result<(Root, Landing), DiskError>;

/// How a destination is resolved: as it is made, or in a dry run as it would be.
pub(crate) fn landing(placing: &Placing) -> Resolve {
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

/// Refuses what is not a directory.
///
/// # Errors
/// [`TransferError::Disk`].
pub(crate) fn check_dir(path: &Path) -> Result<(), TransferError> {
    let cause = match path.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => std::io::ErrorKind::NotADirectory.into(),
        Err(cause) => cause,
    };
    let path = path.to_owned();
    Err(DiskError::Source { path, cause }.into())
}

/// Refuses sources that cannot be sent.
///
/// # Errors
/// [`TransferError::Disk`] for the first of them.
pub(crate) fn check_sources(sources: &[PathBuf], scan: ScanOptions) -> Result<(), TransferError> {
    let wanted = Wanted::new(sources.to_vec(), scan);
    let outgoing = Outgoing::new(ANY_BLOCK_LEN, wanted);
    match outgoing.check_sources().into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
