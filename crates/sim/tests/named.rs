//! The scenarios that everybody asks for, under each policy.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeSet;

use haul_flow::Policy;
use haul_sim::{Scenario, Summary, Violation, named, run};

fn assert_pass(scenarios: &[Scenario]) {
    let failing: Vec<(&str, Violation)> = scenarios
        .iter()
        .filter_map(|scenario| {
            let violation = match run(scenario, None) {
                Ok(outcome) => {
                    eprintln!("{:34} {}", scenario.name, Summary::new(scenario, &outcome));
                    outcome.violation?
                }
                Err(violation) => violation,
            };
            eprintln!(
                "    cargo run -p haul-sim -- named '{}' --trace",
                scenario.name
            );
            Some((scenario.name.as_str(), violation))
        })
        .collect();
    assert!(failing.is_empty(), "{failing:?}");
}

#[test]
fn fixed() {
    assert_pass(&named::all(Policy::Fixed));
}

#[test]
fn fair() {
    assert_pass(&named::all(Policy::Fair));
}

#[test]
fn names_are_unique() {
    let all = [Policy::Fixed, Policy::Fair].map(named::all).concat();
    let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
}
