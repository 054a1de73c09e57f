//! Disks that are full, over quota, read-only or broken (cases D104 and D105): each with its own status,
//! at every moment at which it can happen, nothing half done under a final name, and the same command
//! again completes.

use std::fs;

use crate::{
    calls::{receiving, sending},
    disk::Disk,
    judging::expect_one_error,
    noise::noise,
    outcome::{events, expect_status, of_type},
    site::Site,
    tree::tree,
};

const FULL: i32 = 23;
const FAILED: i32 = 24;
const UNWRITABLE: i32 = 22;
const PARTIAL: i32 = 3;

#[test]
fn d104_full_at_the_first_block() {
    receiving("pwritev", "ENOSPC", 1, FULL);
}

#[test]
fn d104_full_in_the_middle_of_a_file() {
    receiving("pwritev", "ENOSPC", 30, FULL);
}

#[test]
fn d104_full_when_it_is_written_back() {
    receiving("fsync", "ENOSPC", 1, FULL);
}

#[test]
fn d104_full_when_it_gets_its_name() {
    receiving("renameat2", "ENOSPC", 1, FULL);
}

#[test]
fn d105_over_quota() {
    receiving("pwritev", "EDQUOT", 2, FULL);
    receiving("renameat2", "EDQUOT", 1, FULL);
}

#[test]
fn d105_read_only_all_of_a_sudden() {
    receiving("pwritev", "EROFS", 2, UNWRITABLE);
    receiving("renameat2", "EROFS", 1, UNWRITABLE);
}

#[test]
fn d105_a_disk_that_cannot_write() {
    receiving("pwritev", "EIO", 2, FAILED);
    receiving("fsync", "EIO", 1, FAILED);
}

/// Nothing is shorter of a file than what could be read of it.
#[test]
fn d105_a_disk_that_cannot_read() {
    for position in [1, 5] {
        sending("preadv", "EIO", position, PARTIAL);
    }
}

#[test]
fn d105_interrupted_calls_are_made_again() {
    receiving("pwritev", "EINTR", 2, 0);
}

/// Really full: writes are cut short before they fail.
#[test]
fn d105_a_write_cut_short_by_a_full_disk_is_gone_on_with() {
    let site = Site::new();
    let disk = Disk::mount(&site.there().join("disk"), "size=6m");
    let bytes = noise(3, 9_000_001);
    fs::write(site.here().join("big"), &bytes).unwrap();
    let output = site.run(&["-q", "big", "localhost:disk/"]);
    expect_status(FULL, &output);
    expect_one_error(&output);
    assert!(!disk.0.join("big").exists());
    disk.options(&["-o", "remount,size=20m"]);
    let output = site.run(&["--json", "big", "localhost:disk/"]);
    expect_status(0, &output);
    assert!(fs::read(disk.0.join("big")).unwrap() == bytes);
    assert_eq!(tree(&disk.0).len(), 1, "nothing else is left");
    let events = events(&output.stdout);
    let there = &of_type(&events, "summary")[0]["there_bytes"];
    assert!(
        there.as_u64() > Some(1_000_000),
        "only {there} bytes were gone on with"
    );
}

#[test]
fn d105_a_read_only_destination_is_told_before_anything() {
    let site = Site::new();
    let disk = Disk::mount(&site.there().join("disk"), "size=1m,ro");
    fs::write(site.here().join("f"), "x").unwrap();
    let output = site.run(&["-q", "f", "localhost:disk/"]);
    expect_status(UNWRITABLE, &output);
    assert!(tree(&disk.0).is_empty());
}
