//! The rows, with their bounds.

use std::time::Duration;

use super::{Bound, Case, Claim, Measure};

mod alone;
mod changes;
mod company;
mod fuzz;
mod transfers;

/// All cases, in the order of the rows.
pub(super) fn all() -> Vec<Case> {
    [
        alone::cases(),
        changes::cases(),
        company::cases(),
        transfers::cases(),
        fuzz::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case(
    scenario: String,
    is_quick: bool,
    claims: Vec<Claim>,
    measure: impl Fn(u64) -> Vec<f64> + Send + Sync + 'static,
) -> Case {
    let measure: Measure = Box::new(measure);
    Case {
        scenario,
        claims,
        is_quick,
        measure,
    }
}

fn claim(row: &'static str, metric: &'static str, bound: Bound) -> Claim {
    Claim { row, metric, bound }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const MEGA: f64 = 1e6;

/// "100 Mbit/s × 50 ms".
fn path_name(rate_bps: f64, rtt: Duration) -> String {
    let rtt = rtt.as_millis();
    match rate_bps >= 1e9 {
        true => format!("{} Gbit/s × {rtt} ms", rate_bps / 1e9),
        false => format!("{} Mbit/s × {rtt} ms", rate_bps / MEGA),
    }
}

/// The queue a fair flow aims at, in milliseconds: 4 ms·√(100 Mbit/s ÷ R), bounded.
fn target_ms(rate_bps: f64, rtt: Duration) -> f64 {
    let rtt = rtt.as_secs_f64() * 1e3;
    let most = (rtt / 2.0).clamp(1.0, 25.0);
    (4.0 * (100.0 * MEGA / rate_bps).sqrt()).max(0.25).min(most)
}

/// When a flow that began at 0 should have found its rate: 30 round trips, at least 5 s.
fn settled_s(rtt: Duration) -> f64 {
    (30.0 * rtt.as_secs_f64()).max(5.0)
}
