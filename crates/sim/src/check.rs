//! Judges of a simulation. They see [`Fact`]s only, never a machine under test.

mod bounds;
mod delivery;
mod departures;
mod ending;
mod overruns;
mod pacing;
mod quiet;
mod repeats;

use std::fmt;

use haul_flow::Time;

use crate::{fact::Fact, scenario::Scenario, violation::Violation};

pub use ending::PATIENCE;
pub use pacing::BURST_MAX;
pub use quiet::{QUIET_WINDOW, SETTLE};
pub use repeats::PROBES_FREE;

/// Packets per probe time-out. They obey neither the rate nor the credit: without them a closed
/// credit would never open.
pub const PROBE_PACKETS: u64 = 2;

/// Watches for one kind of violation.
pub trait Check: fmt::Debug {
    /// Takes in the next fact; facts come in time order.
    ///
    /// # Errors
    /// The [`Violation`] that it shows.
    fn observe(&mut self, at: Time, fact: &Fact) -> Result<(), Violation>;

    /// The simulation is over.
    ///
    /// # Errors
    /// The [`Violation`] that only the whole course shows.
    fn finish(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

/// All checks, for one run of the scenario.
pub fn all(scenario: &Scenario) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(delivery::Delivery::new(scenario)),
        Box::new(pacing::Pacing::new(scenario)),
        Box::new(departures::Departures::default()),
        Box::new(bounds::Bounds::new(scenario)),
        Box::new(repeats::Repeats::new(scenario)),
        Box::new(overruns::Overruns::default()),
        Box::new(quiet::Quiet::new(scenario)),
        Box::new(ending::Ending::new(scenario)),
    ]
}
