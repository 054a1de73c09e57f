use std::collections::VecDeque;

use haul_flow::{Plan, Sender, SenderConfig, Time};
use haul_wire::{BlockAddr, PacketNo, Report, Stream, path};

use crate::{
    content::Content,
    datagram::{Datagram, soonest},
    fact::{Fact, Gauges, Planned},
    observer::Observer,
    rng::Rng,
    scenario::Scenario,
    source::Source,
    tx::Tx,
    violation::Violation,
};

/// Most segments a simulated batch holds, as in a real one.
const BATCH_SEGMENTS: usize = 45;

/// The sending host: source and sending stage around the sender under test, driven as its
/// documentation says.
#[derive(Debug)]
pub(crate) struct SendingHost {
    machine: Sender,
    source: Source,
    tx: Tx,
    content: Content,
    segment_len: usize,
    outbox: VecDeque<Datagram>,
    gauges: Gauges,
    delivered: bool,
    failed: bool,
}

impl SendingHost {
    pub(crate) fn new(scenario: &Scenario, rng: &Rng) -> Result<Self, Violation> {
        let config = SenderConfig {
            segment_len: scenario.segment_len(),
            segments_per_batch_max: BATCH_SEGMENTS,
            policy: scenario.policy,
            rate_target_bps: scenario.rate_target_bps,
            rate_min_bps: 0,
            initial_rtt: scenario.initial_rtt,
            remembered: None,
            carried_bytes: None,
            waits_for_judgement: false,
            free_bytes_initial: scenario.disk.buffer_bytes,
            ecn: false,
            seed: rng.fork(1).bits(),
        };
        Ok(Self {
            machine: Sender::new(config, Time::ZERO).map_err(Violation::Refused)?,
            source: Source::new(scenario.source.clone(), scenario.content),
            tx: Tx::new(scenario.lateness_max, rng.fork(2)),
            content: scenario.content,
            segment_len: scenario.segment_len(),
            outbox: VecDeque::new(),
            gauges: Gauges::default(),
            delivered: false,
            failed: false,
        })
    }

    /// The sender under test, for its statistics.
    pub(crate) fn machine(&self) -> &Sender {
        &self.machine
    }

    /// Whether the sender says that everything has arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered
    }

    /// Whether the sender has given up.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let timers = [
            self.source.poll_timeout(),
            self.tx.poll_timeout(),
            self.machine.poll_timeout(),
        ];
        soonest(timers)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time, observer: &mut Observer<'_>) {
        while let Some(known) = self.source.poll_known(now) {
            observer.note(now, Fact::Known(known));
            self.machine
                .handle_available(Stream::List, known.list_blocks);
            self.machine
                .handle_available(Stream::Content, known.content_blocks);
            if known.complete {
                self.machine.handle_complete();
            }
        }
        while let Some(plan) = self.tx.poll_departure(now) {
            self.depart(plan, now, observer);
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
        }
        self.drain(now, observer);
    }

    /// An intact datagram from the receiver.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &Datagram,
        now: Time,
        observer: &mut Observer<'_>,
    ) {
        let body = match datagram {
            Datagram::Report(body) => body,
            Datagram::Echo(echo) => {
                self.machine.handle_echo(echo.token, now);
                return self.drain(now, observer);
            }
            _ => return,
        };
        match Report::decode(body) {
            Ok(report) => {
                observer.note(now, Fact::Heard { seq: report.seq });
                if let Err(error) = self.machine.handle_report(&report, now) {
                    self.fail(error, now, observer);
                }
            }
            Err(error) => observer.violated(Violation::Undecodable(error)),
        }
        self.drain(now, observer);
    }

    /// The next datagram that enters the network.
    pub(crate) fn poll_datagram(&mut self) -> Option<Datagram> {
        self.outbox.pop_front()
    }

    fn depart(&mut self, plan: Plan, now: Time, observer: &mut Observer<'_>) {
        let first = plan.run.first();
        for (packet, addr) in (first.0..).map(PacketNo).zip(plan.blocks.iter().copied()) {
            let bytes = plan.datagram_len as u64;
            observer.note(
                now,
                Fact::Sent {
                    packet,
                    addr,
                    bytes,
                },
            );
            self.outbox
                .push_back(self.data(packet, addr, plan.datagram_len));
        }
        self.machine.handle_sent(first, plan.run.len(), now);
    }

    fn data(&self, packet: PacketNo, addr: BlockAddr, len: usize) -> Datagram {
        Datagram::Data {
            packet,
            body: self.content.body(addr),
            len,
        }
    }

    /// Takes from the machine whatever it has to give, and looks at what it says of itself.
    fn drain(&mut self, now: Time, observer: &mut Observer<'_>) {
        self.gauge(now, observer);
        while let Some(plan) = self.machine.poll_plan(now) {
            let planned = Planned {
                first: plan.run.first(),
                count: plan.run.len() as u64,
                bytes: (plan.run.len() * plan.datagram_len) as u64,
                release_at: plan.release_at,
                gap: plan.gap,
            };
            observer.note(now, Fact::Planned(planned));
            self.tx.handle_plan(plan, now);
        }
        while let Some(sync) = self.machine.poll_sync(now) {
            let mut body = vec![0; 32];
            let len = path::encode(&sync, &mut body).unwrap_or(0);
            body.truncate(len);
            observer.note(now, Fact::Synced);
            self.outbox.push_back(Datagram::Sync(body));
        }
        while let Some(probe) = self.machine.poll_probe(now) {
            self.outbox.push_back(Datagram::Probe(probe));
        }
        self.gauge(now, observer);
        if self.machine.is_delivered() && !self.delivered {
            self.delivered = true;
            observer.note(now, Fact::Delivered);
        }
        if let Some(error) = self.machine.failure() {
            self.fail(error, now, observer);
        }
    }

    fn fail(&mut self, error: haul_flow::FlowError, now: Time, observer: &mut Observer<'_>) {
        if !self.failed {
            self.failed = true;
            observer.note(now, Fact::Failed(error));
        }
    }

    fn gauge(&mut self, now: Time, observer: &mut Observer<'_>) {
        let stats = self.machine.stats();
        let gauges = Gauges {
            rate_bps: stats.rate_bps as u64,
            in_flight_bytes: stats.in_flight_bytes,
            credit_bytes: stats.credit_bytes,
            pto_count: stats.pto_count,
            planned_bytes: self.tx.waiting_bytes(self.segment_len),
            list_floor: self.machine.delivered_floor(Stream::List).0,
            content_floor: self.machine.delivered_floor(Stream::Content).0,
        };
        if gauges != self.gauges {
            self.gauges = gauges;
            observer.note(now, Fact::Gauged(gauges));
        }
    }
}
