use haul_batch::{CAPACITY, Pool};
use haul_disk::Received;
use haul_flow::Time;
use haul_udp::Ecn;
use haul_wire::{Kind, Lane, PacketCounter};

use super::{Arrived, Ask, Desk, Driver, Fact, drive};
use crate::{EngineError, EngineEvent, Snapshot};

/// Drives the receiving machine: arrivals and writes go in, reports come out.
pub(crate) struct ReceiveDriver {
    desk: Desk,
    machine: haul_flow::Receiver,
    /// Buffers of the line: the free ones are the credit.
    pool: Pool,
    /// Numbers of the reports.
    counter: PacketCounter,
    content_bytes: u64,
    /// Length of the datagrams that came last.
    datagram_len: usize,
    received: Option<Received>,
    stopping: bool,
}

impl ReceiveDriver {
    pub(crate) fn new(desk: Desk, machine: haul_flow::Receiver, pool: Pool) -> Self {
        Self {
            desk,
            machine,
            pool,
            counter: PacketCounter::new(),
            content_bytes: 0,
            datagram_len: 0,
            received: None,
            stopping: false,
        }
    }

    pub(crate) fn run(self) -> Option<Received> {
        Desk::guard(self, |driver| &mut driver.desk, drive).received
    }

    fn report(&mut self, now: Time) -> Result<(), EngineError> {
        self.machine.handle_free(self.free_bytes());
        self.machine.handle_rekey_wanted(self.desk.rekey_wanted());
        while let Some(report) = self.machine.poll_report(now) {
            let run = self
                .counter
                .take(1)
                .ok_or(haul_flow::FlowError::NumbersExhausted)?;
            self.desk
                .send_small(Kind::Report, Lane::DATA, run, |out| report.encode(out))?;
        }
        Ok(())
    }

    /// What the sender may have in flight must fit where it waits while no thread of ours runs: in
    /// the kernel's buffer, half of which its own bookkeeping may take. How much of the line's own
    /// buffers is free says whether the disk keeps up: the credit shrinks with it, well before the
    /// last one is gone.
    fn free_bytes(&self) -> u64 {
        let capacity = (self.desk.socket_buffer() / 2).min(self.pool.total() * CAPACITY);
        (capacity as u64) * (self.pool.free() as u64) / (self.pool.total() as u64)
    }
}

impl Driver for ReceiveDriver {
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
            Fact::Arrived(arrived) => {
                self.desk.peer_heard();
                self.datagram_len = arrived.datagram_len;
                take_in(&mut self.machine, &arrived);
            }
            Fact::Sync { sync, at } => {
                // A sync answers reports. Those of the epoch before may be meant, but epochs are
                // an hour apart and syncs an RTT.
                self.desk.peer_follows();
                self.machine.handle_sync(&sync, at);
            }
            Fact::Stranger { route, bytes, at } => self.desk.challenge(route, bytes, at)?,
            Fact::Probe { token, to } => self.desk.answer(token, to)?,
            Fact::Echo { token, at } => {
                self.desk.peer_moved(token, at);
            }
            Fact::Written(placed) => {
                self.content_bytes += placed.content_bytes;
                self.machine
                    .handle_written(placed.written_bytes, placed.duplicate_blocks);
            }
            Fact::Had(had) => self.desk.tell(EngineEvent::Had(had)),
            Fact::File(event) => self.desk.tell(EngineEvent::File(event)),
            Fact::Change(change) => self.desk.tell(EngineEvent::Change(change)),
            Fact::Complete(all) => {
                self.received = Some(*all);
                self.desk.tell(EngineEvent::Complete);
            }
            Fact::Failed(error) => return Err(error),
            Fact::Ask(Ask::Stop) => self.stopping = true,
            // Facts of a sending line, and requests only a sender can follow.
            Fact::Ask(_)
            | Fact::Available(_)
            | Fact::Sent { .. }
            | Fact::TooBig { .. }
            | Fact::Report { .. } => {}
        }
        Ok(())
    }

    fn carry_out(&mut self, now: Time) -> Result<(), EngineError> {
        self.report(now)
    }

    fn post(&mut self) {
        let receiver = Some(self.machine.stats());
        let (content_bytes, datagram_len) = (self.content_bytes, self.datagram_len);
        self.desk.post(Snapshot {
            receiver,
            content_bytes,
            datagram_len,
            ..Snapshot::default()
        });
    }
}

fn take_in(machine: &mut haul_flow::Receiver, arrived: &Arrived) {
    for packet in &arrived.packets {
        machine.handle_packet(*packet, arrived.datagram_len, arrived.at);
    }
    machine.handle_epoch(arrived.epoch);
    let count = arrived.packets.len() as u64;
    match arrived.ecn {
        Some(Ecn::Able) => machine.handle_ect0(count),
        Some(Ecn::Congestion) => machine.handle_ce(count),
        None => {}
    }
}
