//! Files, functions and lines stay small enough to read.
#![allow(clippy::unwrap_used)]

mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{spanned::Spanned, visit::Visit};

use sources::{root, rust_files};

/// Longest file. A table may be longer where splitting would hide it: list it below.
const FILE_LINES_MAX: usize = 600;
/// Longest function, signature and braces included.
const FUNCTION_LINES_MAX: usize = 80;
/// Widest line, in characters.
const COLUMNS_MAX: usize = 100;

/// Files that may exceed [`FILE_LINES_MAX`], and why. Each entry is a debt, not a licence.
const LONG_FILES: [(&str, &str); 0] = [];

fn all_files() -> Vec<PathBuf> {
    rust_files(&["crates", "bins", "benches", "fuzz"])
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for path in all_files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let name = shown(&path);
        let excused = LONG_FILES.iter().any(|(file, _)| *file == name);
        if lines > FILE_LINES_MAX && !excused {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(
        long.is_empty(),
        "files over {FILE_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn lines_are_narrow() {
    let mut wide = Vec::new();
    for path in all_files() {
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // A string that must not be broken (a message, a vector) may stand out.
            if line.chars().count() > COLUMNS_MAX && !line.contains('"') && !line.contains("//") {
                wide.push(format!("{}:{}", shown(&path), index + 1));
            }
        }
    }
    assert!(
        wide.is_empty(),
        "lines over {COLUMNS_MAX} columns:\n{}",
        wide.join("\n")
    );
}

#[derive(Default)]
struct Functions {
    long: Vec<(String, usize)>,
}

impl Functions {
    fn look(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.long.push((name.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look(&function.sig.ident, function.span());
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look(&function.sig.ident, function.span());
        syn::visit::visit_impl_item_fn(self, function);
    }
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for path in all_files() {
        let parsed = syn::parse_file(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", shown(&path)));
        let mut functions = Functions::default();
        functions.visit_file(&parsed);
        for (name, lines) in functions.long {
            long.push(format!("{}: {name}, {lines} lines", shown(&path)));
        }
    }
    assert!(
        long.is_empty(),
        "functions over {FUNCTION_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}
