//! Runs a check on every file of its committed corpus. Included by tests, which say where `fuzz` is.

use std::{fs, panic::catch_unwind, path::Path};

/// A corpus that small was not written.
const FILES_MIN: usize = 5;

/// Feeds `corpus/<target>` to `check`, which must not panic, and must accept every `valid-…`.
pub fn replay(fuzz: &Path, target: &str, check: fn(&[u8]) -> bool) {
    let folder = fuzz.join("corpus").join(target);
    let entries = fs::read_dir(&folder).expect("a committed corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(
        files.len() >= FILES_MIN,
        "{}: {} files",
        folder.display(),
        files.len()
    );
    for file in files {
        let bytes = fs::read(&file).expect("readable");
        let name = file.display();
        let accepted = catch_unwind(|| check(&bytes)).unwrap_or_else(|_| panic!("found by {name}"));
        let is_valid = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"valid-"));
        assert!(
            accepted || !is_valid,
            "{name} is not accepted any more; see docs/TESTING.md"
        );
    }
}
