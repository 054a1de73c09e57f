//! The scenarios that everybody asks for, under each policy.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod known;

use std::{collections::BTreeSet, time::Duration};

use haul_flow::Policy;
use haul_sim::{Expect, Scenario, Summary, named, run};
use known::is_known;

/// Fails with the command that shows a failing scenario in full.
fn assert_pass(scenarios: &[Scenario]) -> Vec<Summary> {
    let mut failing = Vec::new();
    let mut summaries = Vec::new();
    for scenario in scenarios {
        let outcome = run(scenario, None).unwrap();
        let summary = Summary::new(scenario, &outcome);
        eprintln!("{:34} {summary}", scenario.name);
        summaries.push(summary);
        if let Some(violation) = outcome.violation
            && !is_known(scenario, &outcome)
        {
            let name = &scenario.name;
            eprintln!("    {violation}: cargo run -p haul-sim -- named '{name}' --trace");
            failing.push(name);
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
    summaries
}

#[test]
fn fixed_is_safe_and_prompt() {
    let scenarios = named::all(Policy::Fixed);
    for (scenario, summary) in scenarios.iter().zip(assert_pass(&scenarios)) {
        if scenario.expect != Expect::Delivery {
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

#[test]
fn names_are_unique() {
    let all = [Policy::Fixed, Policy::Fair].map(named::all).concat();
    let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
}
