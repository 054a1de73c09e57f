//! Whole transfers between two processes of this machine. In the place of ssh stands a script that
//! runs the remote command here, as the account of another home directory.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "e2e/causes.rs"]
mod causes;
#[path = "e2e/ending.rs"]
mod ending;
#[path = "fixture/ends.rs"]
mod ends;
#[path = "e2e/hooks.rs"]
mod hooks;
#[path = "e2e/log.rs"]
mod log;
#[path = "fixture/noise.rs"]
mod noise;
#[path = "fixture/outcome.rs"]
mod outcome;
#[path = "e2e/protect.rs"]
mod protect;
#[path = "fixture/site.rs"]
mod site;
#[path = "e2e/taking.rs"]
mod taking;
#[path = "fixture/telling.rs"]
mod telling;
#[path = "e2e/there.rs"]
mod there;
#[path = "fixture/tree.rs"]
mod tree;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use crate::{
    noise::noise,
    outcome::{events, expect_status, of_type, stderr},
    site::Site,
    telling::{await_bytes, telling},
    tree::tree,
};

impl Site {
    /// Runs with `--json`, expects the status, and gives the events.
    fn events(&self, status: i32, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["--json"], arguments].concat());
        expect_status(status, &output);
        events(&output.stdout)
    }
}

/// A tree with what trees have: nesting, nothing, odd names, sizes around a datagram's.
fn plant(dir: &Path) {
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    fs::create_dir(dir.join("void")).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("deep/er/x"), "x").unwrap();
    fs::write(dir.join(OsStr::from_bytes(b"odd \xff % name")), "odd").unwrap();
    for len in [1_000, 1_411, 1_413, 65_536, 300_001] {
        fs::write(dir.join(format!("deep/{len}")), noise(len as u64, len)).unwrap();
    }
}

/// A pipe with a name, on which a test waits for somebody to write.
fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn interrupt(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_tree_goes_up() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    let events = site.events(0, &["tree", "ann@localhost:"]);
    assert_eq!(
        tree(&site.there().join("tree")),
        tree(&site.here().join("tree"))
    );

    assert_eq!(events[0]["type"], "session");
    assert_eq!(events[0]["direction"], "upload");
    assert_eq!(events[0]["suite"], "aes128cfb");
    let summary = events.last().unwrap();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["files"], 8);
    assert_eq!(
        summary["bytes"],
        1_000 + 1_411 + 1_413 + 65_536 + 300_001 + 1 + 3
    );
    assert!(events.iter().all(|event| event["v"] == 1));
}

#[test]
fn a_tree_comes_down_with_an_event_for_every_file() {
    let site = Site::new();
    plant(&site.there().join("tree"));
    let events = site.events(0, &["localhost:tree", "copy"]);
    assert_eq!(
        tree(&site.here().join("copy")),
        tree(&site.there().join("tree"))
    );

    let files = of_type(&events, "file");
    assert_eq!(files.len(), 8);
    assert!(
        files
            .iter()
            .all(|file| file["ok"] == true && file["error"].is_null())
    );
    let odd: Vec<_> = files
        .iter()
        .filter(|file| file["encoded"] == true)
        .collect();
    assert_eq!(odd.len(), 1);
    assert!(
        odd[0]["path"]
            .as_str()
            .unwrap()
            .ends_with("odd %FF %25 name"),
        "{}",
        odd[0]
    );
}

#[test]
fn a_large_file_goes_both_ways_under_other_names() {
    let site = Site::new();
    let big = noise(7, 20_000_000);
    fs::write(site.here().join("big"), &big).unwrap();
    expect_status(0, &site.run(&["-q", "big", "localhost:renamed"]));
    assert!(fs::read(site.there().join("renamed")).unwrap() == big);
    expect_status(0, &site.run(&["-q", "haul://localhost/~/renamed", "back"]));
    assert!(fs::read(site.here().join("back")).unwrap() == big);
}

#[test]
fn the_last_progress_of_either_way_has_every_byte() {
    let site = Site::new();
    let len = 20_000_000;
    fs::write(site.here().join("big"), noise(8, len)).unwrap();
    for arguments in [["big", "localhost:"], ["localhost:big", "back"]] {
        let events = site.events(0, &arguments);
        let kinds: Vec<_> = events.iter().map(|event| &event["type"]).collect();
        let last = kinds.iter().rposition(|kind| *kind == "progress").unwrap();
        assert_eq!(kinds[last + 1..], ["summary"], "{arguments:?}");
        for field in ["bytes", "bytes_total"] {
            assert_eq!(events[last][field], len, "{arguments:?}: {}", events[last]);
        }
        assert_eq!(events[last]["scanned"], true, "{arguments:?}");
        let files = &events[last]["files"];
        assert_eq!(
            (files, &events[last]["files_total"]),
            (&1.into(), &1.into())
        );
    }
}

#[test]
fn every_cipher_carries_and_nothing_else_is_agreed() {
    for cipher in [
        "aes256cfb",
        "aes128gcm",
        "aes256gcm",
        "chacha20poly1305",
        "none-cmac",
    ] {
        let site = Site::new();
        fs::write(site.here().join("file"), noise(3, 100_000)).unwrap();
        let events = site.events(0, &["-c", cipher, "file", "localhost:"]);
        assert_eq!(of_type(&events, "session")[0]["suite"], cipher);
        assert_eq!(tree(&site.there()), tree(&site.here()));
    }
}

#[test]
fn times_and_permissions_are_preserved_when_asked() {
    let site = Site::new();
    let file = site.here().join("file");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(then)
        .unwrap();
    expect_status(0, &site.run(&["-p", "file", "localhost:"]));
    let arrived = fs::metadata(site.there().join("file")).unwrap();
    assert_eq!(arrived.modified().unwrap(), then);
    assert_eq!(arrived.permissions().mode() & 0o777, 0o640);
}

#[test]
fn the_last_line_is_the_account_and_quiet_is_quiet() {
    let site = Site::new();
    fs::write(site.here().join("file"), "12345").unwrap();
    let output = site.run(&["file", "localhost:"]);
    expect_status(0, &output);
    assert!(output.stdout.is_empty());
    let stderr = stderr(&output);
    assert!(stderr.starts_with("5 bytes, 1 file in "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let output = site.run(&["-q", "file", "localhost:"]);
    expect_status(0, &output);
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn verbose_says_where_the_time_went() {
    let site = Site::new();
    fs::write(site.here().join("file"), noise(4, 3_000_000)).unwrap();
    for (arguments, stages) in [
        (["-v", "file", "localhost:"], ["read", "seal", "send"]),
        (
            ["-v", "localhost:file", "back"],
            ["receive", "open", "write"],
        ),
    ] {
        let output = site.run(&arguments);
        expect_status(0, &output);
        let stderr = stderr(&output);
        let lines: Vec<_> = stderr.lines().collect();
        assert!(lines[0].contains("sealed with aes128cfb"), "{stderr}");
        for (line, stage) in lines[1..].iter().zip(stages) {
            let start = format!("haul: stage {stage}: ");
            assert!(line.starts_with(&start), "{line} is not {start}");
        }
        assert!(lines[4].contains("socket buffers "), "{stderr}");
        assert!(lines[5].starts_with("3.0 MB, 1 file in "), "{stderr}");
        assert!(lines[6].starts_with("haul: processor time "), "{stderr}");
        assert!(lines[7].starts_with("haul: limited by the "), "{stderr}");
        // Where the system grants less buffer than asked for, advice follows.
        assert!(lines.len() <= 10, "{stderr}");
    }
}

#[test]
fn a_destination_is_made_only_when_asked() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    let refused = site.events(22, &["file", "localhost:a/b/"]);
    assert_eq!(refused.last().unwrap()["name"], "destination-unwritable");
    assert!(tree(&site.there()).is_empty());
    expect_status(0, &site.run(&["-d", "file", "localhost:a/b"]));
    assert!(site.there().join("a/b/file").is_file());
}

#[test]
fn a_source_missing_there_is_status_20() {
    let site = Site::new();
    let output = site.run(&["localhost:nothing", "."]);
    expect_status(20, &output);
    let stderr = stderr(&output);
    assert!(
        stderr.starts_with("haul: error: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(stderr.contains("nothing"), "{stderr}");
}

#[test]
fn a_remote_haul_that_is_not_there_is_status_14() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    let mut command = site.command(&["file", "localhost:"]);
    let output = command.args(["-S", "/nonexistent/haul"]).output().unwrap();
    // A repeated option is a usage error, so that the last of two never wins silently.
    expect_status(2, &output);

    let mut command = site.bare();
    command.arg("--ssh-program").arg(site.path("ssh"));
    command.args(["-S", "/nonexistent/haul", "file", "localhost:"]);
    let output = command.output().unwrap();
    expect_status(14, &output);
}

#[test]
fn a_file_that_cannot_land_leaves_the_others_whole() {
    let site = Site::new();
    fs::create_dir(site.here().join("tree")).unwrap();
    fs::write(site.here().join("tree/blocked"), "x").unwrap();
    fs::write(site.here().join("tree/fine"), "y").unwrap();
    fs::create_dir_all(site.there().join("tree/blocked/by")).unwrap();
    let events = site.events(3, &["tree", "localhost:"]);
    assert_eq!(fs::read(site.there().join("tree/fine")).unwrap(), b"y");
    assert!(site.there().join("tree/blocked/by").is_dir());
    let summary = of_type(&events, "summary")[0];
    assert_eq!(summary["ok"], false);
    assert_eq!(summary["failed"], 1);
    assert!(
        summary["failures"][0]["path"]
            .as_str()
            .unwrap()
            .contains("blocked"),
        "{summary}"
    );
    assert_eq!(events.last().unwrap()["name"], "partial");
}

/// A transfer too slow to end by itself.
fn slow(site: &Site) -> Command {
    fs::write(site.here().join("big"), noise(9, 20_000_000)).unwrap();
    let pace = ["--policy", "fixed", "-l", "20M", "--progress", "never"];
    site.command(&[&["--json"], &pace[..], &["big", "localhost:"]].concat())
}

/// Waits until some of a transfer has arrived; what it tells from then on.
fn await_progress(child: &mut Child) -> impl Iterator<Item = Value> + use<> {
    let mut events = telling(child);
    await_bytes(&mut events, 1);
    events
}

#[test]
fn k115_an_interrupt_ends_in_order_and_leaves_only_partials() {
    // timeout(1) signals its child and then the child's group.
    for signals in [&[Signal::INT][..], &[Signal::TERM, Signal::TERM]] {
        let site = Site::new();
        let mut child = slow(&site).spawn().unwrap();
        let rest = await_progress(&mut child);
        for signal in signals {
            interrupt(&child, *signal);
        }
        let last = rest.last().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(
            (&last["type"], &last["code"]),
            (&"error".into(), &130.into()),
            "{last}"
        );
        let left: Vec<_> = tree(&site.there()).into_keys().collect();
        let own = [".big.haul-part", ".haul-journal"].map(PathBuf::from);
        assert_eq!(left, own, "{signals:?}");
    }
}

#[test]
fn a_transfer_outlives_the_reader_of_its_events() {
    let site = Site::new();
    fs::write(site.here().join("file"), noise(5, 2_000_000)).unwrap();
    let mut child = site
        .command(&["--json", "file", "localhost:"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    expect_status(0, &output);
    assert_eq!(tree(&site.there()), tree(&site.here()));
}

#[test]
fn the_next_run_takes_over_what_an_interrupted_one_left() {
    let site = Site::new();
    let mut child = slow(&site).spawn().unwrap();
    let rest = await_progress(&mut child);
    interrupt(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(rest);
    expect_status(0, &site.run(&["-q", "big", "localhost:"]));
    assert_eq!(tree(&site.there()), tree(&site.here()));
}
