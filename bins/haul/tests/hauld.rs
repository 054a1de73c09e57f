//! haul against hauld, the server for machines without sshd: it serves its folder to its keys, and
//! nothing else to anybody.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A running hauld, ended when dropped.
struct Hauld {
    dir: TempDir,
    child: Child,
    port: String,
    fingerprint: String,
}

impl Hauld {
    fn start(options: &[&str]) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_haul")).with_file_name("hauld");
        assert!(
            binary.exists(),
            "hauld is not built: scripts/test builds it first"
        );
        let dir = tempfile::tempdir().unwrap();
        for folder in ["here", "served", "outside"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for key in ["key", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status()
                .expect("ssh-keygen: scripts/setup --tests installs openssh-client");
            assert!(made.success());
        }
        let mut child = Command::new(binary)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--udp-ports",
                "33301-33320",
                "--root",
            ])
            .arg(dir.path().join("served"))
            .arg("--authorized-keys")
            .arg(dir.path().join("key.pub"))
            .arg("--host-key")
            .arg(dir.path().join("host_key"))
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
            dir,
            child,
            port,
            fingerprint,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn haul_as(&self, key: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_haul"))
            .args([
                "-q",
                "-F",
                "none",
                "-P",
                &self.port,
                "--host-key",
                &self.fingerprint,
                "-i",
            ])
            .arg(self.path(key))
            .args(arguments)
            .current_dir(self.path("here"))
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", self.path("here"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn haul(&self, arguments: &[&str]) -> Output {
        self.haul_as("key", arguments)
    }

    /// Starts a client that tells its events.
    fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_haul"))
            .args(["--json", "-F", "none", "-P", &self.port])
            .args(["--host-key", &self.fingerprint, "-i"])
            .arg(self.path("key"))
            .args(arguments)
            .current_dir(self.path("here"))
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", self.path("here"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Hauld {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn expect(status: i32, output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
}

#[test]
fn a_log_tells_who_asked_for_what_and_how_it_ended() {
    let logs = tempfile::tempdir().unwrap();
    let hauld = Hauld::start(&["--log", &format!("{}:1M", logs.path().display())]);
    fs::write(hauld.path("here/file"), "12345").unwrap();
    fs::create_dir_all(hauld.path("served/sub/file")).unwrap();
    expect(0, &hauld.haul(&["file", "ann@127.0.0.1:"]));
    expect(3, &hauld.haul(&["file", "ann@127.0.0.1:sub/"]));
    expect(20, &hauld.haul(&["ann@127.0.0.1:none", "."]));
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
    expect(0, &hauld.haul(&["file", "somebody@127.0.0.1:"]));
    assert!(fs::read(hauld.path("served/file")).unwrap() == bytes);
    expect(0, &hauld.haul(&["somebody@127.0.0.1:fi*", "back"]));
    assert!(fs::read(hauld.path("here/back")).unwrap() == bytes);
}

#[test]
fn only_listed_keys_enter() {
    let hauld = Hauld::start(&[]);
    fs::write(hauld.path("here/file"), "x").unwrap();
    expect(
        13,
        &hauld.haul_as("stranger", &["file", "somebody@127.0.0.1:"]),
    );
    assert!(!hauld.path("served/file").exists());
}

#[test]
fn n78_nothing_outside_the_served_folder_can_be_named() {
    let hauld = Hauld::start(&[]);
    fs::write(hauld.path("outside/secret"), "secret").unwrap();
    fs::write(hauld.path("here/file"), "planted").unwrap();
    symlink(hauld.path("outside"), hauld.path("served/way out")).unwrap();
    symlink(hauld.path("outside/secret"), hauld.path("served/leak")).unwrap();
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
    fs::create_dir_all(hauld.path("served/tree/real")).unwrap();
    fs::write(hauld.path("outside/secret"), "secret").unwrap();
    fs::write(hauld.path("served/tree/real/file"), "file").unwrap();
    symlink(hauld.path("outside"), hauld.path("served/tree/out")).unwrap();
    symlink("../../outside/secret", hauld.path("served/tree/leak")).unwrap();
    symlink("real", hauld.path("served/tree/in")).unwrap();
    let followed = ["--symlinks", "follow", "a@127.0.0.1:tree", "copy"];
    expect(3, &hauld.haul(&followed));
    assert!(hauld.path("here/copy/in/file").exists());
    for name in ["out", "leak"] {
        assert!(!hauld.path("here/copy").join(name).exists(), "{name}");
    }
    symlink(hauld.path("outside"), hauld.path("served/away")).unwrap();
    for away in ["../outside", "away"] {
        let moved = hauld.haul(&["--move-after", away, "a@127.0.0.1:tree", "moved"]);
        expect(17, &moved);
    }
    fs::create_dir(hauld.path("served/sent")).unwrap();
    expect(
        0,
        &hauld.haul(&["--move-after", "/sent", "a@127.0.0.1:tree", "moved"]),
    );
    assert!(hauld.path("served/sent/tree/real/file").exists());
    assert!(hauld.path("outside/secret").exists());
}

#[test]
fn a_server_that_only_gives_lets_nothing_be_removed() {
    let hauld = Hauld::start(&["--download-only"]);
    fs::write(hauld.path("served/file"), "x").unwrap();
    expect(
        17,
        &hauld.haul(&["--remove-after", "a@127.0.0.1:file", "."]),
    );
    assert!(hauld.path("served/file").exists());
    expect(0, &hauld.haul(&["a@127.0.0.1:file", "-"]));
}

#[test]
fn one_way_servers_refuse_the_other_way() {
    let hauld = Hauld::start(&["--upload-only"]);
    fs::write(hauld.path("here/file"), "x").unwrap();
    expect(0, &hauld.haul(&["file", "a@127.0.0.1:"]));
    let refused = hauld.haul(&["a@127.0.0.1:file", "back"]);
    assert!(!refused.status.success() && !hauld.path("here/back").exists());
}

#[test]
fn what_gives_power_takes_the_servers_leave() {
    for (options, status) in [(&[][..], 17), (&["--allow-privileged"], 0)] {
        let hauld = Hauld::start(options);
        fs::write(hauld.path("here/file"), "x").unwrap();
        let run = hauld.haul(&["-a", "--privileged", "file", "a@127.0.0.1:"]);
        expect(status, &run);
        let told = String::from_utf8_lossy(&run.stderr).contains("--allow-privileged");
        assert_eq!(told, status != 0);
        expect(0, &hauld.haul(&["-a", "file", "a@127.0.0.1:"]));
    }
}

#[test]
fn a_stopped_server_ends_its_sessions_in_order() {
    let mut hauld = Hauld::start(&[]);
    fs::write(hauld.path("here/file"), vec![7; 40_000_000]).unwrap();
    let mut client = hauld.spawn(&["--policy", "fixed", "-l", "40M", "file", "a@127.0.0.1:"]);
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let moving = |line: String| line.contains("\"progress\"") && !line.contains("\"bytes\":0,");
    assert!(lines.by_ref().map_while(Result::ok).any(moving));
    kill_process(Pid::from_child(&hauld.child), Signal::TERM).unwrap();
    lines.map_while(Result::ok).for_each(drop);
    let output = client.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(
        stderr.lines().filter(|line| line.contains("error")).count(),
        1,
        "{stderr}"
    );
    assert!(hauld.child.wait().unwrap().success());
    assert!(!hauld.path("served/file").exists());
}

/// The client's events, as they come.
fn events(client: &mut Child) -> impl Iterator<Item = Value> + use<> {
    let lines = BufReader::new(client.stdout.take().unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

fn ceiling(event: &Value) -> Option<f64> {
    // An upload may begin before the server has said what it allows.
    event["ceiling_bps"].as_f64()
}

/// A second session has half of the cap while it runs, and leaves it to the first.
fn shares_a_cap(option: &str, long: [&str; 2], short: [&str; 2]) {
    let hauld = Hauld::start(&[option, "40M"]);
    for folder in ["here", "served"] {
        for (name, bytes) in [("long", 30_000_000), ("short", 5_000_000)] {
            fs::write(hauld.path(folder).join(name), vec![7; bytes]).unwrap();
        }
    }
    fs::create_dir(hauld.path("served/up")).unwrap();
    let mut first = hauld.spawn(&long);
    let mut told = events(&mut first);
    let mut ceilings = Vec::new();
    for event in told.by_ref() {
        ceilings.extend(ceiling(&event));
        if event["type"] == "progress" && event["bytes"].as_f64() > Some(5e6) {
            break;
        }
    }
    assert!(
        ceilings.iter().all(|bps| *bps == 40e6),
        "{ceilings:?} alone"
    );
    let mut second = hauld.spawn(&short);
    let others: Vec<Value> = events(&mut second).collect();
    assert!(second.wait().unwrap().success());
    let half = others.iter().find_map(ceiling);
    assert_eq!(half, Some(20e6), "who comes second");
    let goodput = others.iter().rev().find(|event| event["type"] == "summary");
    let goodput = goodput.unwrap()["goodput_bps"].as_f64().unwrap();
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
