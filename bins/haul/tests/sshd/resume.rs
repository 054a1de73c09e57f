//! Runs that are killed, and the same command again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    faults::{holders, moving, moving_and_telling},
    noise::noise,
    outcome::of_type,
    server::{Run, Server},
};

const SIZE: usize = 60_000_000;
/// What a journal may be behind, what may be on its way, and what progress may be behind.
const BEHIND_MAX: u64 = (4 << 20) + 6_000_000;

/// Which end is killed.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Here,
    There,
}

/// Kills a slow transfer when so many bytes are there, and runs it again at full speed.
fn kill_and_run_again(server: &Server, arguments: [&str; 2], victim: Victim, at: u64) -> Run {
    let receiving = match arguments[0].contains(':') {
        true => server.here(),
        false => server.there(),
    };
    let [from, to] = arguments;
    let slow = [
        "--retry-for",
        "0",
        "--policy",
        "fixed",
        "-l",
        "200M",
        from,
        to,
    ];
    let mut child = moving(server, &slow, at);
    let there: Vec<Pid> = remotes(server, &child);
    let killed = match victim {
        Victim::Here => vec![Pid::from_child(&child)],
        Victim::There => there,
    };
    assert!(!killed.is_empty());
    for pid in killed {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert!(!child.wait().unwrap().success());
    // The end that lives lets go as soon as it hears of it.
    let patience = Instant::now() + Duration::from_secs(20);
    while !holders(&receiving).is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    server.json(&arguments)
}

/// The other ends: whoever has a file of this test open and is not the run itself.
fn remotes(server: &Server, child: &Child) -> Vec<Pid> {
    let here = Pid::from_child(child);
    let holders = [holders(&server.here()), holders(&server.there())].concat();
    holders.into_iter().filter(|pid| *pid != here).collect()
}

fn assert_went_on(run: &Run, at: u64) {
    assert_eq!(run.status, 0, "{}", run.stderr);
    let there = run.summary("there_bytes").as_u64().unwrap();
    assert!(there + BEHIND_MAX >= at, "{there} of {at} were kept");
    let sent = run.summary("udp_bytes").as_u64().unwrap();
    let missing = SIZE as u64 - there;
    assert!(
        sent <= missing + missing / 10 + 1_000_000,
        "{sent} sent for {missing}"
    );
}

fn assert_same_and_alone(dir: &Path, content: &[u8]) {
    assert!(fs::read(dir.join("big")).unwrap() == content);
    let names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["big"], "neither journal nor partial file is left");
}

/// Both victims, with what is sent from `source` and arrives in `target`.
fn killed_at_either_end(
    seed: u64,
    source: fn(&Server) -> PathBuf,
    target: fn(&Server) -> PathBuf,
    arguments: fn(&str) -> [String; 2],
) {
    let content = noise(seed, SIZE);
    for (victim, at) in [(Victim::Here, 30_000_000), (Victim::There, 50_000_000)] {
        let server = Server::start();
        fs::write(source(&server).join("big"), &content).unwrap();
        let place = format!("127.0.0.1:{}", server.there().display());
        let [from, to] = arguments(&place);
        let run = kill_and_run_again(&server, [&from, &to], victim, at);
        assert_went_on(&run, at);
        assert_same_and_alone(&target(&server), &content);
    }
}

#[test]
fn k110_an_upload_killed_at_either_end_goes_on() {
    killed_at_either_end(
        8,
        |server| server.here(),
        |server| server.there(),
        |place| ["big".to_owned(), place.to_owned()],
    );
}

#[test]
fn k110_a_download_killed_at_either_end_goes_on() {
    killed_at_either_end(
        9,
        |server| server.there(),
        |server| server.here(),
        |place| [format!("{place}/big"), ".".to_owned()],
    );
}

#[test]
fn what_is_there_is_not_sent_again_unless_asked() {
    let server = Server::start();
    let folder = server.here().join("folder");
    fs::create_dir(&folder).unwrap();
    for n in 0..300 {
        fs::write(folder.join(n.to_string()), noise(n, 10_000)).unwrap();
    }
    let place = format!("127.0.0.1:{}", server.there().display());
    let first = server.json(&["-p", "folder", &place]);
    assert_eq!((first.status, first.summary("there_files")), (0, 0.into()));
    let again = server.json(&["-p", "folder", &place]);
    assert_eq!(
        (again.status, again.summary("there_files")),
        (0, 300.into())
    );
    assert_eq!(again.summary("there_bytes"), 3_000_000);
    assert!(again.summary("udp_bytes").as_u64().unwrap() < 100_000);
    let anew = server.json(&["-p", "-k", "0", "folder", &place]);
    assert_eq!((anew.status, anew.summary("there_files")), (0, 0.into()));
    assert!(anew.summary("udp_bytes").as_u64().unwrap() > 3_000_000);
}

#[test]
fn a_server_that_dies_is_gone_on_with() {
    let server = Server::start();
    let content = noise(10, SIZE);
    fs::write(server.here().join("big"), &content).unwrap();
    let place = format!("127.0.0.1:{}", server.there().display());
    let slow = ["--policy", "fixed", "-l", "200M", "big", &place];
    let (mut child, lines) = moving_and_telling(&server, &slow, 20_000_000);
    for pid in remotes(&server, &child) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert!(child.wait().unwrap().success());
    let events: Vec<serde_json::Value> = lines.join().unwrap();
    let of = |kind| of_type(&events, kind);
    let [retry] = of("retry")[..] else {
        panic!("one retry: {events:?}");
    };
    assert_eq!(retry["name"], "connection-lost");
    assert_eq!(of("session").len(), 1, "the one after it");
    let there = of("summary")[0]["there_bytes"].as_u64().unwrap();
    assert!(there + BEHIND_MAX >= 20_000_000, "{there}");
    assert_same_and_alone(&server.there(), &content);
}
