//! Which libssh2 there is.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

use cargo_metadata::{MetadataCommand, semver::Version};

#[test]
fn s61_the_systems_libssh2_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let check = Command::new(root.join("scripts/check"))
        .env("LIBSSH2_SYS_USE_PKG_CONFIG", "1")
        .output()
        .unwrap();
    assert!(!check.status.success());
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(said.contains("LIBSSH2_SYS_USE_PKG_CONFIG is set"), "{said}");

    // The fixes of 2026 are in this one.
    let metadata = MetadataCommand::new().exec().unwrap();
    let mut versions = (metadata.packages.iter())
        .filter(|package| package.name.as_str() == "libssh2-sys")
        .map(|package| &package.version)
        .peekable();
    assert!(versions.peek().is_some());
    assert!(versions.all(|version| *version >= Version::new(0, 3, 4)));
}
