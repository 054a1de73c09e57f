//! Arrows between crates point down only, and each dangerous package has one door.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// What each crate may use of the others: docs/ARCHITECTURE.md draws the same table.
const MAY_USE: [(&str, &[&str]); 23] = [
    ("haul-wire", &[]),
    ("haul-batch", &[]),
    ("haul-seal", &["haul-wire", "haul-batch"]),
    ("haul-flow", &["haul-wire"]),
    ("haul-manifest", &["haul-wire"]),
    ("haul-udp", &["haul-batch"]),
    (
        "haul-disk",
        &["haul-batch", "haul-manifest", "haul-vault", "haul-wire"],
    ),
    ("haul-ssh", &[]),
    ("haul-log", &[]),
    ("haul-jail", &[]),
    ("haul-vault", &[]),
    (
        "haul-engine",
        &[
            "haul-wire",
            "haul-batch",
            "haul-seal",
            "haul-flow",
            "haul-udp",
            "haul-disk",
        ],
    ),
    (
        "haul-transfer",
        &[
            "haul-wire",
            "haul-batch",
            "haul-seal",
            "haul-flow",
            "haul-manifest",
            "haul-udp",
            "haul-disk",
            "haul-engine",
        ],
    ),
    ("haul-policy", &["haul-wire", "haul-log", "haul-transfer"]),
    ("haul-sim", &["haul-wire", "haul-flow"]),
    ("haul-wan", &[]),
    (
        "haul-evil",
        &["haul-wire", "haul-batch", "haul-seal", "haul-manifest"],
    ),
    ("haul-tidy", &[]),
    (
        "haul",
        &[
            "haul-wire",
            "haul-ssh",
            "haul-log",
            "haul-transfer",
            "haul-policy",
            "haul-jail",
            "haul-disk",
            "haul-vault",
        ],
    ),
    ("haul-shell", &[]),
    (
        "hauld",
        &["haul-wire", "haul-log", "haul-transfer", "haul-policy"],
    ),
    ("haul-protect", &["haul-vault", "haul-wire"]),
    (
        "haul-bench",
        &[
            "haul-wan",
            "haul-seal",
            "haul-wire",
            "haul-batch",
            "haul-disk",
        ],
    ),
];

/// Packages that only one crate may touch.
const DOORS: [(&str, &[&str]); 20] = [
    ("aes", &["haul-seal"]),
    ("aes-gcm", &["haul-seal"]),
    ("aws-lc-rs", &["haul-seal"]),
    ("cfb-mode", &["haul-seal"]),
    ("chacha20poly1305", &["haul-seal", "haul-vault"]),
    ("cmac", &["haul-seal"]),
    ("age", &["haul-vault"]),
    ("age-core", &["haul-vault"]),
    ("quinn-udp", &["haul-udp"]),
    ("socket2", &["haul-udp"]),
    ("ssh2", &["haul-ssh"]),
    ("crossbeam-channel", &["haul-engine"]),
    ("x25519-dalek", &["haul-transfer", "haul-evil"]),
    ("russh", &["hauld"]),
    ("landlock", &["haul-jail"]),
    ("seccompiler", &["haul-jail"]),
    ("indicatif", &["haul"]),
    ("tun-rs", &["haul-wan"]),
    ("etherparse", &["haul-wan"]),
    ("plotters", &["haul-bench"]),
];

/// Where asynchronous code may begin.
const MAY_USE_TOKIO: [&str; 3] = ["haul-transfer", "haul", "hauld"];

fn members() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    metadata.packages
}

fn used(package: &Package) -> BTreeSet<&str> {
    let normal = package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal);
    normal.map(|d| d.name.as_str()).collect()
}

#[test]
fn arrows_point_down_only() {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for package in members() {
        let name = package.name.as_str();
        if name == "haul-benches" {
            continue; // Looks at everything from outside.
        }
        let allowed = rules
            .get(name)
            .unwrap_or_else(|| panic!("{name} is in no layer"));
        for other in used(&package).into_iter().filter(|d| d.starts_with("haul")) {
            assert!(allowed.contains(&other), "{name} may not use {other}");
        }
    }
}

#[test]
fn each_dangerous_package_has_one_door() {
    for package in members() {
        let name = package.name.as_str();
        if name == "haul-benches" {
            continue;
        }
        let used = used(&package);
        for (dangerous, doors) in DOORS {
            assert!(
                !used.contains(dangerous) || doors.contains(&name),
                "{name} touches {dangerous}; only {doors:?} may"
            );
        }
        assert!(
            !used.contains("tokio") || MAY_USE_TOKIO.contains(&name),
            "{name} uses tokio: the data path is threads"
        );
    }
}

#[test]
fn versions_are_pinned_in_one_place() {
    for package in members() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let dependencies = manifest.split("dependencies]").skip(1);
        for line in dependencies
            .flat_map(str::lines)
            .filter(|l| l.contains('='))
        {
            let first = line.split_whitespace().next().unwrap_or_default();
            let outside = line.trim_start().starts_with('[') || first.is_empty();
            assert!(
                outside
                    || line.contains("workspace = true")
                    || ["name", "harness", "path", "unsafe_code", "default", "test"]
                        .contains(&first)
                    || line.contains("= \"warn\"")
                    || line.contains("= \"deny\"")
                    || line.contains("= []"),
                "{}: {line:?} does not come from [workspace.dependencies]",
                package.name
            );
        }
    }
}
