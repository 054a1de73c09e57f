//! Either end dies at a random instant (case K110): nothing that is not whole has a final name, and the
//! same command again brings the same tree, with nothing of the first run left over.
//!
//! `HAUL_KILLS` says at how many instants for each end, `HAUL_SEED` at which.

use std::{fs, path::Path, thread::sleep, time::Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    judging::{assert_nothing_wrong, seed},
    noise::{Random, noise},
    outcome::{expect_status, stderr},
    site::{Site, finish},
    tree::tree,
};

/// Instants in the normal run.
const KILLS: u64 = 6;

/// Small files, large ones, and some of every kind between.
fn plant(folder: &Path, seed: u64) {
    for number in 0..120 {
        let folder = folder.join(format!("{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        let len = number as usize * 611 % 9_000;
        fs::write(folder.join(format!("{number}")), noise(seed + number, len)).unwrap();
    }
    fs::write(folder.join("large"), noise(seed, 12_000_000)).unwrap();
    fs::write(folder.join("middle"), noise(seed + 1, 600_000)).unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Initiator,
    Responder,
}

/// Kills an end again and again, each time in a run of its own.
fn kill(upload: bool, victim: Victim) {
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let kills = std::env::var("HAUL_KILLS").map_or(KILLS, |wish| wish.parse().unwrap());
    let site = Site::new();
    let (from, into, places) = if upload {
        (site.here(), site.there(), ["tree", "localhost:"])
    } else {
        (site.there(), site.here(), ["localhost:tree", "."])
    };
    plant(&from.join("tree"), 1);
    let source = tree(&from);
    let slow = ["-q", "--no-remember", "--retry-for", "0", "-l", "150M"];
    let arguments = [&slow[..], &places[..]].concat();
    let began = Instant::now();
    expect_status(0, &site.run(&arguments));
    let mut whole = began.elapsed();

    let (mut hits, mut turn) = (0, 0);
    while hits < kills {
        turn += 1;
        assert!(turn < 10 * kills, "only {hits} of {turn} were hit in time");
        let what = format!("seed {seed}, turn {turn}");
        fs::remove_dir_all(into.join("tree")).unwrap();
        let mut before = Default::default();
        if turn % 2 == 1 {
            // Others are there already.
            plant(&into.join("tree"), 5_000);
            before = tree(&into);
        }
        let _ = fs::remove_file(site.path("pid"));
        let began = Instant::now();
        let child = site.command(&arguments).spawn().unwrap();
        sleep(whole.mul_f64(random.below(1_000) as f64 / 1_000.0));
        let dying = match victim {
            Victim::Initiator => Some(Pid::from_child(&child)),
            Victim::Responder => site.remote(),
        };
        let hit = dying.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        let output = finish(child);
        site.await_no_remote();
        if hit && output.status.code() != Some(0) {
            hits += 1;
        } else {
            // A machine that was busy when it was measured is not so any more.
            whole = whole.min(began.elapsed());
        }
        assert_nothing_wrong(&tree(&into), &source, &before, &what);
        let again = site.run(&arguments);
        assert_eq!(again.status.code(), Some(0), "{what}: {}", stderr(&again));
        assert!(tree(&into) == source, "{what}: another tree arrived");
    }
}

#[test]
fn k110_an_upload_survives_its_sender() {
    kill(true, Victim::Initiator);
}

#[test]
fn k110_an_upload_survives_its_receiver() {
    kill(true, Victim::Responder);
}

#[test]
fn k110_a_download_survives_its_sender() {
    kill(false, Victim::Responder);
}

#[test]
fn k110_a_download_survives_its_receiver() {
    kill(false, Victim::Initiator);
}

/// The first asks it to end in order, which it may take its time for; a later one ends it at once.
#[test]
fn k115_signals_end_it_in_order_and_again_at_once() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let site = Site::new();
        fs::write(site.here().join("big"), noise(3, 12_000_000)).unwrap();
        let arguments = ["-q", "--policy", "fixed", "-l", "10M", "big", "localhost:"];
        let child = site.command(&arguments).spawn().unwrap();
        let partial = site.await_partial("big");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = finish(child);
        expect_status(130, &output);
        site.await_no_remote();
        assert!(partial.exists() && !site.there().join("big").exists());
    }
}
