//! The scenarios that everybody asks for, under each policy.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{collections::BTreeSet, time::Duration};

use haul_flow::Policy;
use haul_sim::{Content, Expect, Scenario, Summary, named, run};

/// Fails with the command that shows a failing scenario in full.
fn assert_pass(scenarios: &[Scenario]) -> Vec<Summary> {
    let mut failing = Vec::new();
    let mut summaries = Vec::new();
    for scenario in scenarios {
        let outcome = run(scenario, None).unwrap();
        let summary = Summary::new(scenario, &outcome);
        eprintln!("{:34} {summary}", scenario.name);
        summaries.push(summary);
        if let Some(violation) = outcome.violation {
            let name = &scenario.name;
            eprintln!("    {violation}: cargo run -p haul-sim -- named '{name}' --trace");
            failing.push(name);
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
    summaries
}

/// The scenarios under the policy whose name has this part.
fn named_with(policy: Policy, part: &str) -> Vec<Scenario> {
    let mut scenarios = named::all(policy);
    scenarios.retain(|scenario| scenario.name.contains(part));
    assert!(!scenarios.is_empty(), "{part}");
    scenarios
}

/// Whether what the path holds overruns the receiver before anybody can know: safe and prompt
/// exclude one another there.
fn is_overrun_unseen(scenario: &Scenario) -> bool {
    let in_flight = scenario.in_flight_packets() * scenario.block_len() as u64;
    let path = scenario.rate_bps() as f64 / 8.0;
    scenario.disk.mean_bytes_per_second() < path && scenario.disk.buffer_bytes < in_flight
}

#[test]
fn fixed_is_safe_and_prompt() {
    let scenarios = named::all(Policy::Fixed);
    for (scenario, summary) in scenarios.iter().zip(assert_pass(&scenarios)) {
        if scenario.expect != Expect::Delivery || is_overrun_unseen(scenario) {
            continue;
        }
        // Beyond the ideal: 12 round trips to chase the tail, twice what was dark, two stalls.
        let holes = scenario.forward.holes.iter().chain(&scenario.reverse.holes);
        let dark: Duration = holes.map(|hole| hole.end - hole.start).sum();
        let extra = scenario.rtt_max() * 12 + dark * 2 + scenario.disk.stall * 2;
        let limit = scenario.ideal().mul_f64(1.15) + extra;
        assert!(
            summary.took <= limit,
            "{}: {summary}, {limit:?}",
            scenario.name
        );
    }
}

#[test]
fn fair_is_safe() {
    assert_pass(&named::all(Policy::Fair));
}

/// A disk slower than the path costs time and nothing else.
#[test]
fn d108_a_slow_disk_is_sent_what_it_has_room_for() {
    for policy in [Policy::Fixed, Policy::Fair] {
        for scenario in named_with(policy, "disk 1 MB/s behind 1 Gbit/s") {
            let outcome = run(&scenario, None).unwrap();
            assert_eq!(outcome.violation, None);
            let summary = Summary::new(&scenario, &outcome);
            // Overruns of an overcommitted buffer are among what is sent twice.
            assert!(summary.sent_per_block < 1.001, "{summary}");
            assert!(summary.took < scenario.ideal().mul_f64(1.1), "{summary}");
        }
    }
}

/// What is in flight may exceed the receiver's buffer many times over where the disk keeps up.
#[test]
fn a_buffer_smaller_than_the_path_leaves_a_fast_disk_the_full_rate() {
    for name in ["instant disk", "disk barely faster than the path"] {
        for scenario in named_with(Policy::Fixed, name) {
            let shorter = Scenario {
                content: Content {
                    content_blocks: scenario.content.content_blocks / 2,
                    ..scenario.content
                },
                ..scenario.clone()
            };
            let [all, half] = [&scenario, &shorter].map(|scenario| {
                let outcome = run(scenario, None).unwrap();
                assert_eq!(outcome.tally.overruns, 0, "{}", scenario.name);
                Summary::new(scenario, &outcome).took
            });
            // The second half, when the rate has been found.
            let bytes = shorter.content.blocks() * scenario.segment_len() as u64;
            let rate_bps = bytes as f64 * 8.0 / (all - half).as_secs_f64();
            let share = rate_bps / scenario.forward.rate_bps as f64;
            assert!(share > 0.9, "{}: {share}", scenario.name);
        }
    }
}

#[test]
fn names_are_unique() {
    let all = [Policy::Fixed, Policy::Fair].map(named::all).concat();
    let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
}
