//! The scan in step with what is delivered.

use std::sync::PoisonError;

use super::Scan;
use crate::outgoing::{EXTENTS_AHEAD, LIST_AHEAD_BYTES, State, Totals};

/// Entries between two announcements.
const STEP: u32 = 64;

impl Scan<'_> {
    /// Announces from time to time what may be sent, and waits while far ahead. `false`: stop.
    pub(super) fn pace(&mut self) -> bool {
        if self.too_much.is_some() {
            return false;
        }
        self.steps += 1;
        if self.steps < STEP {
            return true;
        }
        self.steps = 0;
        loop {
            self.announce();
            let state = self.out.lock();
            if state.stopped {
                return false;
            }
            let far = |state: &State| {
                state.listing.held_bytes() > LIST_AHEAD_BYTES
                    || state.listing.map().extents() > EXTENTS_AHEAD
            };
            if !far(&state) {
                return true;
            }
            drop(
                self.out
                    .freed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    fn announce(&mut self) {
        let mut state = self.out.lock();
        state.listing.pad_if_idle();
        let available = state.listing.available();
        drop(state);
        if available != self.told {
            self.told = available;
            (self.listed)(available);
        }
    }

    pub(super) fn end(mut self) -> Totals {
        let mut state = self.out.lock();
        if !state.stopped {
            state.listing.end();
            state.totals.scanned = true;
        }
        let totals = state.totals;
        drop(state);
        self.announce();
        self.announce_proofs();
        totals
    }

    /// Announces what is listed after the end: digests, until there are all.
    fn announce_proofs(&mut self) {
        self.out.moved.notify_all();
        let mut state = self.out.lock();
        while !state.listing.is_proved() && !state.stopped {
            state = self
                .out
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            drop(state);
            self.announce();
            state = self.out.lock();
        }
        drop(state);
        self.announce();
    }
}
