use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash},
};

use super::level::Identity;

/// What has been listed, to be known again afterwards: 8 bytes for each file, link and directory.
#[derive(Debug, Default)]
pub(super) struct Sent {
    keys: RandomState,
    marks: Vec<u64>,
    /// Files and links among them.
    pub(super) files: u64,
    is_sorted: bool,
}

impl Sent {
    /// Notes a file or link: the directory it is in, its name there, and what it was.
    pub(super) fn file(&mut self, dir: Identity, name: &[u8], what: impl Hash) {
        self.files += 1;
        self.note(dir, name, what);
    }

    /// Notes a directory.
    pub(super) fn dir(&mut self, dir: Identity, name: &[u8], what: Identity) {
        self.note(dir, name, what);
    }

    fn note(&mut self, dir: Identity, name: &[u8], what: impl Hash) {
        self.marks.push(self.keys.hash_one((dir, name, what)));
        self.is_sorted = false;
    }

    /// Whether this was noted.
    pub(super) fn has(&mut self, dir: Identity, name: &[u8], what: impl Hash) -> bool {
        if !self.is_sorted {
            self.marks.sort_unstable();
            self.is_sorted = true;
        }
        let mark = self.keys.hash_one((dir, name, what));
        self.marks.binary_search(&mark).is_ok()
    }
}
