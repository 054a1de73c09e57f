//! Defects that are known. `haul-sim` does not excuse them; who mends one deletes its arm here.

use haul_flow::{FlowError, Policy};
use haul_sim::{Outcome, Scenario, Violation};

/// Whether the run broke its promise for a reason that is known.
pub(crate) fn is_known(scenario: &Scenario, outcome: &Outcome) -> bool {
    let slow_disk = scenario.disk.mean_bytes_per_second() * 8.0 < scenario.forward.rate_bps as f64;
    match outcome.violation {
        // The credit includes what the disk is expected to write meanwhile, whether it does or not.
        Some(Violation::Overruns { .. }) => slow_disk || !scenario.disk.stall.is_zero(),
        // What a full receiver drops is taken for the path's loss.
        Some(Violation::Failed {
            error: FlowError::CircuitBreaker { .. },
            ..
        }) => slow_disk && scenario.policy == Policy::Fair,
        _ => false,
    }
}
