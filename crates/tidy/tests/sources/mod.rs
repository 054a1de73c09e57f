//! Where the sources are.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file below these folders of the project.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let mut left: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            if path.file_name().unwrap() != "target" {
                let entries = fs::read_dir(path).unwrap();
                left.extend(entries.map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    assert!(
        found.len() > 50,
        "only {} files: wrong folder?",
        found.len()
    );
    found
}
