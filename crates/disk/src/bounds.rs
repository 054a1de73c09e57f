use std::{fmt, sync::Arc};

use crate::DiskError;

type Judge = dyn Fn(&[u8], bool) -> bool + Send + Sync;

/// Which names may be moved at all: told the path below the served directory, without a slash at its
/// beginning, and whether it is a directory.
#[derive(Clone)]
pub struct NameRule(Arc<Judge>);

impl NameRule {
    /// The rule that `allows` decides.
    pub fn new(allows: impl Fn(&[u8], bool) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    /// Whether this path may be moved.
    pub fn allows(&self, path: &[u8], is_dir: bool) -> bool {
        (self.0)(path, is_dir)
    }

    /// The same rule for paths below `base`, which is itself below the served directory or empty.
    #[must_use]
    pub fn below(self, base: Vec<u8>) -> Self {
        if base.is_empty() {
            return self;
        }
        Self::new(move |path, is_dir| {
            let whole = [&*base, path].join(&b'/');
            self.allows(&whole, is_dir)
        })
    }
}

impl fmt::Debug for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameRule")
    }
}

/// How much, and what, one transfer may move. The default is everything.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Most bytes of all files together,
    pub bytes_max: Option<u64>,
    /// and most names: files, directories and links.
    pub names_max: Option<u64>,
    /// Which names.
    pub names: Option<NameRule>,
}

impl Bounds {
    /// Whether this path, relative to where the rule begins, may be moved.
    pub fn allow(&self, path: &[u8], is_dir: bool) -> bool {
        (self.names.as_ref()).is_none_or(|rule| rule.allows(path, is_dir))
    }

    /// Takes one name and so many bytes from what may be moved.
    ///
    /// # Errors
    /// [`DiskError::TooMuch`] when it is more than there was.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), DiskError> {
        for (left, spent) in [(&mut self.bytes_max, bytes), (&mut self.names_max, 1)] {
            if let Some(left) = left {
                *left = left.checked_sub(spent).ok_or(DiskError::TooMuch)?;
            }
        }
        Ok(())
    }
}
