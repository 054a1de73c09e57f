//! Sources that are written in a file, one by one or with their places.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use haul_transfer::escaped;

use crate::{args::Args, job::JobError};

/// What lists of sources say.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// In the order in which they stand there.
    pub(crate) sources: Vec<OsString>,
    /// Where each of them lands, if that is said.
    pub(crate) targets: Vec<Vec<u8>>,
}

impl Lists {
    /// Reads the list that was named, if one was.
    ///
    /// # Errors
    /// [`JobError`] when it cannot be read or makes no sense.
    pub(crate) fn read(args: &Args) -> Result<Self, JobError> {
        if let Some(path) = &args.transfer.file_list {
            let sources = lines(path, args.transfer.null)?;
            return Ok(Self {
                sources,
                targets: Vec::new(),
            });
        }
        let Some(path) = &args.taking.file_pair_list else {
            return Ok(Self::default());
        };
        if args.places.len() > 1 {
            return Err(JobError::PairsWithSources);
        }
        let mut lists = Self::default();
        let mut lines = lines(path, args.transfer.null)?.into_iter();
        while let Some(source) = lines.next() {
            let target = lines.next();
            let target =
                target.ok_or_else(|| JobError::Pairs(escaped(path.as_os_str().as_bytes())))?;
            lists.sources.push(source);
            lists.targets.push(target.into_vec());
        }
        Ok(lists)
    }
}

/// The lines of a list, without empty ones.
fn lines(path: &Path, null: bool) -> Result<Vec<OsString>, JobError> {
    let mut text = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().read_to_end(&mut text)
    } else {
        fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|source| JobError::List {
        path: escaped(path.as_os_str().as_bytes()),
        source,
    })?;
    let end = if null { 0 } else { b'\n' };
    let names = text
        .split(|byte| *byte == end)
        .filter(|name| !name.is_empty());
    Ok(names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}
