//! A destination that gives up. Needs a small file system, so it needs root.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{fs, path::Path};

use haul_disk::DiskError;
use pair::{CLEAN, Random, mounted::Mounted, transfer};

#[test]
fn d104_full_file_system_ends_the_transfer_and_names_the_file() {
    let small = Mounted::new("size=1m");
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("large");
    fs::write(&source, Random(1).bytes(2 << 20)).unwrap();
    let error = transfer(&[&source], small.path(), false, CLEAN, 1).unwrap_err();
    let DiskError::Storage { path, cause } = error else {
        panic!("{error}");
    };
    assert_eq!(path, Path::new("large"));
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
    assert!(!small.path().join("large").exists());
    assert!(small.path().join(".large.haul-part").exists(), "kept");
}

#[test]
fn d104_no_inode_left_ends_the_transfer() {
    let small = Mounted::new("nr_inodes=10");
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("many");
    fs::create_dir(&source).unwrap();
    for index in 0..20 {
        fs::write(source.join(format!("f{index}")), "").unwrap();
    }
    let error = transfer(&[&source], small.path(), false, CLEAN, 1).unwrap_err();
    assert!(matches!(error, DiskError::Storage { .. }), "{error}");
}

#[test]
fn d105_read_only_file_system_ends_the_transfer() {
    let small = Mounted::new("size=1m");
    small.remount("remount,ro");
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("f");
    fs::write(&source, "x").unwrap();
    let error = transfer(&[&source], small.path(), false, CLEAN, 1).unwrap_err();
    let DiskError::Storage { cause, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(cause.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}
