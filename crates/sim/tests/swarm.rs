//! Random scenarios: each seed picks its path, its faults, its hosts and its policy.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use haul_sim::{Violation, run, run_twice, swarm};

/// Runs the seeds; a failing one is named with the command that shows it in full.
fn assert_seeds_pass(seeds: impl Iterator<Item = u64>) {
    let failing: Vec<(u64, Violation)> = seeds
        .filter_map(|seed| {
            let outcome = run(&swarm::scenario(seed), None).unwrap();
            let violation = outcome.violation?;
            eprintln!("seed {seed}: {violation}");
            eprintln!("    cargo run -p haul-sim -- one {seed} --trace");
            Some((seed, violation))
        })
        .collect();
    assert!(failing.is_empty(), "{failing:?}");
}

// Four tests, so that they run beside each other.

#[test]
fn seeds_0_to_99() {
    assert_seeds_pass(0..100);
}

#[test]
fn seeds_100_to_199() {
    assert_seeds_pass(100..200);
}

#[test]
fn seeds_200_to_299() {
    assert_seeds_pass(200..300);
}

#[test]
fn seeds_300_to_399() {
    assert_seeds_pass(300..400);
}

#[test]
fn the_same_seed_twice_takes_the_same_course() {
    for seed in (0..400).step_by(20) {
        let outcome = run_twice(&swarm::scenario(seed)).unwrap();
        let violation = outcome.violation;
        assert_ne!(violation, Some(Violation::Nondeterministic), "seed {seed}");
    }
    let traces = [1, 2].map(|seed| run(&swarm::scenario(seed), None).unwrap().trace);
    assert_ne!(traces[0], traces[1]);
}
