use std::path::PathBuf;

use haul_wire::control::Symlinks;

use super::Selection;

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
}

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where it is on this machine. A source is taken as scp takes it: a file, a directory (by its own
    /// name), or the contents of one when it ends in `/.` or has no name of its own (`.`, `..`, `/`).
    /// Sources that are symbolic links are followed in any case.
    pub sources: Vec<PathBuf>,
    /// What is looked for.
    pub options: ScanOptions,
    /// What of it goes.
    pub selection: Selection,
    /// Links that are followed lead nowhere outside of this directory, which has no links in its path.
    pub jail: Option<PathBuf>,
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

    pub(super) fn follows(&self) -> bool {
        self.options.symlinks == Symlinks::Follow
    }
}
