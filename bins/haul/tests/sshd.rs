//! Whole transfers through a real OpenSSH server on loopback, with throw-away keys: both ways, both
//! IP versions, every suite; what goes wrong ends with its own exit code; and a capture of the
//! traffic shows nothing in clear.

#![allow(clippy::unwrap_used)]

#[path = "sshd/attributes.rs"]
mod attributes;
#[path = "sshd/capture.rs"]
mod capture;
#[path = "sshd/detour.rs"]
mod detour;
#[path = "fixture/disk.rs"]
mod disk;
#[path = "fixture/ends.rs"]
mod ends;
#[path = "sshd/faults.rs"]
mod faults;
#[path = "fixture/keys.rs"]
mod keys;
#[path = "sshd/live.rs"]
mod live;
#[path = "fixture/noise.rs"]
mod noise;
#[path = "fixture/outcome.rs"]
mod outcome;
#[path = "sshd/proof.rs"]
mod proof;
#[path = "sshd/restricted.rs"]
mod restricted;
#[path = "sshd/resume.rs"]
mod resume;
#[path = "sshd/server.rs"]
mod server;
#[path = "fixture/telling.rs"]
mod telling;
#[path = "fixture/tree.rs"]
mod tree;
#[path = "sshd/trees.rs"]
mod trees;

use std::fs;

use crate::{
    noise::noise,
    outcome::expect_status,
    server::Server,
    trees::{assert_same, plant},
};

const SUITES: [&str; 6] = [
    "aes128cfb",
    "aes256cfb",
    "aes128gcm",
    "aes256gcm",
    "chacha20poly1305",
    "none-cmac",
];

#[test]
fn a_file_goes_up_and_down_under_every_suite_over_both_ip_versions() {
    let server = Server::start();
    fs::write(server.here().join("file"), noise(7, 20_000_123)).unwrap();
    for suite in SUITES {
        for host in ["127.0.0.1", "[::1]"] {
            let there = server.there().join("up");
            let up = format!("{host}:{}", there.display());
            let run = server.json(&["-c", suite, "file", &up]);
            assert_eq!(
                (run.status, run.summary("suite")),
                (0, suite.into()),
                "{}",
                run.stderr
            );
            let back = server.here().join("back");
            let run = server.json(&["-c", suite, &up, "back"]);
            assert_eq!(run.status, 0, "{suite} {host}: {}", run.stderr);
            assert_same(&server.here().join("file"), &back);
            fs::remove_file(back).unwrap();
            fs::remove_file(there).unwrap();
        }
    }
}

#[test]
fn n65_a_tree_with_everything_in_it_goes_up_and_down() {
    let server = Server::start();
    plant(&server.here().join("tree"), 2_000);
    for host in ["127.0.0.1", "[::1]"] {
        let run = server.json(&[
            "-p",
            "tree",
            &format!("{host}:{}", server.there().display()),
        ]);
        assert_eq!(run.status, 0, "{}", run.stderr);
        let copy = server.there().join("tree");
        assert_same(&server.here().join("tree"), &copy);
        let run = server.json(&["-p", &format!("{host}:{}", copy.display()), "back"]);
        assert_eq!(run.status, 0, "{}", run.stderr);
        assert_same(&server.here().join("tree"), &server.here().join("back"));
        fs::remove_dir_all(server.here().join("back")).unwrap();
        fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn one_empty_file_is_a_transfer_too() {
    let server = Server::start();
    fs::write(server.here().join("nothing"), "").unwrap();
    let place = format!("127.0.0.1:{}", server.there().display());
    let run = server.json(&["nothing", &place]);
    assert_eq!(
        (run.status, run.summary("files")),
        (0, 1.into()),
        "{}",
        run.stderr
    );
    assert_same(
        &server.here().join("nothing"),
        &server.there().join("nothing"),
    );
    let run = server.json(&[&format!("{place}/nothing"), "again"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_same(&server.here().join("nothing"), &server.here().join("again"));
}

#[test]
fn several_runs_at_once_share_the_port_range() {
    let server = Server::start();
    let running: Vec<_> = (0..4)
        .map(|number| {
            let name = format!("file {number}");
            fs::write(server.here().join(&name), noise(number, 3_000_000)).unwrap();
            let place = format!("127.0.0.1:{}", server.there().display());
            (
                name.clone(),
                server.spawn(&["-q", "-O", "33001-33100", &name, &place]),
            )
        })
        .collect();
    for (name, child) in running {
        expect_status(0, &child.wait_with_output().unwrap());
        assert_same(&server.here().join(&name), &server.there().join(&name));
    }
}

#[test]
fn sources_are_expanded_at_the_other_end_and_land_as_with_scp() {
    let server = Server::start();
    for name in ["a.log", "b.log", "c.txt"] {
        fs::write(server.there().join(name), name).unwrap();
    }
    let glob = format!("127.0.0.1:{}/*.log", server.there().display());
    fs::create_dir(server.here().join("logs")).unwrap();
    assert_eq!(server.json(&[&glob, "logs"]).status, 0);
    assert!(server.here().join("logs/a.log").exists() && server.here().join("logs/b.log").exists());
    assert!(!server.here().join("logs/c.txt").exists());
    // Two sources need a directory; -d makes it.
    assert_ne!(server.json(&[&glob, "new"]).status, 0);
    assert_eq!(server.json(&["-d", &glob, "new/dir"]).status, 0);
    assert!(server.here().join("new/dir/b.log").exists());
}
