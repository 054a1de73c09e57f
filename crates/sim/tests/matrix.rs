//! The part of the rate matrix that is quick and that the policies pass.

#![allow(clippy::unwrap_used)]

use haul_sim::matrix::{self, Selection};

fn assert_rows_pass(rows: &[&str], seeds: u64) {
    let selection = Selection {
        rows: rows.iter().map(|row| (*row).to_owned()).collect(),
        quick: true,
        seeds: Selection::seeds(seeds),
    };
    let cells = matrix::run(&selection);
    assert!(!cells.is_empty());
    let failing = cells.iter().filter(|cell| !cell.is_kept);
    let failing: Vec<_> = failing.collect();
    let shown = matrix::table(failing.iter().copied());
    assert!(failing.is_empty(), "\n{shown}");
}

/// Models that do not behave as what they model would prove nothing.
#[test]
fn competitors_behave_as_what_they_model() {
    assert_rows_pass(&["K"], 1);
}

#[test]
fn fair_fills_its_own_path() {
    assert_rows_pass(&["A", "B", "C1", "C2", "C3", "D"], 1);
}

#[test]
fn haul_shares_with_haul() {
    // Single runs of several flows are chaotic: the median of five is not.
    assert_rows_pass(&["E"], 5);
}

#[test]
fn low_yields_and_nobody_starves() {
    assert_rows_pass(&["F4", "F5"], 1);
}

#[test]
fn transfers_end_and_repeat_only_what_was_lost() {
    assert_rows_pass(&["G2", "G3", "G4"], 1);
}
