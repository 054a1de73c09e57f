//! Files in and out: nothing appears under a final name before it is whole.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{args::OutputArgs, failure::Failure};

/// Standard input or output.
const STREAM: &str = "-";

/// Opens what is to be read; its permissions too, if it is a file.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn BufRead>, Option<u32>), Failure> {
    if path.as_os_str() == STREAM {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let failed = |source| Failure::Input {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::Directory(path.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    Ok((Box::new(BufReader::new(file)), Some(mode)))
}

/// Where the output for an input goes.
pub(crate) fn beside(
    input: &Path,
    output: &OutputArgs,
    rename: impl Fn(&Path, &str) -> Option<PathBuf>,
) -> Result<PathBuf, Failure> {
    match &output.output {
        Some(path) => Ok(path.clone()),
        None if input.as_os_str() == STREAM => Ok(STREAM.into()),
        None => rename(input, &output.suffix).ok_or_else(|| Failure::NoSuffix {
            path: input.to_owned(),
            suffix: output.suffix.clone(),
        }),
    }
}

/// The name of an encrypted file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> Option<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    Some(name.into())
}

/// The name of what is in an encrypted file.
pub(crate) fn without_suffix(path: &Path, suffix: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(suffix)?;
    (!name.is_empty()).then(|| path.with_file_name(name))
}

/// Writes a file: beside its final name, and there when it is whole. To standard output, it comes as it is made.
pub(crate) fn write(
    path: &Path,
    is_forced: bool,
    mode: u32,
    make: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |source| Failure::Output {
        path: path.to_owned(),
        source,
    };
    if path.as_os_str() == STREAM {
        let mut stdout = BufWriter::new(io::stdout().lock());
        make(&mut stdout)?;
        return stdout.flush().map_err(failed);
    }
    // Seen early where it can be, so that no work is done for nothing.
    if !is_forced && fs::symlink_metadata(path).is_ok() {
        return Err(Failure::Exists(path.to_owned()));
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut partial = tempfile::Builder::new()
        .prefix(".haul-protect-")
        .tempfile_in(dir)
        .map_err(failed)?;
    let mut writer = BufWriter::with_capacity(1 << 17, partial.as_file_mut());
    make(&mut writer)?;
    writer.flush().map_err(failed)?;
    drop(writer);
    let file = partial.as_file();
    file.set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    publish(partial, path, is_forced)
}

fn publish(partial: NamedTempFile, path: &Path, is_forced: bool) -> Result<(), Failure> {
    let published = match is_forced {
        true => partial.persist(path),
        false => partial.persist_noclobber(path),
    };
    match published {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::Exists(path.to_owned()))
        }
        Err(error) => Err(Failure::Output {
            path: path.to_owned(),
            source: error.error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_there_and_back() {
        let there = with_suffix(Path::new("d/a.tar"), ".age").unwrap();
        assert_eq!(there, Path::new("d/a.tar.age"));
        assert_eq!(
            without_suffix(&there, ".age").unwrap(),
            Path::new("d/a.tar")
        );
        for none in ["a", "d/.age", "a.agex"] {
            assert_eq!(without_suffix(Path::new(none), ".age"), None, "{none}");
        }
    }
}
