//! docs/HOSTILE.md has every case once, and the tests that it names are there and carry its number.
#![allow(clippy::unwrap_used)]

mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use syn::visit::Visit;

use sources::{root, rust_files};

/// The kinds of cases and their numbers.
const CASES: [(char, std::ops::RangeInclusive<u32>); 6] = [
    ('W', 1..=33),
    ('C', 34..=50),
    ('S', 51..=61),
    ('N', 62..=78),
    ('D', 104..=109),
    ('K', 110..=115),
];
const EXCUSE: &str = "cannot be shown: ";

/// The rows: number, and what shows it.
fn rows() -> Vec<(String, String)> {
    let page = fs::read_to_string(root().join("docs/HOSTILE.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = cells
            .first()?
            .strip_prefix(|kind| CASES.iter().any(|(known, _)| *known == kind))?;
        let is_row = line.starts_with('|') && number.parse::<u32>().is_ok();
        is_row.then(|| (cells[0].to_owned(), (*cells.last().unwrap()).to_owned()))
    });
    rows.collect()
}

/// The tests that a cell names: crate and function.
fn named(cell: &str) -> Vec<(String, String)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .map(|name| {
            let (package, test) = name
                .split_once("::")
                .unwrap_or_else(|| panic!("{name} is no crate::test"));
            (package.to_owned(), test.to_owned())
        })
        .collect()
}

/// How a test's name tells a number: `w01`, `k110`.
fn tag(number: &str) -> String {
    let (kind, digits) = number.split_at(1);
    format!("{}{digits:0>2}", kind.to_lowercase())
}

/// The numbers in front of a test's name.
fn tags(test: &str) -> Vec<&str> {
    let is_tag = |part: &&str| {
        part.len() >= 3
            && part.starts_with(['w', 'c', 's', 'n', 'd', 'k'])
            && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    test.split('_').take_while(is_tag).collect()
}

#[derive(Default)]
struct Tests(Vec<String>);

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let is_test = function.attrs.iter().any(|attr| {
            attr.path()
                .segments
                .last()
                .is_some_and(|s| s.ident == "test")
        });
        if is_test {
            self.0.push(function.sig.ident.to_string());
        }
        syn::visit::visit_item_fn(self, function);
    }
}

/// All tests that carry numbers, by crate.
fn numbered() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for path in rust_files(&["crates", "bins"]) {
        let place = path.strip_prefix(root()).unwrap();
        let package = place.iter().nth(1).unwrap().to_str().unwrap().to_owned();
        let mut tests = Tests::default();
        tests.visit_file(&syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap());
        let numbered = tests.0.into_iter().filter(|test| !tags(test).is_empty());
        found.extend(numbered.map(|test| (package.clone(), test)));
    }
    found
}

#[test]
fn every_case_is_there_once() {
    let expected: Vec<_> = CASES
        .into_iter()
        .flat_map(|(kind, numbers)| numbers.map(move |number| format!("{kind}{number}")))
        .collect();
    let found: Vec<_> = rows().into_iter().map(|(number, _)| number).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_case_is_shown_by_tests_that_carry_its_number() {
    let there = numbered();
    for (number, cell) in rows() {
        let tests = named(&cell);
        assert!(
            cell.starts_with(EXCUSE) == tests.is_empty(),
            "{number}: tests, or why there are none: {cell}"
        );
        for test in tests {
            assert!(there.contains(&test), "{number}: there is no test {test:?}");
            assert!(
                tags(&test.1).contains(&tag(&number).as_str()),
                "{number}: {} does not say so",
                test.1
            );
        }
    }
}

#[test]
fn every_test_with_a_number_is_told_of() {
    let mut told: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for (number, cell) in rows() {
        told.insert(tag(&number), named(&cell).into_iter().collect());
    }
    for test in numbered() {
        for number in tags(&test.1) {
            let row = told.get(number);
            assert!(
                row.is_some_and(|row| row.contains(&test)),
                "docs/HOSTILE.md does not tell of {test:?} at {number}"
            );
        }
    }
}

/// The clock on the wall may jump. What moves data knows only the one that does not.
#[test]
fn k113_nothing_that_moves_data_looks_at_the_clock_on_the_wall() {
    let folders = [
        "wire", "batch", "seal", "flow", "manifest", "engine", "transfer",
    ]
    .map(|package| format!("crates/{package}/src"));
    for path in rust_files(&folders.each_ref().map(String::as_str)) {
        let text = fs::read_to_string(&path).unwrap();
        for wall in ["SystemTime", "jiff::", "Clock::Realtime", "UNIX_EPOCH"] {
            assert!(!text.contains(wall), "{}: {wall}", path.display());
        }
    }
}
