//! What the other end's words mean on this machine: sources, destinations, the jail around both.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use haul_disk::{
    Asked, DiskError, Landing, Outgoing, Root, ScanOptions, Selection, Wanted, expand_source,
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

    /// What is to be sent.
    ///
    /// # Errors
    /// Those of [`Self::sources`]; [`TransferError::Pattern`].
    pub(crate) fn wanted(
        &self,
        specs: &[impl AsRef<[u8]>],
        taking: &control::Taking,
        times: bool,
    ) -> Result<Wanted, TransferError> {
        let options = scan(taking, times);
        let jail = self.jail.as_deref().map(canonical).transpose()?;
        Ok(Wanted {
            sources: self.sources(specs, options)?,
            options,
            selection: selection(&taking.selection)?,
            jail,
        })
    }

    /// Where files land.
    ///
    /// # Errors
    /// [`TransferError::Disk`] when it cannot be used, [`TransferError::NotPermitted`] when it
    /// leaves the jail.
    pub(crate) fn landing(
        &self,
        destination: &[u8],
        asked: Asked,
        create_dir: bool,
    ) -> Result<(Root, Landing), TransferError> {
        let (base, destination) = self.confine(destination)?;
        if self.jail.is_some() {
            // Before anything is created: the nearest ancestor that exists decides.
            let path = base.join(OsStr::from_bytes(&destination));
            let existing = path.ancestors().find(|path| path.exists());
            self.check_inside(existing.unwrap_or(&path))?;
        }
        Ok(Landing::resolve(base, &destination, asked, create_dir)?)
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
        if canonical(path)?.starts_with(canonical(jail)?) {
            Ok(())
        } else {
            Err(TransferError::NotPermitted(
                "paths that lead out of the served directory",
            ))
        }
    }
}

fn canonical(path: &Path) -> Result<PathBuf, TransferError> {
    path.canonicalize().map_err(|cause| {
        let path = path.to_owned();
        DiskError::Source { path, cause }.into()
    })
}

/// What an upload sends, looked at before anybody is troubled.
///
/// # Errors
/// [`TransferError::Disk`] for the first source that cannot be read; [`TransferError::Pattern`].
pub(crate) fn local(
    sources: &[Vec<u8>],
    taking: &control::Taking,
    times: bool,
) -> Result<Wanted, TransferError> {
    let path = |source: &Vec<u8>| PathBuf::from(OsStr::from_bytes(source));
    let sources: Vec<_> = sources.iter().map(path).collect();
    let options = scan(taking, times);
    check_sources(&sources, options)?;
    Ok(Wanted {
        sources,
        options,
        selection: selection(&taking.selection)?,
        jail: None,
    })
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

/// What is looked for where this is taken, with times where they are kept or compared.
pub(crate) fn scan(taking: &control::Taking, times: bool) -> ScanOptions {
    ScanOptions {
        recursive: taking.recursive,
        times,
        symlinks: taking.symlinks,
        skip_special: taking.skip_special,
    }
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

fn check_sources(sources: &[PathBuf], scan: ScanOptions) -> Result<(), TransferError> {
    let wanted = Wanted::new(sources.to_vec(), scan);
    let outgoing = Outgoing::new(ANY_BLOCK_LEN, wanted);
    match outgoing.check_sources().into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
