//! The part of the rate matrix that is quick and that the policies pass.

#![allow(clippy::unwrap_used)]

use haul_sim::matrix::{self, Selection};

fn assert_rows_pass(rows: &[&str]) {
    let selection = Selection {
        rows: rows.iter().map(|row| (*row).to_owned()).collect(),
        quick: true,
        seeds: Selection::seeds(1),
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
    assert_rows_pass(&["K"]);
}

#[test]
fn fair_fills_its_own_path() {
    assert_rows_pass(&["A", "B1", "B3", "C1", "C2", "C3"]);
}

#[test]
fn haul_shares_with_haul() {
    assert_rows_pass(&["E1", "E2", "E4"]);
}

#[test]
fn low_yields_and_nobody_starves() {
    assert_rows_pass(&["F4", "F5"]);
}

#[test]
fn transfers_end_and_repeat_only_what_was_lost() {
    assert_rows_pass(&["G2", "G3", "G4"]);
}
