use std::sync::Arc;

use crossbeam_channel::Sender;
use haul_disk::{Available, Outgoing};
use haul_flow::{Plan, Time};
use haul_wire::{BlockNo, Kind, Stream};

use super::{Ask, Desk, Fact};
use crate::{EngineError, EngineEvent, Snapshot, setup::SEND_BUFFERS};

/// Drives the sending machine: plans go to the reading stage, facts come back.
pub(crate) struct SendDriver {
    desk: Desk,
    machine: haul_flow::Sender,
    outgoing: Arc<Outgoing>,
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
        outgoing: Arc<Outgoing>,
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
        let driver = Desk::guard(self, |driver| &mut driver.desk, Self::turn_until_stopped);
        driver.outgoing.stop();
    }

    fn turn_until_stopped(&mut self) -> Result<(), EngineError> {
        while !self.stopping {
            let now = self.desk.clock.now();
            if self.machine.poll_timeout().is_some_and(|at| at <= now) {
                self.machine.handle_timeout(now);
            }
            self.carry_out(now)?;
            if self.desk.handle_time(now)? {
                self.post();
            }
            let deadline = self.machine.poll_timeout();
            let Self {
                desk,
                machine,
                outstanding,
                stopping,
                ..
            } = self;
            desk.facts(deadline, |desk, fact| {
                handle(desk, machine, outstanding, stopping, fact)
            })?;
        }
        self.post();
        Ok(())
    }

    /// Whatever the machine wants done, until it wants nothing more.
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
        if self.machine.is_delivered() && !self.delivered {
            self.delivered = true;
            self.post();
            self.desk.tell(EngineEvent::Delivered);
        }
        Ok(())
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

    fn post(&mut self) {
        let sender = Some(self.machine.stats());
        self.desk.post(Snapshot {
            sender,
            ..Snapshot::default()
        });
    }
}

fn handle(
    desk: &mut Desk,
    machine: &mut haul_flow::Sender,
    outstanding: &mut usize,
    stopping: &mut bool,
    fact: Fact,
) -> Result<(), EngineError> {
    match fact {
        Fact::Available(available) => take_in(machine, available),
        Fact::Sent { first, count, at } => {
            *outstanding -= 1;
            machine.handle_sent(first, count, at);
        }
        Fact::Report { report, at } => {
            desk.peer_heard();
            machine.handle_report(&report, at)?;
        }
        Fact::Ask(Ask::Rate {
            target_bps,
            min_bps,
        }) => {
            machine.set_rate(target_bps, min_bps, desk.clock.now());
        }
        Fact::Ask(Ask::Policy(policy)) => machine.set_policy(policy, desk.clock.now())?,
        Fact::Ask(Ask::Stop) => *stopping = true,
        Fact::Failed(error) => return Err(error),
        // Facts of a receiving line.
        Fact::Arrived(_)
        | Fact::Sync { .. }
        | Fact::Written(_)
        | Fact::File(_)
        | Fact::Complete(_) => {}
    }
    Ok(())
}

fn take_in(machine: &mut haul_flow::Sender, available: Available) {
    machine.handle_available(Stream::List, available.list_blocks);
    machine.handle_available(Stream::Content, available.content_blocks);
    if available.complete {
        machine.handle_complete();
    }
}
