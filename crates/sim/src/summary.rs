use std::{fmt, time::Duration};

use haul_flow::Time;

use crate::{scenario::Scenario, world::Outcome};

/// One line about a run: how much of the path was used, what was repeated, how long it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Goodput over what the path can carry of it: `blocks · 8 · segment / time / (C · (1 − p))`,
    /// where C is the bottleneck's rate and p the link's own loss.
    pub share: f64,
    /// Transmissions per block.
    pub sent_per_block: f64,
    /// Transmissions that arrived although their block had arrived already.
    pub needless: u64,
    /// Probe time-outs.
    pub probe_timeouts: u64,
    /// From the beginning to when the sender knew that everything had arrived.
    pub took: Duration,
    /// What a perfect sender would have needed, see [`Scenario::ideal`].
    pub ideal: Duration,
}

impl Summary {
    /// The summary of a run of the scenario.
    pub fn new(scenario: &Scenario, outcome: &Outcome) -> Self {
        let tally = &outcome.tally;
        let blocks = scenario.content.blocks();
        let ended = tally
            .delivered_at
            .or_else(|| tally.failed.map(|(at, _)| at));
        let took = ended.unwrap_or(tally.last_arrival) - Time::ZERO;
        let bits = blocks as f64 * scenario.segment_len() as f64 * 8.0;
        let carried = scenario.forward.rate_bps as f64 * (1.0 - scenario.forward.loss_share());
        Self {
            share: bits / took.as_secs_f64().max(1e-9) / carried,
            sent_per_block: tally.sent as f64 / blocks.max(1) as f64,
            needless: outcome.receiver.received_packets.saturating_sub(blocks),
            probe_timeouts: outcome.sender.pto_count,
            took,
            ideal: scenario.ideal(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "share {:5.3}  sent/block {:6.3}  needless {:5}  pto {:3}  \
             took {:8.3} s = ideal × {:6.2}",
            self.share,
            self.sent_per_block,
            self.needless,
            self.probe_timeouts,
            self.took.as_secs_f64(),
            self.took.as_secs_f64() / self.ideal.as_secs_f64().max(1e-9),
        )
    }
}
