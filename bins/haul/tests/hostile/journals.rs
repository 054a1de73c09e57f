//! What a run that was cut off has left is believed only as far as it can be true (cases K111 and K112).

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    noise::noise,
    outcome::{events, expect_status, of_type},
    site::{Site, finish},
    tree::tree,
};

const LEN: usize = 12_000_000;
/// Runs a command on a machine that was started anew: as far as a journal can tell.
const REBORN: &str = r#"#!/bin/sh
echo 01234567-89ab-cdef-0123-456789abcdef >"$0.boot"
exec unshare -m sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"' "$0.boot" "$@"
"#;

/// An upload of which a journal tells that some is there, and whose other end was killed then.
fn cut_off() -> Site {
    let site = Site::new();
    fs::write(site.here().join("big"), noise(5, LEN)).unwrap();
    let slow = ["-q", "--retry-for", "0", "--policy", "fixed", "-l", "60M"];
    let arguments = [&slow[..], &["big", "localhost:"]].concat();
    let child = site.command(&arguments).spawn().unwrap();
    let journal = site.there().join(".haul-journal");
    let began = Instant::now();
    while !fs::metadata(&journal).is_ok_and(|meta| meta.len() > 0) {
        assert!(began.elapsed() < Duration::from_secs(60), "no journal");
        sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    kill_process(site.remote().unwrap(), Signal::KILL).unwrap();
    finish(child);
    site.await_no_remote();
    site
}

/// What was not sent again by a run that completes.
fn gone_on_with(site: &Site, tracer: Option<&str>) -> u64 {
    let mut command = site.command(&["--json", "big", "localhost:"]);
    if let Some(tracer) = tracer {
        command.env("TRACE", tracer);
    }
    let output = finish(command.spawn().unwrap());
    expect_status(0, &output);
    assert!(
        tree(&site.there()) == tree(&site.here()),
        "another tree arrived"
    );
    let told = events(&output.stdout);
    of_type(&told, "summary")[0]["there_bytes"]
        .as_u64()
        .unwrap()
}

#[test]
fn k112_a_journal_that_is_whole_is_believed() {
    assert!(gone_on_with(&cut_off(), None) > 1_000_000);
}

/// As after a power cut: what was written and had not reached the disk is gone, and the journal tells of it.
#[test]
fn k111_what_the_disk_may_have_lost_is_sent_again() {
    let site = cut_off();
    let partial = site.there().join(".big.haul-part");
    let file = fs::File::options().write(true).open(partial).unwrap();
    file.write_all_at(&vec![0; LEN], 0).unwrap();
    let reborn = site.path("reborn");
    fs::write(&reborn, REBORN).unwrap();
    fs::set_permissions(&reborn, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(gone_on_with(&site, reborn.to_str()), 0);
}

#[test]
fn k112_a_journal_of_another_version_is_not_believed() {
    let site = cut_off();
    let journal = site.there().join(".haul-journal");
    let mut bytes = fs::read(&journal).unwrap();
    // Length and CRC-32 of the first record, which says which version it is.
    let len = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(bytes[8..10], [0, 2], "a run of version 2 begins");
    bytes[9] = 3;
    let crc = crc32(&bytes[8..8 + len]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    fs::write(&journal, bytes).unwrap();
    assert_eq!(gone_on_with(&site, None), 0);
}

#[test]
fn k112_a_journal_of_somebody_else_is_not_believed() {
    let site = cut_off();
    let journal = site.there().join(".haul-journal");
    std::os::unix::fs::chown(&journal, Some(12_345), None).expect("run the tests as root");
    let output = site.run(&["--json", "big", "localhost:"]);
    expect_status(0, &output);
    let told = events(&output.stdout);
    assert_eq!(of_type(&told, "summary")[0]["there_bytes"], 0);
    assert!(journal.exists(), "what is somebody else's stays");
}

/// CRC-32 as in IEEE 802.3, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
