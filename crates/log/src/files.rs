use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How many files are kept beside the one that is written.
pub const KEPT: u32 = 10;

/// The newest file of a log, and how to make room for a newer one.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    size_max: u64,
    file: File,
}

impl Files {
    pub(crate) fn open(dir: &Path, name: &str, size_max: u64) -> io::Result<Self> {
        let path = dir.join(name);
        let file = open(&path)?;
        Ok(Self {
            path,
            size_max,
            file,
        })
    }

    /// Adds a line, whole, with nothing of another writer in between.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        loop {
            self.file.lock()?;
            // Whoever held the lock before may have moved the file away.
            if !self.is_current()? {
                self.file = open(&self.path)?;
                continue;
            }
            let len = self.file.metadata()?.len();
            if len > 0 && len + line.len() as u64 > self.size_max {
                self.rotate()?;
                continue;
            }
            let written = self.file.write_all(line);
            return self.file.unlock().and(written);
        }
    }

    /// Whether the file that is open is the one under the name.
    fn is_current(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves every file one number on, the newest last: with that, the lock that is held is one on a file
    /// that nobody takes for the newest any more.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}
