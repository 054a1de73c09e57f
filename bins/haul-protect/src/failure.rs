//! Everything that can end a run, as one line for people and one number for scripts.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use haul_vault::VaultError;
use haul_wire::control::{ErrorCode, escaped};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    CommandLine(clap::Error),
    /// It has nothing to do with a file.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file cannot be sealed or opened.
    #[error("{}: {source}", shown(.path))]
    File { path: PathBuf, source: VaultError },
    #[error("cannot read {}: {source}", shown(.path))]
    Input { path: PathBuf, source: io::Error },
    #[error("{} is a directory; pack it first, as with tar", shown(.0))]
    Directory(PathBuf),
    #[error("cannot write {}: {source}", shown(.path))]
    Output { path: PathBuf, source: io::Error },
    #[error("{} is there already; replace it with --force, or choose another name with -o", shown(.0))]
    Exists(PathBuf),
    #[error("{} does not end in {suffix}; say with -o how the other file is to be called", shown(.path))]
    NoSuffix { path: PathBuf, suffix: String },
    #[error("-o names one output; give one FILE")]
    OneOutput,
    #[error("a passphrase can have no recipient beside it; choose one or the other")]
    PassphraseAndKeys,
    #[error("nothing to decrypt with; give an identity with -i, or -p for a passphrase")]
    NoKeys,
    #[error("there is no terminal to ask for the passphrase on; use --passphrase-file")]
    NoTerminal,
    #[error("the two passphrases differ; nothing was done")]
    PassphrasesDiffer,
    #[error("{failed} of {all} files failed; see above")]
    Some { failed: usize, all: usize },
}

pub(crate) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input or output".to_owned(),
        _ => escaped(path.as_os_str().as_encoded_bytes()),
    }
}

impl Failure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::CommandLine(_)
            | Self::OneOutput
            | Self::NoSuffix { .. }
            | Self::PassphraseAndKeys
            | Self::NoKeys
            | Self::NoTerminal
            | Self::PassphrasesDiffer
            | Self::Directory(_) => ErrorCode::Usage,
            Self::Vault(source) | Self::File { source, .. } => vault_code(source),
            Self::Input { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorCode::NoSuchSource,
                io::ErrorKind::PermissionDenied => ErrorCode::SourceUnreadable,
                _ => ErrorCode::DiskFailed,
            },
            Self::Output { source, .. } => output_code(source),
            Self::Exists(_) => ErrorCode::DestinationUnwritable,
            Self::Some { .. } => ErrorCode::Partial,
        }
    }

    /// Says it on one line.
    pub(crate) fn say(&self) {
        let text = self.to_string();
        let line = text.lines().collect::<Vec<_>>().join(" ");
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr(), "haul-protect: {line}");
    }

    /// Says it; its exit status.
    pub(crate) fn conclude(self) -> ExitCode {
        if let Self::CommandLine(error) = &self {
            let is_help = !error.use_stderr();
            let _ = error.print();
            if is_help {
                return ExitCode::SUCCESS;
            }
        } else {
            self.say();
        }
        ExitCode::from(self.code() as u8)
    }
}

fn vault_code(error: &VaultError) -> ErrorCode {
    match error {
        VaultError::NoRecipient
        | VaultError::BadRecipient { .. }
        | VaultError::SecretRecipient
        | VaultError::SshRecipient
        | VaultError::BadLine { .. }
        | VaultError::NoKeys { .. }
        | VaultError::KeysEncrypted { .. }
        | VaultError::EmptyPassphrase
        | VaultError::PassphraseAlone
        | VaultError::NotAge
        | VaultError::Armored
        | VaultError::UnknownVersion
        | VaultError::OutOfRange => ErrorCode::Usage,
        VaultError::Keys { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => ErrorCode::NoSuchSource,
            _ => ErrorCode::SourceUnreadable,
        },
        VaultError::NotForUs
        | VaultError::NeedsPassphrase
        | VaultError::NeedsIdentity
        | VaultError::WrongPassphrase
        | VaultError::TooMuchWork { .. } => ErrorCode::SourceUnreadable,
        VaultError::BadHeader
        | VaultError::AlteredHeader
        | VaultError::Truncated
        | VaultError::Damaged { .. }
        | VaultError::Trailing
        | VaultError::SourceChanged { .. } => ErrorCode::Integrity,
        VaultError::Io(source) => output_code(source),
        VaultError::Randomness(_) => ErrorCode::Resources,
    }
}

fn output_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem => ErrorCode::DestinationUnwritable,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
        _ => ErrorCode::DiskFailed,
    }
}
