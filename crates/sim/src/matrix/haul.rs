//! A haul flow: both machines under test, without disk and without checkers.

use std::collections::VecDeque;

use haul_flow::{Receiver, ReceiverConfig, Sender, SenderConfig, Time};
use haul_wire::{PacketNo, Report, Stream, block_len, path::Sync, segment_len};

use super::{
    readings::Series,
    world::{FlowSetup, Load, Parcel, Who},
};
use crate::{
    clock::ClockConfig,
    content::{BlockSet, Content},
    datagram::soonest,
    rng::Rng,
    tx::Tx,
};

/// Headers of IPv4 and UDP, which count at the bottleneck.
const IP_UDP_LEN: usize = 28;
/// A sync on the wire.
const SYNC_LEN: u32 = 100;
/// The receiver's buffer: beyond what any path of the matrix holds.
const BUFFER_BYTES: u64 = 1 << 36;
/// Blocks of a flow without end.
const ENDLESS: u64 = 1 << 40;
/// How late a timer of the sending host fires at most.
const LATENESS_MAX: std::time::Duration = std::time::Duration::from_micros(60);

#[derive(Debug)]
pub(super) struct Haul {
    sender: Sender,
    receiver: Receiver,
    clock: ClockConfig,
    tx: Tx,
    segment_len: usize,
    begin: Time,
    has_begun: bool,
    blocks: Option<u64>,
    arrived: Option<BlockSet>,
    finished_at: Option<Time>,
    failed: bool,
    floor_max: f64,
    /// Syncs under way, the oldest with this ordinal.
    syncs: VecDeque<Sync>,
    first_sync: u64,
    /// Tokens of probes that the receiver has to answer.
    echoes: VecDeque<u64>,
    /// What is on its way back.
    pub(super) answers: VecDeque<Answer>,
}

/// What the receiver says.
#[derive(Debug)]
pub(super) enum Answer {
    Report(Report),
    Echo(u64),
}

impl Haul {
    pub(super) fn new(flow: &FlowSetup, begin: Time, rng: &Rng) -> Self {
        let Who::Haul {
            policy,
            target_bps,
            datagram_len,
            blocks,
        } = flow.who
        else {
            unreachable!("the caller matched");
        };
        let segment_len = segment_len(block_len(datagram_len));
        let config = SenderConfig {
            ecn: false,
            segment_len,
            segments_per_batch_max: 45,
            policy,
            rate_target_bps: target_bps,
            rate_min_bps: 0,
            initial_rtt: flow.rtt,
            remembered: None,
            carried_bytes: None,
            waits_for_judgement: false,
            free_bytes_initial: BUFFER_BYTES,
            seed: rng.fork(1).bits(),
        };
        let clock = ClockConfig {
            offset_ns: 3_000_000_000,
            drift_ppm: 20,
        };
        let receiver = ReceiverConfig {
            segment_len,
            initial_rtt: flow.rtt,
            free_bytes_initial: BUFFER_BYTES,
        };
        let content = blocks.map(|content_blocks| Content {
            seed: 0,
            list_blocks: 0,
            content_blocks,
        });
        #[expect(clippy::expect_used, reason = "the rows' configurations are constants")]
        let sender = Sender::new(config, begin).expect("a configuration of the matrix");
        Self {
            sender,
            receiver: Receiver::new(receiver, clock.local(begin)),
            clock,
            tx: Tx::new(LATENESS_MAX, rng.fork(2)),
            segment_len,
            begin,
            has_begun: false,
            blocks,
            arrived: content.map(|content| BlockSet::new(&content)),
            finished_at: None,
            failed: false,
            floor_max: 0.0,
            syncs: VecDeque::new(),
            first_sync: 0,
            echoes: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Time {
        if !self.has_begun {
            return self.begin;
        }
        let receiver = self.receiver.poll_timeout();
        let sender = self.sender.poll_timeout().filter(|_| !self.failed);
        let timers = [
            sender,
            self.tx.poll_timeout(),
            receiver.map(|local| self.clock.world(local)),
        ];
        soonest(timers).unwrap_or(Time::MAX)
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<Parcel>) {
        if !self.has_begun {
            self.has_begun = true;
            let blocks = self.blocks.unwrap_or(ENDLESS);
            self.sender.handle_available(Stream::Content, blocks);
            if self.blocks.is_some() {
                self.sender.handle_complete();
            }
        }
        while let Some(plan) = self.tx.poll_departure(now) {
            let first = plan.run.first();
            for (number, addr) in (first.0..).zip(&plan.blocks) {
                let block = addr.block.0;
                out.push(Parcel {
                    load: Load::Data { number, block },
                    bytes: (self.segment_len + IP_UDP_LEN) as u32,
                    sent_at: now,
                });
            }
            self.sender.handle_sent(first, plan.run.len(), now);
        }
        if self.sender.poll_timeout().is_some_and(|due| due <= now) {
            self.sender.handle_timeout(now);
        }
        self.drain(now, out);
        let local = self.clock.local(now);
        if self.receiver.poll_timeout().is_some_and(|due| due <= local) {
            self.receiver.handle_timeout(local);
        }
    }

    /// Something arrived at the receiver.
    pub(super) fn handle_parcel(&mut self, load: Load, now: Time) {
        let local = self.clock.local(now);
        let (number, block) = match load {
            Load::Data { number, block } => (number, block),
            Load::Sync(ordinal) => return self.handle_sync(ordinal, local),
            Load::Probe(token) => return self.echoes.push_back(token),
        };
        self.receiver
            .handle_packet(PacketNo(number), self.segment_len, local);
        let block_len = self.segment_len - haul_wire::SEGMENT_OVERHEAD;
        let mut is_new = true;
        if let Some(arrived) = &mut self.arrived {
            is_new = arrived.insert(haul_wire::BlockAddr::content(block));
            if Some(arrived.len()) == self.blocks {
                self.finished_at.get_or_insert(now);
            }
        }
        let (fresh, duplicates) = if is_new { (block_len, 0) } else { (0, 1) };
        self.receiver.handle_written(fresh as u64, duplicates);
        self.receiver.handle_free(BUFFER_BYTES);
    }

    /// The sync with this ordinal arrived; those before it that did not are lost, or too late.
    fn handle_sync(&mut self, ordinal: u64, local: Time) {
        while self.first_sync <= ordinal {
            let Some(sync) = self.syncs.pop_front() else {
                return;
            };
            if self.first_sync == ordinal {
                self.receiver.handle_sync(&sync, local);
            }
            self.first_sync += 1;
        }
    }

    /// What the receiver says next.
    pub(super) fn poll_answer(&mut self, now: Time) -> Option<Answer> {
        if let Some(token) = self.echoes.pop_front() {
            return Some(Answer::Echo(token));
        }
        let local = self.clock.local(now);
        self.receiver.poll_report(local).map(Answer::Report)
    }

    /// The oldest answer under way arrives at the sender.
    pub(super) fn handle_answer(&mut self, now: Time, out: &mut Vec<Parcel>) {
        match self.answers.pop_front() {
            Some(Answer::Report(report)) => {
                self.failed |= self.sender.handle_report(&report, now).is_err();
            }
            Some(Answer::Echo(token)) => self.sender.handle_echo(token, now),
            None => return,
        }
        self.drain(now, out);
        self.floor_max = self.floor_max.max(self.sender.stats().loss_floor);
    }

    /// Whether a transfer with an end is over, or the sender gave up.
    pub(super) fn is_finished(&self) -> bool {
        self.failed || (self.blocks.is_some() && self.sender.is_delivered())
    }

    /// What only the machines know.
    pub(super) fn read(&self, series: &mut Series) {
        let stats = self.sender.stats();
        series.finished_s = self
            .finished_at
            .filter(|_| self.sender.is_delivered())
            .map(|at| (at - self.begin).as_secs_f64());
        series.duplicates = self
            .receiver
            .stats()
            .duplicate_blocks
            .max(stats.spurious_losses);
        series.loss_floor = stats.loss_floor;
        series.loss_floor_max = self.floor_max;
        series.failed = self.failed;
    }

    fn drain(&mut self, now: Time, out: &mut Vec<Parcel>) {
        self.failed |= self.sender.failure().is_some();
        if self.failed {
            return;
        }
        while let Some(plan) = self.sender.poll_plan(now) {
            self.tx.handle_plan(plan, now);
        }
        while let Some(sync) = self.sender.poll_sync(now) {
            let ordinal = self.first_sync + self.syncs.len() as u64;
            self.syncs.push_back(sync);
            out.push(Parcel {
                load: Load::Sync(ordinal),
                bytes: SYNC_LEN,
                sent_at: now,
            });
        }
        while let Some(probe) = self.sender.poll_probe(now) {
            out.push(Parcel {
                load: Load::Probe(probe.token),
                bytes: u32::from(probe.datagram_len) + IP_UDP_LEN as u32,
                sent_at: now,
            });
        }
    }
}
