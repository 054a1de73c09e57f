//! `--manifest`, `--b3sum`, `--sha256sum`: what was moved, file by file, in files of this machine.

use std::{
    fs::File,
    io::{self, BufWriter, Seek as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use haul_transfer::{DigestRecord, escaped};
use serde::Serialize;

use crate::{args::ProofArgs, name};

/// An account cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub(crate) struct AccountError {
    path: String,
    source: io::Error,
}

/// The accounts that were asked for, being written.
#[derive(Debug)]
pub(crate) struct Accounts(Vec<Account>);

#[derive(Debug)]
struct Account {
    form: Form,
    path: PathBuf,
    out: BufWriter<File>,
    /// The first trouble with it.
    trouble: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// A JSON object a line.
    Json,
    /// As `b3sum` writes and checks them.
    Blake3,
    /// As `sha256sum` does.
    Sha256,
}

#[derive(Serialize)]
struct Line<'a> {
    path: String,
    encoded: bool,
    bytes: u64,
    blake3: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

impl Accounts {
    /// Begins what was asked for, empty.
    ///
    /// # Errors
    /// The system's, with the path.
    pub(crate) fn create(args: &ProofArgs) -> Result<Self, AccountError> {
        let wanted = [
            (Form::Json, &args.manifest),
            (Form::Blake3, &args.b3sum),
            (Form::Sha256, &args.sha256sum),
        ];
        let accounts = wanted.into_iter().filter_map(|(form, path)| {
            let path = path.clone()?;
            Some(match File::create(&path) {
                Ok(file) => Ok(Account {
                    form,
                    path,
                    out: BufWriter::new(file),
                    trouble: None,
                }),
                Err(source) => Err(failed(&path, source)),
            })
        });
        accounts.collect::<Result<_, _>>().map(Self)
    }

    /// A further connection tells of everything again.
    pub(crate) fn begin_again(&mut self) {
        for account in &mut self.0 {
            account.attempt(|account| {
                account.out.rewind()?;
                account.out.get_ref().set_len(0)
            });
        }
    }

    pub(crate) fn note(&mut self, record: &DigestRecord) {
        for account in &mut self.0 {
            account.attempt(|account| account.write(record));
        }
    }

    /// Has all of it written.
    ///
    /// # Errors
    /// The first trouble there was with any.
    pub(crate) fn finish(&mut self) -> Result<(), AccountError> {
        for mut account in self.0.drain(..) {
            account.attempt(|account| account.out.flush());
            if let Some(source) = account.trouble {
                return Err(failed(&account.path, source));
            }
        }
        Ok(())
    }
}

impl Account {
    fn attempt(&mut self, action: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.trouble.is_none() {
            self.trouble = action(self).err();
        }
    }

    fn write(&mut self, record: &DigestRecord) -> io::Result<()> {
        let blake3 = hex(&record.digests.blake3);
        let sha256 = record.digests.sha256.as_ref().map(|digest| hex(digest));
        match (self.form, sha256) {
            (Form::Json, sha256) => {
                let (path, encoded) = name::reversible(&record.path);
                let line = Line {
                    path,
                    encoded,
                    bytes: record.bytes,
                    blake3: &blake3,
                    sha256: sha256.as_deref(),
                };
                serde_json::to_writer(&mut self.out, &line)?;
                self.out.write_all(b"\n")
            }
            (Form::Blake3, _) => self.sum(&blake3, &record.path),
            (Form::Sha256, Some(sha256)) => self.sum(&sha256, &record.path),
            (Form::Sha256, None) => Ok(()),
        }
    }

    /// A line as the `sum` tools write it: a name with a line break or a backslash has these escaped,
    /// and the line begins with a backslash to say so.
    fn sum(&mut self, digest: &str, path: &[u8]) -> io::Result<()> {
        let mut name = Vec::with_capacity(path.len());
        for byte in path {
            match byte {
                b'\\' => name.extend(b"\\\\"),
                b'\n' => name.extend(b"\\n"),
                b'\r' => name.extend(b"\\r"),
                other => name.push(*other),
            }
        }
        let mark = if name.len() == path.len() { "" } else { "\\" };
        write!(self.out, "{mark}{digest}  ")?;
        name.push(b'\n');
        self.out.write_all(&name)
    }
}

fn failed(path: &std::path::Path, source: io::Error) -> AccountError {
    AccountError {
        path: escaped(path.as_os_str().as_bytes()),
        source,
    }
}

/// A digest as the tools print it.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
