use std::fmt;

use haul_flow::Time;

use crate::{
    check::{self, Check},
    fact::{Fact, TraceHash},
    scenario::Scenario,
    tally::Tally,
    violation::Violation,
};

/// Is shown each fact as it happens.
pub type Printer<'a> = &'a mut dyn FnMut(Time, &Fact);

/// Takes every fact to the checks, the tally, the trace's hash and, if there is one, the printer.
/// Keeps the first violation: what comes after it may be its consequence.
pub(crate) struct Observer<'a> {
    checks: Vec<Box<dyn Check>>,
    printer: Option<Printer<'a>>,
    hash: TraceHash,
    tally: Tally,
    violation: Option<Violation>,
}

impl<'a> Observer<'a> {
    pub(crate) fn new(scenario: &Scenario, printer: Option<Printer<'a>>) -> Self {
        Self {
            checks: check::all(scenario),
            printer,
            hash: TraceHash::default(),
            tally: Tally::default(),
            violation: None,
        }
    }

    pub(crate) fn note(&mut self, at: Time, fact: Fact) {
        self.hash.note(at, &fact);
        self.tally.note(at, &fact);
        if let Some(print) = &mut self.printer {
            print(at, &fact);
        }
        for check in &mut self.checks {
            if let Err(violation) = check.observe(at, &fact) {
                self.violation.get_or_insert(violation);
            }
        }
    }

    pub(crate) fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Ends the observation.
    pub(crate) fn finish(mut self) -> (TraceHash, Tally, Option<Violation>) {
        for check in &mut self.checks {
            if let Err(violation) = check.finish() {
                self.violation.get_or_insert(violation);
            }
        }
        (self.hash, self.tally, self.violation)
    }
}

impl fmt::Debug for Observer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("tally", &self.tally)
            .field("violation", &self.violation)
            .finish_non_exhaustive()
    }
}
