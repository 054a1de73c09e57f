//! docs/POLICY.md has every key, every code and every field, and nothing else.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use haul_policy::{Policy, Visitor};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands in backquotes in the first cell of a section's table.
fn listed(section: &str) -> BTreeSet<String> {
    let page = read("docs/POLICY.md");
    let from = page.find(&format!("\n## {section}")).unwrap() + 1;
    let text = page[from..].split("\n## ").next().unwrap();
    let cells = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let names = cells.flat_map(|cell| {
        cell.split(", ")
            .map(|name| name.trim_matches('`').to_owned())
    });
    names.collect()
}

/// The fields of a struct in a source file, in the order of the alphabet.
fn fields(path: &str, name: &str) -> BTreeSet<String> {
    let text = read(path);
    let from = text.find(&format!("struct {name} {{")).unwrap();
    let body = text[from..].split("\n}").next().unwrap();
    let names = body
        .lines()
        .skip(1)
        .filter(|line| !line.trim().starts_with("//"))
        .filter_map(|line| line.trim().split_once(": "));
    names
        .map(|(name, _)| name.rsplit(' ').next().unwrap().to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

#[test]
fn every_key_is_explained() {
    assert_eq!(
        listed("[server]"),
        fields("crates/policy/src/lib.rs", "ServerTerms")
    );
    assert_eq!(
        listed("The other sections"),
        fields("crates/policy/src/terms.rs", "Terms")
    );
}

#[test]
fn every_field_of_the_trail_is_explained() {
    assert_eq!(
        listed("Audit trail"),
        fields("crates/policy/src/trail.rs", "Record")
    );
}

#[test]
fn every_code_is_explained() {
    let mut codes = BTreeSet::new();
    for path in [
        "crates/policy/src/lib.rs",
        "crates/policy/src/layers.rs",
        "crates/policy/src/gate.rs",
        "bins/haul/src/access.rs",
        "bins/hauld/src/session.rs",
    ] {
        let text: String = read(path).split_whitespace().collect::<Vec<_>>().join(" ");
        for before in [
            "Refusal::new(\"",
            "Refusal::new( \"",
            "code: \"",
            "shut(\"",
            " no(\"",
            " no( \"",
        ] {
            let found = text.split(before).skip(1);
            codes.extend(found.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert_eq!(listed("What the peer hears"), codes);
}

#[test]
fn the_example_says_what_its_words_say() {
    let policy = Policy::parse(&read("dist/haul.toml")).unwrap();
    let visitor = |user: &str, address: &str| Visitor {
        user: user.to_owned(),
        groups: Vec::new(),
        address: address.parse().ok(),
        key: Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU".to_owned()),
        now: "2026-12-01T00:00:00Z".parse().unwrap(),
    };
    let ann = policy
        .admit(&visitor("ann", "192.0.2.7"))
        .unwrap()
        .explained()
        .to_string();
    assert!(
        ann.contains("serves /srv/haul/ann") && ann.contains("may not download"),
        "{ann}"
    );
    assert_eq!(
        policy
            .admit(&visitor("ann", "198.51.100.1"))
            .unwrap_err()
            .code,
        "source"
    );
    assert_eq!(
        policy.admit(&visitor("eve", "192.0.2.7")).unwrap_err().code,
        "unlisted"
    );
    let mirror = policy
        .admit(&visitor("mirror", "198.51.100.1"))
        .unwrap()
        .explained()
        .to_string();
    assert!(
        mirror.contains("serves /srv/haul/public") && mirror.contains("may not upload"),
        "{mirror}"
    );
}
