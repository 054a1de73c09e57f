//! haul against hauld, the server for machines without sshd: it serves its folder to its keys, and
//! nothing else to anybody.

#![allow(clippy::unwrap_used)]

#[path = "fixture/ends.rs"]
mod ends;
#[path = "fixture/keys.rs"]
mod keys;
#[path = "fixture/outcome.rs"]
mod outcome;
#[path = "fixture/telling.rs"]
mod telling;

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
    ops::Deref,
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use crate::{
    ends::{Ends, HAUL},
    outcome::{events, expect_status, of_type, stderr},
    telling::{await_bytes, telling},
};

/// A running hauld, ended when dropped.
struct Hauld {
    ends: Ends,
    child: Child,
    port: String,
    fingerprint: String,
}

impl Hauld {
    fn start(options: &[&str]) -> Self {
        let binary = Path::new(HAUL).with_file_name("hauld");
        assert!(
            binary.exists(),
            "hauld is not built: scripts/test builds it first"
        );
        let ends = Ends::new();
        fs::create_dir(ends.path("outside")).unwrap();
        keys::generate(&ends, &["key", "stranger"]);
        let mut child = Command::new(binary)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--udp-ports",
                "33301-33320",
                "--root",
            ])
            .arg(ends.there())
            .arg("--authorized-keys")
            .arg(ends.path("key.pub"))
            .arg("--host-key")
            .arg(ends.path("host_key"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        // "listening on ADDRESS host key FINGERPRINT"
        let words: Vec<_> = line.split_whitespace().collect();
        let port = words[2].rsplit(':').next().unwrap().to_owned();
        let fingerprint = words[5].to_owned();
        Self {
            ends,
            child,
            port,
            fingerprint,
        }
    }

    fn client(&self, key: &str, arguments: &[&str]) -> Command {
        let mut command = self.ends.bare();
        command
            .args(["-F", "none", "-P", &self.port])
            .args(["--host-key", &self.fingerprint, "-i"])
            .arg(self.path(key))
            .args(arguments);
        command
    }

    fn haul_as(&self, key: &str, arguments: &[&str]) -> Output {
        let mut command = self.client(key, arguments);
        command.arg("-q").output().unwrap()
    }

    fn haul(&self, arguments: &[&str]) -> Output {
        self.haul_as("key", arguments)
    }

    /// Starts a client that tells its events.
    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.client("key", arguments);
        command.arg("--json").spawn().unwrap()
    }
}

impl Deref for Hauld {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.ends
    }
}

impl Drop for Hauld {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_tells_who_asked_for_what_and_how_it_ended() {
    let logs = tempfile::tempdir().unwrap();
    let hauld = Hauld::start(&["--log", &format!("{}:1M", logs.path().display())]);
    fs::write(hauld.path("here/file"), "12345").unwrap();
    fs::create_dir_all(hauld.path("there/sub/file")).unwrap();
    expect_status(0, &hauld.haul(&["file", "ann@127.0.0.1:"]));
    expect_status(3, &hauld.haul(&["file", "ann@127.0.0.1:sub/"]));
    expect_status(20, &hauld.haul(&["ann@127.0.0.1:none", "."]));
    let log = fs::read_to_string(logs.path().join("haul.log")).unwrap();
    let mut lines = log.lines();
    for wanted in [
        "begins",
        "ann@127.0.0.1:",
        "asks to put into \"\"",
        "done: 5 bytes in 1 files",
        "asks to put into \"sub/\"",
        "failed: file: a directory is in its place",
        "failed: 1 of 1 names failed",
        "asks for \"none\"",
        "failed: ",
    ] {
        assert!(lines.any(|line| line.contains(wanted)), "{wanted}: {log}");
    }
}

#[test]
fn files_go_up_and_down() {
    let hauld = Hauld::start(&[]);
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    fs::write(hauld.path("here/file"), &bytes).unwrap();
    expect_status(0, &hauld.haul(&["file", "somebody@127.0.0.1:"]));
    assert!(fs::read(hauld.path("there/file")).unwrap() == bytes);
    expect_status(0, &hauld.haul(&["somebody@127.0.0.1:fi*", "back"]));
    assert!(fs::read(hauld.path("here/back")).unwrap() == bytes);
}

#[test]
fn only_listed_keys_enter() {
    let hauld = Hauld::start(&[]);
    fs::write(hauld.path("here/file"), "x").unwrap();
    expect_status(
        13,
        &hauld.haul_as("stranger", &["file", "somebody@127.0.0.1:"]),
    );
    assert!(!hauld.path("there/file").exists());
}

#[test]
fn n78_nothing_outside_the_served_folder_can_be_named() {
    let hauld = Hauld::start(&[]);
    fs::write(hauld.path("outside/secret"), "secret").unwrap();
    fs::write(hauld.path("here/file"), "planted").unwrap();
    symlink(hauld.path("outside"), hauld.path("there/way out")).unwrap();
    symlink(hauld.path("outside/secret"), hauld.path("there/leak")).unwrap();
    let absolute = hauld.path("outside/secret");
    for source in [
        "../outside/secret",
        "way out/secret",
        "leak",
        absolute.to_str().unwrap(),
        "way*/sec*",
    ] {
        let output = hauld.haul(&[&format!("a@127.0.0.1:{source}"), "stolen"]);
        assert!(!output.status.success(), "{source} was served");
        assert!(!hauld.path("here/stolen").exists(), "{source} was served");
    }
    let outside = hauld.path("outside");
    for destination in [
        "../outside/",
        "way out/",
        "way out/new",
        outside.to_str().unwrap(),
    ] {
        hauld.haul(&["file", &format!("a@127.0.0.1:{destination}")]);
        let left: Vec<_> = fs::read_dir(&outside)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["secret"], "{destination} led out");
    }
}

#[test]
fn followed_links_and_sources_that_go_stay_in_the_served_folder() {
    let hauld = Hauld::start(&[]);
    fs::create_dir_all(hauld.path("there/tree/real")).unwrap();
    fs::write(hauld.path("outside/secret"), "secret").unwrap();
    fs::write(hauld.path("there/tree/real/file"), "file").unwrap();
    symlink(hauld.path("outside"), hauld.path("there/tree/out")).unwrap();
    symlink("../../outside/secret", hauld.path("there/tree/leak")).unwrap();
    symlink("real", hauld.path("there/tree/in")).unwrap();
    let followed = ["--symlinks", "follow", "a@127.0.0.1:tree", "copy"];
    expect_status(3, &hauld.haul(&followed));
    assert!(hauld.path("here/copy/in/file").exists());
    for name in ["out", "leak"] {
        assert!(!hauld.path("here/copy").join(name).exists(), "{name}");
    }
    symlink(hauld.path("outside"), hauld.path("there/away")).unwrap();
    for away in ["../outside", "away"] {
        let moved = hauld.haul(&["--move-after", away, "a@127.0.0.1:tree", "moved"]);
        expect_status(17, &moved);
    }
    fs::create_dir(hauld.path("there/sent")).unwrap();
    expect_status(
        0,
        &hauld.haul(&["--move-after", "/sent", "a@127.0.0.1:tree", "moved"]),
    );
    assert!(hauld.path("there/sent/tree/real/file").exists());
    assert!(hauld.path("outside/secret").exists());
}

#[test]
fn a_server_that_only_gives_lets_nothing_be_removed() {
    let hauld = Hauld::start(&["--download-only"]);
    fs::write(hauld.path("there/file"), "x").unwrap();
    expect_status(
        17,
        &hauld.haul(&["--remove-after", "a@127.0.0.1:file", "."]),
    );
    assert!(hauld.path("there/file").exists());
    expect_status(0, &hauld.haul(&["a@127.0.0.1:file", "-"]));
}

#[test]
fn one_way_servers_refuse_the_other_way() {
    let hauld = Hauld::start(&["--upload-only"]);
    fs::write(hauld.path("here/file"), "x").unwrap();
    expect_status(0, &hauld.haul(&["file", "a@127.0.0.1:"]));
    let refused = hauld.haul(&["a@127.0.0.1:file", "back"]);
    assert!(!refused.status.success() && !hauld.path("here/back").exists());
}

#[test]
fn what_gives_power_takes_the_servers_leave() {
    for (options, status) in [(&[][..], 17), (&["--allow-privileged"], 0)] {
        let hauld = Hauld::start(options);
        fs::write(hauld.path("here/file"), "x").unwrap();
        let run = hauld.haul(&["-a", "--privileged", "file", "a@127.0.0.1:"]);
        expect_status(status, &run);
        let told = stderr(&run).contains("--allow-privileged");
        assert_eq!(told, status != 0);
        expect_status(0, &hauld.haul(&["-a", "file", "a@127.0.0.1:"]));
    }
}

#[test]
fn a_stopped_server_ends_its_sessions_in_order() {
    let mut hauld = Hauld::start(&[]);
    fs::write(hauld.path("here/file"), vec![7; 40_000_000]).unwrap();
    let mut client = hauld.spawn(&["--policy", "fixed", "-l", "40M", "file", "a@127.0.0.1:"]);
    let mut told = telling(&mut client);
    await_bytes(&mut told, 1);
    kill_process(Pid::from_child(&hauld.child), Signal::TERM).unwrap();
    told.for_each(drop);
    let output = client.wait_with_output().unwrap();
    let stderr = stderr(&output);
    assert!(!output.status.success());
    assert_eq!(
        stderr.lines().filter(|line| line.contains("error")).count(),
        1,
        "{stderr}"
    );
    assert!(hauld.child.wait().unwrap().success());
    assert!(!hauld.path("there/file").exists());
}

/// A policy file for a server whose folder is `there`; the trail goes to `audit`.
fn policy(ends: &Ends, text: &str) -> PathBuf {
    let (config, audit) = (ends.path("haul.toml"), ends.path("audit"));
    fs::create_dir_all(&audit).unwrap();
    let there = ends.there();
    fs::write(
        &config,
        format!(
            "[server]\naudit = {audit:?}\n{}",
            text.replace("THERE", there.to_str().unwrap())
        ),
    )
    .unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    config
}

#[test]
fn users_of_one_server_may_each_do_what_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("haul.toml");
    let hauld = Hauld::start(&["--config", config.to_str().unwrap()]);
    let written = policy(
        &hauld,
        "[defaults]\nroot = \"THERE/{user}\"\n[groups.readers]\nwrite = false\n\
         [users.ann]\nread = false\n[users.bob]\ngroups = [\"readers\"]\n\
         [users.away]\nroot = \"THERE/../outside\"\n[users.link]\n",
    );
    fs::write(hauld.path("here/file"), "x").unwrap();
    for user in ["ann", "bob"] {
        fs::create_dir(hauld.path("there").join(user)).unwrap();
        fs::write(hauld.path("there").join(user).join("own"), user).unwrap();
    }
    symlink(hauld.path("outside"), hauld.path("there/link")).unwrap();
    // Without a policy that can be read nobody is served.
    expect_status(77, &hauld.haul(&["file", "ann@127.0.0.1:"]));
    fs::copy(&written, &config).unwrap();
    for (status, words) in [
        (0, &["file", "ann@127.0.0.1:"][..]),
        (77, &["ann@127.0.0.1:own", "stolen"]),
        (0, &["bob@127.0.0.1:own", "back"]),
        (77, &["file", "bob@127.0.0.1:"]),
        (20, &["bob@127.0.0.1:/ann/own", "stolen"]),
        (77, &["file", "eve@127.0.0.1:"]),
        (77, &["file", "away@127.0.0.1:"]),
        (77, &["file", "link@127.0.0.1:"]),
    ] {
        let run = hauld.haul(words);
        assert_eq!(
            run.status.code(),
            Some(status),
            "{words:?}: {}",
            stderr(&run)
        );
    }
    assert_eq!(fs::read(hauld.path("here/back")).unwrap(), b"bob");
    assert!(hauld.path("there/ann/file").exists() && !hauld.path("here/stolen").exists());
    assert_eq!(fs::read_dir(hauld.path("outside")).unwrap().count(), 0);
    let trail = fs::read_to_string(hauld.path("audit/audit.log")).unwrap();
    let reasons: Vec<_> = (trail.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["reason"].as_str().unwrap_or("-").to_owned())
        .collect();
    let expected = [
        "-",
        "direction",
        "-",
        "direction",
        "no-such-source",
        "unlisted",
        "config",
        "config",
    ];
    assert_eq!(reasons, expected, "{trail}");
}

#[test]
fn what_a_policy_says_of_somebody_can_be_asked_for() {
    let ends = Ends::new();
    let config = policy(
        &ends,
        "[groups.readers]\nwrite = false\n[users.bob]\ngroups = [\"readers\"]\n",
    );
    let hauld_program = Path::new(HAUL).with_file_name("hauld");
    let check = |words: &[&str]| {
        let mut command = Command::new(&hauld_program);
        command
            .args(["--check-config", "--config"])
            .arg(&config)
            .args(words);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (status, told) = check(&["bob", "192.0.2.1"]);
    assert_eq!(status, Some(0));
    assert!(
        told.contains("may not upload\n") && told.contains("[groups.readers]"),
        "{told}"
    );
    let (status, told) = check(&["eve"]);
    assert_eq!(status, Some(1));
    assert!(told.starts_with("refused (unlisted)"), "{told}");
    fs::write(&config, "[users.ann]\nreed = true\n").unwrap();
    assert_eq!(check(&["ann"]).0, Some(2));
}

/// A connection to the server from this address, which says nothing.
fn half_open(from: Ipv4Addr, port: u16) -> Option<OwnedFd> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrV4::new(from, 0)).unwrap();
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    // One that is not let in may be gone already.
    connect(&fd, &to).ok().map(|()| fd)
}

fn resident_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace();
    words.filter_map(|word| word.parse().ok()).next().unwrap()
}

#[test]
fn s59_ten_thousand_who_only_connect_keep_nobody_from_going_on() {
    let hauld = Hauld::start(&[]);
    fs::write(hauld.path("here/file"), vec![7; 12_000_000]).unwrap();
    let mut client = hauld.spawn(&["--policy", "fixed", "-l", "20M", "file", "a@127.0.0.1:"]);
    let mut told = telling(&mut client);
    await_bytes(&mut told, 1);
    let before = resident_kib(&hauld.child);
    let port = hauld.port.parse().unwrap();
    let mut held = VecDeque::new();
    for number in 0..10_000u32 {
        // From 250 hosts: one alone is let in 32 times.
        let from = Ipv4Addr::new(127, 0, 1, (number % 250 + 1) as u8);
        held.extend(half_open(from, port));
        if held.len() > 400 {
            held.pop_front();
        }
    }
    let grown = resident_kib(&hauld.child).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB for those who only connect");
    told.for_each(drop);
    expect_status(0, &client.wait_with_output().unwrap());
    assert!(fs::read(hauld.path("there/file")).unwrap() == vec![7; 12_000_000]);
    drop(held);
    expect_status(
        0,
        &hauld.haul(&["--retry-for", "60s", "file", "a@127.0.0.1:again"]),
    );
}

fn ceiling(event: &Value) -> Option<f64> {
    // An upload may begin before the server has said what it allows.
    event["ceiling_bps"].as_f64()
}

/// A second session has half of the cap while it runs, and leaves it to the first.
fn shares_a_cap(option: &str, long: [&str; 2], short: [&str; 2]) {
    let hauld = Hauld::start(&[option, "40M"]);
    for folder in ["here", "there"] {
        for (name, bytes) in [("long", 30_000_000), ("short", 5_000_000)] {
            fs::write(hauld.path(folder).join(name), vec![7; bytes]).unwrap();
        }
    }
    fs::create_dir(hauld.path("there/up")).unwrap();
    let mut first = hauld.spawn(&long);
    let mut told = telling(&mut first);
    let mut ceilings = Vec::new();
    let noted = told
        .by_ref()
        .inspect(|event| ceilings.extend(ceiling(event)));
    await_bytes(noted, 5_000_001);
    assert!(
        ceilings.iter().all(|bps| *bps == 40e6),
        "{ceilings:?} alone"
    );
    let second = hauld.spawn(&short).wait_with_output().unwrap();
    expect_status(0, &second);
    let others = events(&second.stdout);
    let half = others.iter().find_map(ceiling);
    assert_eq!(half, Some(20e6), "who comes second");
    let goodput = &of_type(&others, "summary")[0]["goodput_bps"];
    let goodput = goodput.as_f64().unwrap();
    assert!(goodput < 25e6, "{goodput}");
    ceilings.extend(told.filter_map(|event| ceiling(&event)));
    assert!(first.wait().unwrap().success());
    let least = ceilings.iter().copied().fold(f64::MAX, f64::min);
    assert!((19e6..=21e6).contains(&least), "{ceilings:?}");
    assert_eq!(ceilings.last(), Some(&40e6), "alone again");
}

#[test]
fn uploads_share_a_cap() {
    let long = ["long", "a@127.0.0.1:up/"];
    let short = ["short", "a@127.0.0.1:up/"];
    shares_a_cap("--cap-up", long, short);
}

#[test]
fn downloads_share_a_cap() {
    let long = ["a@127.0.0.1:long", "down"];
    let short = ["a@127.0.0.1:short", "down2"];
    shares_a_cap("--cap-down", long, short);
}
