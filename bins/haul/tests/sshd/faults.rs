//! What goes wrong: one clear line, an exit code of its own, nothing left but partial files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    disk::Disk,
    noise::noise,
    outcome::{expect_status, of_type, stderr},
    server::{Run, Server},
    telling::{await_bytes, telling},
};

fn assert_fails(run: &Run, status: i32, words: &[&str]) {
    assert_eq!(run.status, status, "{}", run.stderr);
    let errors: Vec<_> = run
        .stderr
        .lines()
        .filter(|line| line.contains("error"))
        .collect();
    assert_eq!(errors.len(), 1, "{}", run.stderr);
    for word in words {
        assert!(
            errors[0].contains(word),
            "{word:?} is not in {:?}",
            errors[0]
        );
    }
}

/// Only partial names and their journal, if anything.
fn assert_nothing_published(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            name.to_string_lossy().ends_with(".haul-part") || name == ".haul-journal",
            "{name:?} was left"
        );
    }
}

#[test]
fn hosts_and_keys_that_are_wrong() {
    let server = Server::start();
    fs::write(server.here().join("file"), "x").unwrap();
    let place = format!("127.0.0.1:{}", server.there().display());
    let empty = server.path("no_known_hosts");
    fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap().to_owned();
    let unknown = server.json(&["--known-hosts", &empty, "file", &place]);
    assert_fails(&unknown, 11, &["SHA256:"]);

    let other = fs::read_to_string(server.path("stranger.pub")).unwrap();
    let changed = server.path("changed_known_hosts");
    fs::write(&changed, format!("[127.0.0.1]:{} {other}", server.port)).unwrap();
    let changed = server.json(&["--known-hosts", changed.to_str().unwrap(), "file", &place]);
    assert_fails(&changed, 12, &["changed"]);

    let stranger = server.path("stranger");
    let refused = server.json(&["-i", stranger.to_str().unwrap(), "file", &place]);
    assert_fails(&refused, 13, &[]);
    assert_nothing_published(&server.there());
}

#[test]
fn sources_and_destinations_that_do_not_work() {
    let server = Server::start();
    fs::write(server.here().join("file"), "x").unwrap();
    let there = server.there();
    let missing = server.json(&[&format!("127.0.0.1:{}/missing", there.display()), "."]);
    assert_fails(&missing, missing.status, &["missing"]);
    let local = server.json(&["missing", &format!("127.0.0.1:{}", there.display())]);
    assert_fails(&local, missing.status, &["missing"]);
    let nowhere = server.json(&[
        "file",
        &format!("127.0.0.1:{}/no/such/dir", there.display()),
    ]);
    assert_ne!(nowhere.status, missing.status);
    assert_fails(&nowhere, nowhere.status, &["no/such"]);
    let no_haul = server.json(&["-S", "/no/such/haul", "file", "127.0.0.1:"]);
    assert_fails(&no_haul, 14, &["-S"]);
    assert_nothing_published(&there);
}

#[test]
fn d104_a_full_disk_at_the_other_end_is_named() {
    let server = Server::start();
    let disk = Disk::mount(&server.path("disk"), "size=8m");
    fs::write(server.here().join("file"), noise(3, 20_000_000)).unwrap();
    let run = server.json(&["file", &format!("127.0.0.1:{}", disk.0.display())]);
    assert_fails(&run, run.status, &["No space"]);
    assert_nothing_published(&disk.0);
    // And at this end, from the same cause, with the same code.
    fs::write(server.there().join("file"), noise(3, 20_000_000)).unwrap();
    let from = format!("127.0.0.1:{}/file", server.there().display());
    let down = server.json(&[&from, disk.0.to_str().unwrap()]);
    assert_fails(&down, run.status, &["No space"]);
}

/// Starts a slow upload and waits until some of it has been acknowledged.
fn under_way(server: &Server) -> Child {
    fs::write(server.here().join("big"), noise(5, 60_000_000)).unwrap();
    let place = format!("127.0.0.1:{}", server.there().display());
    let slow = [
        "--retry-for",
        "0",
        "--policy",
        "fixed",
        "-l",
        "40M",
        "big",
        &place,
    ];
    moving(server, &slow, 1)
}

/// Starts a transfer and waits until so many bytes are there.
pub(crate) fn moving(server: &Server, arguments: &[&str], least: u64) -> Child {
    moving_and_telling(server, arguments, least).0
}

/// The same, with all that it tells from then on.
pub(crate) fn moving_and_telling(
    server: &Server,
    arguments: &[&str],
    least: u64,
) -> (Child, JoinHandle<Vec<Value>>) {
    let mut child = server.spawn(&[&["--json"], arguments].concat());
    let mut events = telling(&mut child);
    await_bytes(&mut events, least);
    (child, std::thread::spawn(move || events.collect()))
}

#[test]
fn an_interrupt_ends_in_order_and_keeps_the_partial_file() {
    let server = Server::start();
    let child = under_way(&server);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    expect_status(130, &child.wait_with_output().unwrap());
    assert!(server.there().join(".big.haul-part").exists());
    assert_nothing_published(&server.there());
}

#[test]
fn a_server_that_dies_is_noticed() {
    let server = Server::start();
    let child = under_way(&server);
    for pid in remotes(&server) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let stderr = stderr(&output);
    assert!(
        ![Some(0), Some(130)].contains(&output.status.code()),
        "{stderr}"
    );
    assert_eq!(
        stderr.lines().filter(|line| line.contains("error")).count(),
        1,
        "{stderr}"
    );
    assert_nothing_published(&server.there());
}

/// The other ends that serve this test, of which there is one at least.
fn remotes(server: &Server) -> Vec<Pid> {
    let found = holders(&server.there());
    assert!(!found.is_empty(), "nobody writes there");
    found
}

/// Who holds a file below a folder open.
pub(crate) fn holders(folder: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let ours = fds
            .map_while(Result::ok)
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.starts_with(folder));
        found.extend(Pid::from_raw(number).filter(|_| ours));
    }
    found
}

#[test]
fn names_that_nobody_may_read_are_told_one_by_one() {
    let server = Server::start();
    let folder = server.here().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("fine"), "fine").unwrap();
    let fifo = Command::new("mkfifo")
        .arg(folder.join("fifo"))
        .status()
        .unwrap();
    assert!(fifo.success());
    fs::set_permissions(folder.join("fine"), fs::Permissions::from_mode(0o644)).unwrap();
    let run = server.json(&["folder", &format!("127.0.0.1:{}", server.there().display())]);
    assert_eq!(
        run.status, 0,
        "special files are left out with a warning: {}",
        run.stderr
    );
    let warnings = of_type(&run.events, "warning");
    assert!(!warnings.is_empty(), "{:?}", run.events);
    assert!(server.there().join("folder/fine").exists());
    assert!(!server.there().join("folder/fifo").exists());
}
