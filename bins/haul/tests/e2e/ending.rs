//! Signals at any time: the first ends in order, the second at once.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::{await_progress, fifo, interrupt, site::Site, slow};

/// What haul says of the first and of the second signal.
fn twice(first: Signal, second: Signal) -> (String, String) {
    let site = Site::new();
    let started = site.there().join("started");
    fifo(&started);
    // An ssh that hears the conversation begin, says nothing, and does not end when nobody talks to
    // it any more.
    let deaf = "/bin/sh -c 'head -c 1 >/dev/null; : > \"$THERE\"/started; exec sleep 10'";
    let mut command = site.bare();
    command.args(["--ssh-program", deaf, "localhost:file", "."]);
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    fs::read(started).unwrap();
    interrupt(&child, first);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.next().unwrap().unwrap();
    // What follows faster than a person presses keys is the first interrupt once more.
    std::thread::sleep(Duration::from_millis(400));
    interrupt(&child, second);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{first:?} {second:?} {told}: {:?}",
        began.elapsed()
    );
    (told, lines.next().unwrap().unwrap())
}

#[test]
fn k115_a_second_signal_ends_at_once_whichever_they_are() {
    for (first, second) in [
        (Signal::INT, Signal::INT),
        (Signal::TERM, Signal::TERM),
        (Signal::HUP, Signal::HUP),
        (Signal::HUP, Signal::TERM),
        (Signal::TERM, Signal::INT),
    ] {
        let (one, two) = twice(first, second);
        assert!(one.starts_with("haul: cancelling"), "{first:?}: {one}");
        assert!(
            two.starts_with("haul: error: cancelled"),
            "{second:?}: {two}"
        );
    }
}

/// Ends the haul at the other end.
fn kill_remote(site: &Site) {
    kill_process(site.remote().unwrap(), Signal::KILL).unwrap();
}

/// A run that has lost its connection and waits before it tries again; later attempts are refused.
fn waiting(site: &Site) -> (Child, impl Iterator<Item = Value> + use<>) {
    let mut child = slow(site).spawn().unwrap();
    let mut events = await_progress(&mut child);
    site.set_ssh(
        "#!/bin/sh\necho 'ssh: connect to host localhost: Connection refused' >&2\nexit 255\n",
    );
    kill_remote(site);
    // The third wait is of four seconds.
    let waits = events.any(|event| event["type"] == "retry" && event["wait_seconds"] == 4.0);
    assert!(waits, "it does not wait");
    (child, events)
}

#[test]
fn an_account_tells_of_connections_that_were_lost() {
    let site = Site::new();
    let mut child = slow(&site).args(["-L", "."]).spawn().unwrap();
    let rest = await_progress(&mut child);
    kill_remote(&site);
    let summary = rest.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{summary}");
    assert_eq!(summary["retry_count"], 1, "{summary}");
    let retry = &summary["retries"][0];
    assert_eq!(
        (&retry["code"], &retry["name"]),
        (&30.into(), &"connection-lost".into())
    );
    // It waits for a second before it tries again.
    assert!(
        summary["retry_seconds"].as_f64().unwrap() >= 1.0,
        "{summary}"
    );
    assert!(retry["at_seconds"].as_f64().unwrap() > 0.0, "{summary}");
    let log = fs::read_to_string(site.here().join("haul.log")).unwrap();
    for wanted in [
        "trying again in 1.0 s",
        "connected again once, ",
        " (connection-lost)\n",
    ] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }
}

#[test]
fn k115_a_signal_ends_the_wait_for_another_connection() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let site = Site::new();
        let (mut child, rest) = waiting(&site);
        interrupt(&child, signal);
        let rest: Vec<Value> = rest.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        // No further attempt, and the reason as the last word.
        let [error] = &rest[..] else {
            panic!("{signal:?}: {rest:?}");
        };
        assert_eq!(
            (&error["type"], &error["code"]),
            (&"error".into(), &130.into())
        );
        assert!(site.there().join(".big.haul-part").exists());
    }
}
