//! Names beside the final one: of files that are not whole, and of what was replaced.

use std::sync::Arc;

use haul_manifest::{MAX_NAME_LEN, Name, NameError};
use haul_wire::control::Placing;

use super::partial::{HASH_EMPTY, hash_on};

const SUFFIX: &[u8] = b".haul-part";
/// Names tried for a partial file when others have taken them.
pub(super) const NAMES_MAX: u8 = 9;

/// How partial files and backups are named.
#[derive(Debug, Clone, Default)]
pub(super) struct Naming {
    /// In place of the usual one.
    partial: Option<Arc<[u8]>>,
    backup: Option<Arc<[u8]>>,
}

impl Naming {
    pub(super) fn new(placing: &Placing) -> Self {
        Self {
            partial: placing
                .partial_suffix
                .as_ref()
                .map(|suffix| suffix.as_slice().into()),
            backup: placing
                .backup_suffix
                .as_ref()
                .map(|suffix| suffix.as_slice().into()),
        }
    }

    /// The partial name for `name`: with the suffix that was asked for, or the [usual](partial_name) one.
    pub(super) fn partial(&self, name: &[u8], attempt: u8) -> Vec<u8> {
        match &self.partial {
            None => partial_name(name, attempt),
            Some(suffix) => partial_with(b"", name, suffix, attempt),
        }
    }

    /// Whether partial files have other names than the usual, that anything might have.
    pub(super) fn is_custom(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether a name is one that a partial file of this run may have, other than the usual.
    pub(super) fn is_custom_partial(&self, name: &[u8]) -> bool {
        let has_suffix = |suffix: &Arc<[u8]>| {
            [name, without_attempt(name)]
                .iter()
                .any(|name| name.ends_with(suffix) && name.len() > suffix.len())
        };
        self.partial.as_ref().is_some_and(has_suffix)
    }

    /// The name under which what `name` has is kept when it is replaced, if it is.
    pub(super) fn backup(&self, name: &[u8]) -> Option<Result<Name, NameError>> {
        let suffix = self.backup.as_ref()?;
        Some(Name::new(&[name, suffix].concat()))
    }

    /// Whether a name is one that partial files or backups have.
    pub(super) fn is_own(&self, name: &[u8]) -> bool {
        let is_backup = |suffix: &Arc<[u8]>| name.ends_with(suffix);
        is_partial(name)
            || self.is_custom_partial(name)
            || self.backup.as_ref().is_some_and(is_backup)
    }
}

/// `.<name>.haul-part`; a long name is cut, and told apart by a hash of the whole.
pub(super) fn partial_name(name: &[u8], attempt: u8) -> Vec<u8> {
    partial_with(b".", name, SUFFIX, attempt)
}

fn partial_with(prefix: &[u8], name: &[u8], suffix: &[u8], attempt: u8) -> Vec<u8> {
    let mut suffix = suffix.to_vec();
    if attempt > 0 {
        suffix.extend([b'.', b'0' + attempt]);
    }
    let room = MAX_NAME_LEN.saturating_sub(suffix.len() + prefix.len());
    let mut partial = prefix.to_vec();
    if name.len() <= room {
        partial.extend_from_slice(name);
    } else {
        let hash = format!("~{:016x}", hash_on(HASH_EMPTY, name));
        partial.extend_from_slice(&name[..room.saturating_sub(hash.len())]);
        partial.extend_from_slice(hash.as_bytes());
    }
    partial.extend_from_slice(&suffix);
    partial
}

/// Whether a name is one that partial files usually have.
fn is_partial(name: &[u8]) -> bool {
    name.starts_with(b".") && without_attempt(name).ends_with(SUFFIX)
}

/// A partial name as the first attempt would have it.
fn without_attempt(name: &[u8]) -> &[u8] {
    match name {
        [name @ .., b'.', b'1'..=b'9'] => name,
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_names_fit_and_differ() {
        let custom = Naming {
            partial: Some(b".part".as_slice().into()),
            backup: None,
        };
        assert_eq!(partial_name(b"a", 0), b".a.haul-part");
        assert_eq!(partial_name(b"a", 1), b".a.haul-part.1");
        assert_eq!(custom.partial(b"a", 0), b"a.part");
        assert_eq!(custom.partial(b"a", 2), b"a.part.2");
        for naming in [&Naming::default(), &custom] {
            let mut long = vec![b'x'; 255];
            let first = naming.partial(&long, 0);
            long[254] = b'y';
            let second = naming.partial(&long, 0);
            assert_eq!((first.len(), second.len()), (255, 255));
            assert_ne!(first, second);
            for len in 1..=255 {
                let name = naming.partial(&vec![b'n'; len], 9);
                assert!(Name::new(&name).is_ok());
                assert!(naming.is_own(&name));
            }
        }
    }

    #[test]
    fn own_names_are_known() {
        let naming = Naming {
            partial: Some(b".1".as_slice().into()),
            backup: Some(b"~".as_slice().into()),
        };
        for own in [
            &b"a.1"[..],
            b"a.1.7",
            b".a.haul-part",
            b".a.haul-part.3",
            b"a~",
        ] {
            assert!(naming.is_own(own), "{own:?}");
        }
        for other in [
            &b".1"[..],
            b"a.2",
            b"a.haul-part",
            b".a.haul-part.x",
            b"a~b",
        ] {
            assert!(!naming.is_own(other), "{other:?}");
        }
        assert!(!Naming::default().is_own(b"a~"));
        assert_eq!(naming.backup(b"a").unwrap().unwrap().as_bytes(), b"a~");
        assert!(naming.backup(&[b'a'; 255]).unwrap().is_err(), "too long");
    }
}
