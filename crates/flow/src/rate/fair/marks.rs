use haul_wire::PacketNo;

use crate::Sample;

use super::law::{Core, View};

/// What remains of the bandwidth after a mark: as much as of a TCP window by RFC 8511.
const KEPT: f64 = 0.85;
/// The same for a flow that yields.
const KEPT_BY_YIELDING: f64 = 0.7;

/// Marks of congestion that queues have put on packets (ECN, RFC 3168), answered once a round trip:
/// what was sent before the answer says nothing about it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    seen: u64,
    /// Packets from here on were sent after the last answer.
    answered: PacketNo,
    due: bool,
}

impl Marks {
    /// Takes in the marks that a report counts.
    pub(super) fn on_sample(&mut self, sample: &Sample) {
        let is_new = sample.ecn_ce > self.seen;
        self.seen = self.seen.max(sample.ecn_ce);
        self.due |= is_new && sample.largest >= self.answered;
    }

    /// Whether a mark waits for an answer. States that send less than the bandwidth anyway leave it
    /// to the next one.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether the path marks at all.
    pub(super) fn has_any(&self) -> bool {
        self.seen > 0
    }

    /// The answer has been given; packets from `next` on will show what it did.
    pub(super) fn answered(&mut self, next: PacketNo) {
        self.due = false;
        self.answered = next;
    }
}

/// Gives way to a mark: it says what a loss at the end of a buffer says, without the loss.
pub(super) fn yield_to_mark(core: &mut Core, view: &View) {
    core.marks.answered(view.next_packet);
    let kept = if core.competes {
        KEPT
    } else {
        KEPT_BY_YIELDING
    };
    // The queue is to be shorter than this: aims below where it was marked.
    core.shorten_target(core.delay.latest());
    core.growth.saw_ceiling(core.bandwidth);
    core.settle(kept * core.bandwidth, view);
    core.growth.hold(view.now, 2.0 * core.period);
}
