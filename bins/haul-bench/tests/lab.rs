//! haul-bench on emulated links, with a real sshd. Needs root or user namespaces, an OpenSSH server
//! and iproute2 (`scripts/setup --tests`), and fails, saying so, without.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// haul-bench runs the haul beside it, and says so where there is none.
fn bench(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haul-bench"));
    command.args(words.split(' ')).stdin(Stdio::null());
    command
}

fn report(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

fn figure(run: &Value, name: &str) -> f64 {
    let figures = run["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["name"] == name);
    figure.unwrap_or_else(|| panic!("no {name} in {run}"))["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn haul_crosses_an_emulated_link_both_ways() {
    let words = "wan --rate 40M --rtt 20 --loss 1 --size 4M --way up,down --json -";
    let report = report(&bench(words).output().unwrap());
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run["failure"], Value::Null, "{run}");
        let goodput = figure(run, "goodput");
        assert!(goodput > 2.0 && goodput < 40.0, "{goodput} Mbit/s");
        assert!(figure(run, "whole run") > figure(run, "first data"));
        assert!(figure(run, "ssh") > 0.1, "five round trips and more");
        assert_eq!(run["series"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn flows_that_share_fill_the_link_together() {
    let words = "share cubic reno --rate 20M --rtt 10 --order together --settle 1s --time 2s \
                 --json -";
    let report = report(&bench(words).output().unwrap());
    let run = &report["runs"][0];
    assert_eq!(run["failure"], Value::Null, "{run}");
    assert!(figure(run, "of the link") > 0.9, "{run}");
    let (share, own) = (figure(run, "share"), figure(run, "its rate"));
    let all = own + figure(run, "the others");
    assert!((share - own / all).abs() < 1e-9);
    assert!(share > 0.02 && share < 0.98, "{share}");
}

#[test]
fn a_racer_that_is_too_slow_is_cut_off_and_a_link_that_is_unknown_named() {
    let words = "peers --rate 4M --rtt 10 --size 2M --only scp --limit 3s --json -";
    let report = report(&bench(words).output().unwrap());
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<&str> = runs
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["haul up", "scp up"]);
    let reached = figure(&runs[1], "reached");
    assert!(reached > 5.0 && reached < 100.0, "{reached}");
    let unknown = bench("wan moon").output().unwrap();
    assert!(!unknown.status.success());
    let stderr = String::from_utf8(unknown.stderr).unwrap();
    assert!(stderr.contains("no link is called moon"), "{stderr}");
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let mut command = bench("shell --rtt 10 -- sh -c");
    command.arg("echo $LAB; exec sleep 600");
    let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let folder = lines.next().unwrap().unwrap();
    assert!(Path::new(&folder).exists());
    let kill = Command::new("kill").arg(running.id().to_string()).status();
    assert!(kill.unwrap().success());
    assert!(!running.wait().unwrap().success());
    assert!(!Path::new(&folder).exists(), "{folder} is still there");
    // The child's output ends with the child, which the kernel kills with its parent.
    assert!(lines.next().is_none());
}

#[test]
fn a_path_is_measured_in_both_directions() {
    let link = format!(
        "{} link far --time 2s --json - -- -F $LAB/config",
        env!("CARGO_BIN_EXE_haul-bench")
    );
    let mut command = bench("shell --rate 40M --rtt 20ms -- bash -c");
    let report = report(&command.arg(link).output().unwrap());
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<_> = runs
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["upload", "download"]);
    for run in runs {
        let goodput = figure(run, "goodput");
        assert!(goodput > 10.0 && goodput < 40.0, "{run}");
        assert!((19.0..60.0).contains(&figure(run, "RTT least")), "{run}");
        assert!(
            (1400.0..=1500.0).contains(&figure(run, "path MTU")),
            "{run}"
        );
        for end in ["CPU sending", "CPU receiving"] {
            assert!(figure(run, end) > 0.0, "{run}");
        }
        assert_eq!(run["series"].as_array().unwrap().len(), 3);
    }
    let notes = report["notes"].to_string();
    for name in ["upload", "download"] {
        assert!(notes.contains(&format!("{name}: limited by ")), "{notes}");
    }
}

#[test]
fn a_host_that_cannot_be_measured_is_told_in_one_line_with_hauls_status() {
    let output = bench("link 127.0.0.1 --way up -- -F none -P 1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("haul-bench: error: "), "{stderr}");
    assert_eq!(output.status.code(), Some(10), "{stderr}");
}

#[test]
fn a_transfer_that_is_marked_loses_nothing() {
    let words =
        "wan --rate 50M --rtt 20ms --queue 300ms --mark-above 4ms --size 6M --json - -- --ecn";
    let report = report(&bench(words).output().unwrap());
    let run = &report["runs"].as_array().unwrap()[0];
    // How long the queue becomes is up to how often a busy machine lets haul answer.
    for name in ["lost", "overflowed", "repeated"] {
        assert_eq!(figure(run, name), 0.0, "{name}");
    }
}
