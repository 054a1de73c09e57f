//! No left-overs, no dumping grounds, and the top folder has what a visitor looks for.
#![allow(clippy::unwrap_used)]

mod sources;

use std::{fs, path::Path};

use sources::{root, rust_files};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "core", "types", "helpers"];

const TOP_ENTRIES: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "docs/ARCHITECTURE.md",
    "docs/PROTOCOL.md",
    "docs/SECURITY.md",
    "docs/TESTING.md",
    ".ci/run",
];

#[test]
fn nothing_is_left_over() {
    // Assembled here so that this file does not find itself.
    let leftovers = [
        ["dbg", "!("].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["FIX", "ME"].concat(),
        ["TO", "DO"].concat(),
        ["XX", "X"].concat(),
        ["<<<<", "<<<"].concat(),
        [">>>>", ">>>"].concat(),
    ];
    for path in rust_files(&["crates", "bins"]) {
        let text = fs::read_to_string(&path).unwrap();
        for leftover in &leftovers {
            assert!(
                !text.contains(leftover.as_str()),
                "{}: {leftover}",
                path.display()
            );
        }
    }
}

#[test]
fn names_say_what_is_inside() {
    for path in rust_files(&["crates", "bins"]) {
        for part in path.strip_prefix(root()).unwrap().iter() {
            let stem = Path::new(part).file_stem().unwrap().to_str().unwrap();
            assert!(!EMPTY_NAMES.contains(&stem), "{}", path.display());
        }
    }
}

#[test]
fn every_crate_says_in_one_sentence_what_it_is() {
    for folder in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let src = entry.unwrap().path().join("src");
            let lib = if src.join("lib.rs").exists() {
                "lib.rs"
            } else {
                "main.rs"
            };
            let text = fs::read_to_string(src.join(lib)).unwrap();
            assert!(
                text.starts_with("//! "),
                "{}/{lib} has no crate documentation",
                src.display()
            );
        }
    }
}

#[test]
fn the_top_folder_is_complete() {
    for entry in TOP_ENTRIES {
        assert!(root().join(entry).exists(), "{entry} is missing");
    }
}
