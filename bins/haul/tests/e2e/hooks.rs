//! Commands around a run: what they are told, and what becomes of the run when they fail or are ended.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    await_progress, fifo, interrupt,
    outcome::{events, expect_status, of_type, stderr},
    site::Site,
    slow,
};

/// Writes what haul tells to a file.
fn telling(file: &str) -> String {
    format!("env | grep ^HAUL_ > {file}")
}

fn told(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn hooks_are_told_what_is_moved_and_how_it_went() {
    let site = Site::new();
    fs::write(site.here().join("file"), "12345").unwrap();
    let (before, after) = (telling("before"), telling("after"));
    let output = site.run(&[
        "--json",
        "--pre",
        &before,
        "--post",
        &format!("{after}; echo said"),
        "file",
        "ann@localhost:in",
    ]);
    expect_status(0, &output);
    assert_eq!(events(&output.stdout).last().unwrap()["type"], "summary");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "said\n");

    let mut expected: BTreeMap<String, String> = [
        ("HAUL_DIRECTION", "upload"),
        ("HAUL_HOST", "localhost"),
        ("HAUL_USER", "ann"),
        ("HAUL_DESTINATION", "in"),
        ("HAUL_SOURCE_COUNT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(told(&site.here().join("before")), expected);
    let mut after = told(&site.here().join("after"));
    let seconds = after.remove("HAUL_SECONDS").unwrap();
    assert!(seconds.parse::<f64>().unwrap() > 0.0, "{seconds}");
    for (name, value) in [
        ("HAUL_STATUS", "0"),
        ("HAUL_STATUS_NAME", "success"),
        ("HAUL_FILES", "1"),
        ("HAUL_BYTES", "5"),
        ("HAUL_FAILED", "0"),
        ("HAUL_RETRIES", "0"),
        ("HAUL_ERROR", ""),
    ] {
        expected.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(after, expected);
}

#[test]
fn a_pre_command_may_make_what_is_sent() {
    let site = Site::new();
    let arguments = ["-q", "--pre", "echo made > file", "file", "localhost:"];
    expect_status(0, &site.run(&arguments));
    assert_eq!(fs::read(site.there().join("file")).unwrap(), b"made\n");
    let arguments = ["-q", "--pre", "true", "none", "localhost:"];
    expect_status(20, &site.run(&arguments));
}

#[test]
fn a_pre_command_that_fails_keeps_haul_from_connecting() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    // An ssh that leaves a trace.
    site.set_ssh("#!/bin/sh\n: > \"$THERE\"/tried\n");
    let after = telling("after");
    let output = site.run(&["--pre", "exit 7", "--post", &after, "file", "localhost:"]);
    expect_status(26, &output);
    let stderr = stderr(&output);
    assert_eq!(
        stderr,
        "haul: error: the command of --pre ended with exit status: 7; nothing was connected\n"
    );
    assert!(!site.there().join("tried").exists());
    let after = told(&site.here().join("after"));
    assert_eq!(after["HAUL_STATUS"], "26");
    assert_eq!(after["HAUL_STATUS_NAME"], "hook-failed");
    assert!(after["HAUL_ERROR"].contains("--pre"), "{after:?}");
}

#[test]
fn a_post_command_that_fails_is_told_but_hides_no_other_failure() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    let told = site.events(26, &["--post", "exit 3", "file", "localhost:"]);
    assert!(site.there().join("file").exists());
    let kinds: Vec<_> = told.iter().rev().map(|event| &event["type"]).collect();
    assert_eq!(kinds[..2], ["error", "summary"]);
    assert_eq!(told.last().unwrap()["name"], "hook-failed");

    let told = site.events(20, &["--post", "kill -9 $$", "localhost:none", "."]);
    let warning = of_type(&told, "warning")[0];
    let text = warning["text"].as_str().unwrap();
    assert!(
        text.contains("--post") && text.contains("SIGKILL"),
        "{text}"
    );
    assert_eq!(told.last().unwrap()["name"], "no-such-source");
}

/// A run whose hook has begun, and goes on for very long.
fn hooked(site: &Site, option: &str, prepare: &str) -> Child {
    fs::write(site.here().join("file"), "x").unwrap();
    let started = site.here().join("started");
    fifo(&started);
    // Two processes: both have to go.
    let command = format!("{prepare} sleep 100 & : > started; wait; sleep 100");
    let child = site
        .command(&["-q", option, &command, "file", "localhost:"])
        .spawn()
        .unwrap();
    fs::read(started).unwrap();
    child
}

#[test]
fn a_signal_ends_a_hook_and_all_that_it_has_started() {
    let began = Instant::now();
    for (option, arrived) in [("--pre", false), ("--post", true)] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let site = Site::new();
            let child = hooked(&site, option, "");
            interrupt(&child, signal);
            // Everybody who could write to its streams is gone when this returns.
            let output = child.wait_with_output().unwrap();
            expect_status(130, &output);
            let stderr = stderr(&output);
            assert!(stderr.starts_with("haul: error: cancelled"), "{stderr}");
            assert_eq!(site.there().join("file").exists(), arrived, "{option}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(90));
}

#[test]
fn a_second_signal_ends_a_hook_that_does_not_listen() {
    let site = Site::new();
    let child = hooked(&site, "--pre", "trap '' TERM; ");
    let began = Instant::now();
    interrupt(&child, Signal::INT);
    // What follows faster than a person presses keys is the first interrupt once more.
    std::thread::sleep(Duration::from_millis(400));
    interrupt(&child, Signal::INT);
    expect_status(130, &child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(90));
}

#[test]
fn the_post_command_runs_after_an_interrupt_too() {
    let site = Site::new();
    let after = telling("after");
    let mut command = slow(&site);
    let mut child = command.args(["--post", &after]).spawn().unwrap();
    let rest = await_progress(&mut child);
    interrupt(&child, Signal::INT);
    assert_eq!(rest.last().unwrap()["code"], 130);
    let output = child.wait_with_output().unwrap();
    expect_status(130, &output);
    let after = told(&site.here().join("after"));
    assert_eq!(after["HAUL_STATUS_NAME"], "cancelled");
    assert_ne!(after["HAUL_BYTES"], "0");
    assert!(stderr(&output).contains("haul: error: cancelled"));
}
