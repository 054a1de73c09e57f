use std::sync::Arc;

use crossbeam_channel::Sender;
use haul_disk::{Available, Had, Supply};
use haul_flow::{Plan, Time};
use haul_wire::{BlockNo, Kind, Stream};

use super::{Ask, Desk, Driver, Fact, desk::Move, drive};
use crate::{EngineError, EngineEvent, Snapshot, setup::SEND_BUFFERS};

/// Drives the sending machine: plans go to the reading stage, facts come back.
pub(crate) struct SendDriver {
    desk: Desk,
    machine: haul_flow::Sender,
    outgoing: Arc<dyn Supply>,
    plans: Sender<Plan>,
    /// Plans that have not been sent yet; never more than there are buffers.
    outstanding: usize,
    list_floor: BlockNo,
    content_floor: BlockNo,
    delivered: bool,
    stopping: bool,
}

impl SendDriver {
    pub(crate) fn new(
        desk: Desk,
        machine: haul_flow::Sender,
        outgoing: Arc<dyn Supply>,
        plans: Sender<Plan>,
    ) -> Self {
        Self {
            desk,
            machine,
            outgoing,
            plans,
            outstanding: 0,
            list_floor: BlockNo(0),
            content_floor: BlockNo(0),
            delivered: false,
            stopping: false,
        }
    }

    pub(crate) fn run(self) {
        let driver = Desk::guard(self, |driver| &mut driver.desk, drive);
        driver.outgoing.stop();
    }

    /// What has been delivered need not be kept, and lets the scan go on.
    fn release(&mut self) {
        for (stream, floor) in [
            (Stream::List, &mut self.list_floor),
            (Stream::Content, &mut self.content_floor),
        ] {
            let delivered = self.machine.delivered_floor(stream);
            if delivered > *floor {
                *floor = delivered;
                if let Some(available) = self.outgoing.release(stream, delivered) {
                    take_in(&mut self.machine, available);
                }
            }
        }
    }
}

impl Driver for SendDriver {
    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn deadline(&self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.machine.handle_timeout(now);
    }

    fn handle(&mut self, fact: Fact) -> Result<(), EngineError> {
        match fact {
            Fact::Available(available) => take_in(&mut self.machine, available),
            Fact::Sent { first, count, at } => {
                self.outstanding -= 1;
                self.machine.handle_sent(first, count, at);
            }
            Fact::Report { report, at } => {
                self.desk.peer_heard();
                self.machine.handle_report(&report, at)?;
            }
            Fact::Stranger { route, bytes, at } => self.desk.challenge(route, bytes, at)?,
            Fact::Probe { token, to } => self.desk.answer(token, to)?,
            Fact::Echo { token, at } => match self.desk.peer_moved(token, at) {
                Some(Move::Address) => self.machine.handle_path_change(at),
                // Another port: an address translator forgot, the path is the same.
                Some(Move::Port) => {}
                None => self.machine.handle_echo(token, at),
            },
            Fact::TooBig { datagram_len } => {
                let now = self.desk.clock.now();
                self.machine.handle_too_big(datagram_len, now);
            }
            Fact::Ask(Ask::Rate {
                target_bps,
                min_bps,
            }) => {
                let now = self.desk.clock.now();
                self.machine.set_rate(target_bps, min_bps, now);
            }
            Fact::Ask(Ask::Policy(policy)) => {
                self.machine.set_policy(policy, self.desk.clock.now())?;
            }
            Fact::Ask(Ask::Had(Had { ranges, judged })) => {
                let now = self.desk.clock.now();
                self.machine.handle_had(&ranges, judged, now);
            }
            Fact::Ask(Ask::Stop) => self.stopping = true,
            Fact::Failed(error) => return Err(error),
            // Facts of a receiving line.
            Fact::Arrived(_)
            | Fact::Sync { .. }
            | Fact::Written(_)
            | Fact::Had(_)
            | Fact::File(_)
            | Fact::Change(_)
            | Fact::Complete(_) => {}
        }
        Ok(())
    }

    fn carry_out(&mut self, now: Time) -> Result<(), EngineError> {
        if let Some(failure) = self.machine.failure() {
            return Err(failure.into());
        }
        self.release();
        while self.outstanding < SEND_BUFFERS
            && let Some(plan) = self.machine.poll_plan(now)
        {
            // The reading stage has told why when it is gone.
            if self.plans.send(plan).is_ok() {
                self.outstanding += 1;
            }
        }
        while let Some(sync) = self.machine.poll_sync(now) {
            self.desk.send_path(Kind::Sync, &sync)?;
        }
        while let Some(probe) = self.machine.poll_probe(now) {
            self.desk.send_probe(probe)?;
        }
        if self.machine.is_delivered() && !self.delivered {
            self.delivered = true;
            self.post();
            self.desk.tell(EngineEvent::Delivered);
        }
        Ok(())
    }

    fn post(&mut self) {
        while let Some(decision) = self.machine.poll_trace() {
            self.desk.tell(EngineEvent::Decided(decision));
        }
        while let Some(event) = self.outgoing.poll_event() {
            self.desk.tell(EngineEvent::File(event));
        }
        let stats = self.machine.stats();
        let (sender, datagram_len) = (Some(stats), stats.datagram_len);
        self.desk.post(Snapshot {
            sender,
            datagram_len,
            ..Snapshot::default()
        });
    }
}

fn take_in(machine: &mut haul_flow::Sender, available: Available) {
    machine.handle_available(Stream::List, available.list_blocks);
    machine.handle_available(Stream::Content, available.content_blocks);
    if available.complete {
        machine.handle_complete();
    }
}
