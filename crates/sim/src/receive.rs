use std::collections::VecDeque;

use haul_flow::{Receiver, ReceiverConfig, Time};
use haul_wire::{
    PacketNo,
    path::{self, Echo},
};

use crate::{
    clock::ClockConfig,
    content::{BlockSet, Body, open_body},
    datagram::{Datagram, REPORT_BODY_MAX, soonest},
    disk::Disk,
    fact::Fact,
    link::LossCause,
    numbers::NumberSet,
    observer::Observer,
    scenario::Scenario,
    violation::Violation,
};

/// The receiving host: a buffer and a writing stage behind the receiver under test, which lives by
/// a clock of its own.
#[derive(Debug)]
pub(crate) struct ReceivingHost {
    machine: Receiver,
    clock: ClockConfig,
    disk: Disk,
    arrived: BlockSet,
    numbers: NumberSet,
    block_len: usize,
    /// Answers to probes, to be sent at once.
    echoes: VecDeque<Echo>,
    held: (u64, u64),
}

impl ReceivingHost {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let config = ReceiverConfig {
            segment_len: scenario.segment_len(),
            initial_rtt: scenario.initial_rtt,
            free_bytes_initial: scenario.disk.buffer_bytes,
        };
        let clock = scenario.receiver_clock;
        Self {
            machine: Receiver::new(config, clock.local(Time::ZERO)),
            clock,
            disk: Disk::new(scenario.disk.clone()),
            arrived: BlockSet::new(&scenario.content),
            numbers: NumberSet::default(),
            block_len: scenario.block_len(),
            echoes: VecDeque::new(),
            held: (0, 0),
        }
    }

    /// The receiver under test, for its statistics.
    pub(crate) fn machine(&self) -> &Receiver {
        &self.machine
    }

    /// Blocks that have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let machine = self.machine.poll_timeout();
        soonest([
            self.disk.poll_timeout(),
            machine.map(|local| self.clock.world(local)),
        ])
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time, observer: &mut Observer<'_>) {
        while let Some(written) = self.disk.poll_written(now) {
            observer.note(now, Fact::Wrote(written));
            let bytes = written.fresh_bytes;
            self.machine.handle_written(bytes, written.duplicate_blocks);
            self.machine.handle_free(self.disk.free_bytes());
        }
        let local = self.clock.local(now);
        if self.machine.poll_timeout().is_some_and(|due| due <= local) {
            self.machine.handle_timeout(local);
        }
        self.look(now, observer);
    }

    /// An intact datagram from the sender.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &Datagram,
        now: Time,
        observer: &mut Observer<'_>,
    ) {
        let local = self.clock.local(now);
        match datagram {
            Datagram::Data { packet, body, len } => {
                self.take_in(*packet, body, *len, now, observer);
            }
            Datagram::Sync(body) => match path::decode("sync", body) {
                Ok(sync) => self.machine.handle_sync(&sync, local),
                Err(error) => observer.violated(Violation::Undecodable(error)),
            },
            Datagram::Probe(probe) => self.echoes.push_back(Echo { token: probe.token }),
            Datagram::Report(_) | Datagram::Echo(_) => (),
        }
        self.look(now, observer);
    }

    /// A data packet: refused when it came before, as opening it would, or when it finds no room.
    fn take_in(
        &mut self,
        packet: PacketNo,
        body: &Body,
        len: usize,
        now: Time,
        observer: &mut Observer<'_>,
    ) {
        let refused = if self.numbers.contains(packet.0) {
            Some(LossCause::Replay)
        } else if self.disk.free_bytes() < self.block_len as u64 {
            Some(LossCause::Overrun)
        } else {
            None
        };
        if let Some(cause) = refused {
            observer.note(now, Fact::Lost { packet, cause });
            return;
        }
        self.numbers.insert(packet.0);
        let body = *body;
        observer.note(now, Fact::Arrived { packet, body });
        let fresh = match open_body(&body) {
            Ok((addr, _)) => self.arrived.insert(addr),
            Err(error) => return observer.violated(Violation::Undecodable(error)),
        };
        self.disk.accept(self.block_len, fresh, now);
        self.machine.handle_free(self.disk.free_bytes());
        self.machine
            .handle_packet(packet, len, self.clock.local(now));
    }

    /// The next datagram that enters the network.
    pub(crate) fn poll_datagram(
        &mut self,
        now: Time,
        observer: &mut Observer<'_>,
    ) -> Option<Datagram> {
        if let Some(echo) = self.echoes.pop_front() {
            return Some(Datagram::Echo(echo));
        }
        let report = self.machine.poll_report(self.clock.local(now))?;
        let seq = report.seq;
        let mut body = vec![0; REPORT_BODY_MAX];
        let Some(len) = report.encode(&mut body) else {
            observer.note(now, Fact::ReportTooLong { seq });
            return None;
        };
        body.truncate(len);
        let bytes = len as u64;
        observer.note(now, Fact::Reported { seq, bytes });
        Some(Datagram::Report(body))
    }

    fn look(&mut self, now: Time, observer: &mut Observer<'_>) {
        let buffered_bytes = self.disk.buffered_bytes();
        let ranges = self.machine.stats().ranges as u64;
        if self.held != (buffered_bytes, ranges) {
            self.held = (buffered_bytes, ranges);
            observer.note(
                now,
                Fact::Holds {
                    buffered_bytes,
                    ranges,
                },
            );
        }
    }
}
