use haul_flow::{FlowError, Time};

use crate::{fact::Fact, link::LossCause};

/// What happened in a simulation, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Data datagrams that left the sender.
    pub sent: u64,
    /// Data datagrams that arrived intact and were buffered.
    pub arrived: u64,
    /// Data datagrams lost on the wire or aimed at.
    pub lost_wire: u64,
    /// Data datagrams dropped by the full queue.
    pub lost_queue: u64,
    /// Data datagrams swallowed by a black-hole.
    pub lost_hole: u64,
    /// Data datagrams that arrived damaged.
    pub damaged: u64,
    /// Data datagrams that found the receiver's buffer full.
    pub overruns: u64,
    /// Copies made by the network that the receiver refused.
    pub replays: u64,
    /// Reports sent.
    pub reports: u64,
    /// Bytes of their bodies.
    pub report_bytes: u64,
    /// Reports lost.
    pub reports_lost: u64,
    /// Syncs sent.
    pub syncs: u64,
    /// When the last block arrived that had not arrived before, as far as the sender can know: when
    /// it said that all had.
    pub delivered_at: Option<Time>,
    /// When the last data datagram arrived before that.
    pub last_arrival: Time,
    /// How the sender failed, and when.
    pub failed: Option<(Time, FlowError)>,
}

impl Tally {
    pub(crate) fn note(&mut self, at: Time, fact: &Fact) {
        match fact {
            Fact::Sent { .. } => self.sent += 1,
            Fact::Arrived { .. } => {
                self.arrived += 1;
                if self.delivered_at.is_none() {
                    self.last_arrival = at;
                }
            }
            Fact::Lost { cause, .. } => match cause {
                LossCause::Wire | LossCause::Aimed => self.lost_wire += 1,
                LossCause::Queue => self.lost_queue += 1,
                LossCause::Hole => self.lost_hole += 1,
                LossCause::Damage => self.damaged += 1,
                LossCause::Overrun => self.overruns += 1,
                LossCause::Replay => self.replays += 1,
            },
            Fact::Reported { bytes, .. } => {
                self.reports += 1;
                self.report_bytes += bytes;
            }
            Fact::ReportLost(_) => self.reports_lost += 1,
            Fact::Synced => self.syncs += 1,
            Fact::Delivered => self.delivered_at = Some(at),
            Fact::Failed(error) => self.failed = Some((at, *error)),
            Fact::Known(_)
            | Fact::Planned(_)
            | Fact::Held { .. }
            | Fact::Wrote(_)
            | Fact::ReportTooLong { .. }
            | Fact::Heard { .. }
            | Fact::SyncLost(_)
            | Fact::Gauged(_)
            | Fact::Holds { .. } => (),
        }
    }
}
