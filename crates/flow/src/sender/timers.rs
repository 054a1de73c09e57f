use std::time::Duration;

use haul_wire::{BlockAddr, path::Sync};

use super::{
    Sender,
    pacer::{LOOKAHEAD, Pacer},
    watch::GIVE_UP_AFTER,
};
use crate::{FlowError, Time};

impl Sender {
    /// Does what is due: probes, halvings of the rate in silence, giving up.
    pub fn handle_timeout(&mut self, now: Time) {
        let now = self.tick(now);
        if self.failure.is_some() || self.is_delivered() {
            return;
        }
        self.failure = self.policy.failure().or_else(|| self.given_up(now));
        if self.failure.is_some() {
            return;
        }
        let rtt = &self.timing.rtt;
        let is_silent = self.timing.watch.halve_at(rtt).is_some_and(|at| at <= now);
        if is_silent {
            self.timing.watch.on_halved();
            self.policy.on_silence(now);
            self.path.pmtu.doubt(now);
        }
        if self.probe_at().is_some_and(|at| at <= now) {
            self.timing.watch.on_probe(now);
            let counters = self.meter.counters();
            let nth = self.timing.watch.backoff();
            self.path.ecn.on_probe_timeout(nth, counters);
            self.path.pmtu.doubt(now);
            self.choose_probes();
        }
        let loss = self.meter.loss();
        self.path.pmtu.handle_timeout(&self.timing.rtt, loss, now);
        self.reshape(now);
        self.forget(now);
    }

    /// The next word to the receiver about what is settled; `None` while none is due.
    pub fn poll_sync(&mut self, now: Time) -> Option<Sync> {
        let now = self.tick(now);
        if self.failure.is_some() || now < self.sync_at() {
            return None;
        }
        let floor = self.ledger.base();
        let next = self.ledger.sent_end();
        Some(self.timing.sync.make(floor, next, now))
    }

    /// When to call [`Self::handle_timeout`] and poll again if nothing else happens; may lie in the
    /// past. `None` when the session has failed.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.failure.is_some() {
            return None;
        }
        let sync_at = Some(self.sync_at());
        if self.is_delivered() {
            return sync_at;
        }
        let rtt = &self.timing.rtt;
        let watch = &self.timing.watch;
        let is_stopped = watch.is_stopped(rtt, self.clock);
        let release_at = self.timing.pacer.next_release(self.rate_bps()) - LOOKAHEAD;
        let plan_at = (!is_stopped && self.work.has_any() && self.has_room()).then_some(release_at);
        let copy_at = match self.chase.next_due() {
            Some(due) if !is_stopped && self.has_room() => Some(due.max(release_at)),
            _ => None,
        };
        let probes_at = (!self.recovery.probes.is_empty()).then_some(self.clock);
        let length_probe_at = if self.path.pmtu.has_probe() {
            Some(self.clock)
        } else {
            self.path.pmtu.deadline()
        };
        let due = [
            sync_at,
            length_probe_at,
            plan_at,
            copy_at,
            probes_at,
            Some(watch.give_up_at()),
            watch.halve_at(rtt),
            self.probe_at(),
        ];
        due.into_iter().flatten().min()
    }

    fn given_up(&self, now: Time) -> Option<FlowError> {
        let watch = &self.timing.watch;
        (now >= watch.give_up_at()).then(|| {
            if watch.is_heard(now) {
                FlowError::PathBlocked(GIVE_UP_AFTER)
            } else {
                FlowError::PeerSilent(GIVE_UP_AFTER)
            }
        })
    }

    /// When probes are due. Not while packets that are planned have not left: they are as good.
    fn probe_at(&self) -> Option<Time> {
        if self.ledger.planned() > 0 {
            return None;
        }
        self.timing.watch.probe_at(&self.timing.rtt, self.pace())
    }

    /// How far apart packets leave; zero when no further ones will.
    fn pace(&self) -> Duration {
        let rtt = &self.timing.rtt;
        if self.timing.watch.is_stopped(rtt, self.clock) || !self.work.has_any() {
            return Duration::ZERO;
        }
        if !self.has_room() {
            // The receiver's disk sets the pace. Reports come without being asked for, and probes
            // would only take the room that the next packets wait for.
            return rtt.probe_timeout() * 2;
        }
        Pacer::airtime(self.config.segment_len as u64, self.rate_bps())
    }

    fn sync_at(&self) -> Time {
        let is_active = self.ledger.in_flight() > 0;
        self.timing.sync.due_at(is_active, &self.timing.rtt)
    }

    /// The oldest and the newest packet in flight whose blocks are missing go again, and the receiver
    /// is asked to speak of all numbers (RFC 9002, section 6.2.4). When all were lost the oldest block
    /// must do.
    fn choose_probes(&mut self) {
        self.totals.pto_count += 1;
        self.timing.sync.hasten();
        let is_missing = |block: BlockAddr| !self.work.has_arrived(block);
        let in_flight = [
            self.ledger.oldest_in_flight(is_missing),
            self.ledger.newest_in_flight(is_missing),
        ];
        let in_flight = in_flight.into_iter().flatten().map(|packet| packet.block);
        self.recovery.probes.clear();
        let first_queued = self.work.first_queued();
        for block in in_flight.chain(first_queued) {
            let Some(block) = self.work.instead_of(block) else {
                continue;
            };
            let probes = &mut self.recovery.probes;
            if !probes.is_full() && !probes.contains(&block) && !self.work.has_arrived(block) {
                probes.push(block);
            }
        }
    }
}
