use haul_wire::PacketNo;

use crate::{Time, Why};

use super::{
    Next,
    law::{Core, View},
    seconds,
};

/// Share of the found bandwidth to send with.
const SHARE: f64 = 0.6;

/// Fewer packets say nothing about the path's own loss, and from so many on they say it alone.
const PACKETS_MIN: f64 = 30.0;
const PACKETS_SURE: f64 = 200.0;
/// So many say as much as an audit does.
const AUDIT_PACKETS: f64 = 1000.0;
/// Periods until the floor is audited: soon, unless it is certain.
const AUDIT_AFTER: (f64, f64) = (3.0, 40.0);

/// What start-up saw when it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saturated {
    /// Delivery rate, bits per second.
    pub(super) delivered: f64,
    /// Queueing delay, seconds.
    pub(super) queue: f64,
}

/// Lets the queue of start-up go. Clearly below capacity, it also sees the path's own loss.
#[derive(Debug)]
pub(super) struct Drain {
    since: Time,
    first: PacketNo,
    saturated: Saturated,
}

impl Drain {
    pub(super) fn new(core: &mut Core, view: &View, saturated: Saturated) -> Self {
        core.rate = SHARE * core.bandwidth;
        Self {
            since: view.now,
            first: view.next_packet,
            saturated,
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        core.rate = SHARE * core.bandwidth;
        let measure = view.measure?;
        let age = seconds(view.now, self.since) / core.period;
        let heard = view.record.largest() > PacketNo(self.first.0.saturating_add(8));
        let expected = SHARE * core.bandwidth;
        let flat = measure.delivered > 0.9 * expected * (1.0 - core.floor.get())
            && measure.delivered < 1.1 * expected;
        let empty = view.queue < 0.5 * view.target;
        if !(heard && age > 1.6 && (empty || (age > 3.0 && flat)) || age > 7.0) {
            return None;
        }
        if flat || empty {
            core.delay.learn_noise(1.0);
        }
        let periods = if self.learn_floor(core, view, empty) {
            AUDIT_AFTER.1
        } else {
            AUDIT_AFTER.0
        };
        let bandwidth = self.saturated.delivered / (1.0 - core.floor.get()).max(0.05);
        core.bandwidth = bandwidth.min(core.ceiling());
        core.rate = core.bandwidth;
        core.growth.hold(view.now, 1.5 * core.period);
        core.calendar.audit_in(view.now, periods * core.period);
        Some(Next::track(view.now, Why::Drained))
    }

    /// Whether the floor is certain now.
    fn learn_floor(&mut self, core: &mut Core, view: &View, empty: bool) -> bool {
        let Some(below) = core.deliveries.packets(self.first, view.record.largest()) else {
            return false;
        };
        // Nearly as much is delivered at six tenths, and not because a queue was emptied: a token
        // bucket had inflated start-up's figures, and the path is still overloaded.
        let flat = below.delivered > 0.85 * self.saturated.delivered && !below.limited;
        if flat && !(empty && self.saturated.queue >= view.target) {
            core.floor.prove(0.0, 1.0, below.packets);
            self.saturated.delivered = below.delivered;
            return false;
        }
        if below.packets < PACKETS_MIN {
            return false;
        }
        let trust = (below.packets / PACKETS_SURE).min(1.0);
        core.floor.prove(below.loss, trust, below.packets);
        below.packets > AUDIT_PACKETS
    }
}
