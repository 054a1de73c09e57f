//! Digests: what both ends come to is told, checked by a stock tool, and believed.

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    faults::moving,
    noise::noise,
    server::Server,
    trees::{assert_same, plant},
};

/// What `sha256sum -c` says of what is below a directory.
fn check(sums: &Path, dir: &Path) -> (bool, usize) {
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict"])
        .arg(sums)
        .current_dir(dir)
        .output()
        .unwrap();
    let lines = checked.stdout.split(|byte| *byte == b'\n');
    let good = lines.filter(|line| line.ends_with(b": OK")).count();
    (checked.status.success(), good)
}

fn manifest(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["path"].as_str().unwrap().to_owned());
    lines
}

#[test]
fn accounts_of_both_ends_are_the_same_and_stock_tools_check_them() {
    let server = Server::start();
    plant(&server.here().join("tree"), 300);
    fs::write(server.here().join("tree/line\nbreak\\"), noise(3, 70_000)).unwrap();
    fs::write(server.here().join("tree/large"), noise(4, 9_000_001)).unwrap();
    let there = format!("127.0.0.1:{}", server.there().display());
    let files = walk(&server.here().join("tree"));
    // Up; up again, when all is there; down.
    for (round, places) in [
        ["tree", &there],
        ["tree", &there],
        [&format!("{there}/tree"), "down/"],
    ]
    .into_iter()
    .enumerate()
    {
        fs::create_dir_all(server.here().join("down")).unwrap();
        let accounts = ["--manifest", "m", "--b3sum", "b", "--sha256sum", "s", "-p"];
        let run = server.json(&[&accounts[..], &places].concat());
        assert_eq!(run.status, 0, "{}", run.stderr);
        let copy = if round < 2 {
            server.there()
        } else {
            server.here().join("down")
        };
        let sums = server.here().join("s");
        assert_eq!(check(&sums, &copy), (true, files), "{round}");
        let lines = manifest(&server.here().join("m"));
        assert_eq!(lines.len(), files);
        for line in lines.iter().filter(|line| line["encoded"] == false) {
            let bytes = fs::read(copy.join(line["path"].as_str().unwrap())).unwrap();
            assert_eq!(line["bytes"], bytes.len() as u64);
            assert_eq!(line["blake3"], blake3::hash(&bytes).to_hex().as_str());
        }
        fs::rename(
            server.here().join("m"),
            server.here().join(format!("m{round}")),
        )
        .unwrap();
    }
    let of = |round| manifest(&server.here().join(format!("m{round}")));
    assert!(of(0) == of(1) && of(1) == of(2));
    assert_same(
        &server.here().join("tree"),
        &server.here().join("down/tree"),
    );
}

/// Regular files below a directory.
fn walk(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => walk(&entry.path()),
            kind => usize::from(kind.is_file()),
        })
        .sum()
}

/// A disk that does not give back what was written: found out where only digests can.
#[test]
fn what_a_disk_spoiled_between_two_runs_is_found_and_not_kept() {
    let server = Server::start();
    fs::write(server.here().join("big"), noise(5, 40_000_000)).unwrap();
    let there = format!("127.0.0.1:{}/", server.there().display());
    let slow = ["--retry-for", "0", "-l", "200M", "big", &there];
    let mut child = moving(&server, &slow, 20_000_000);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    let partial = server.there().join(".big.haul-part");
    let file = fs::File::options().write(true).open(&partial).unwrap();
    file.write_all_at(b"spoiled", 1_000_000).unwrap();

    let run = server.json(&["--verify", "blake3", "big", &there]);
    assert_eq!(run.status, 25, "{}", run.stderr);
    assert!(
        run.stderr
            .contains("big: what was written is not what was read"),
        "{}",
        run.stderr
    );
    assert_eq!(run.summary("corrupt"), 1);
    assert!(run.summary("there_bytes").as_u64().unwrap() > 10_000_000);
    assert!(!server.there().join("big").exists() && !partial.exists());
    let run = server.json(&["--verify", "blake3", "big", &there]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_same(&server.here().join("big"), &server.there().join("big"));
}
