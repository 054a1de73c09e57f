//! One sender and one receiver in virtual time, with a path between them that misbehaves as told.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use haul_flow::{FlowError, Plan, Policy, Receiver, ReceiverConfig, Sender, SenderConfig, Time};
use haul_wire::{BlockAddr, PacketNo, Part, Report, SEGMENT_OVERHEAD, Stream, path::Sync};

pub const SEGMENT_LEN: usize = 1_440;
pub const BLOCK_LEN: usize = SEGMENT_LEN - SEGMENT_OVERHEAD;

/// What the path does to datagrams. Times are of the virtual clock.
#[derive(Clone)]
pub struct Path {
    pub delay: Duration,
    /// Added to `delay` for reports.
    pub report_delay: Duration,
    /// Batches leave late by up to this, each by itself, so that they overtake one another.
    pub host_jitter: Duration,
    /// Chance that a data packet is lost.
    pub loss: f64,
    /// Chance that a report or synchronisation is lost.
    pub control_loss: f64,
    /// Chance that a data packet is held up by `late_by`, and so overtaken.
    pub late: f64,
    pub late_by: Duration,
    /// Chance that a data packet arrives twice.
    pub duplicate: f64,
    /// Nothing at all passes, in either direction.
    pub blackhole: Option<(Time, Time)>,
    /// No data passes.
    pub deaf: Option<(Time, Time)>,
    /// While it lasts, no datagram longer than this passes towards the receiver.
    pub narrow: Option<(Time, Time, usize)>,
    /// Data packets and bytes that pass no faster than this, with `buffer` bytes of queue.
    pub bottleneck: Option<(f64, u64)>,
}

impl Path {
    pub fn clean(rtt_ms: u64) -> Self {
        Self {
            delay: Duration::from_micros(rtt_ms * 500),
            report_delay: Duration::ZERO,
            host_jitter: Duration::ZERO,
            loss: 0.0,
            control_loss: 0.0,
            late: 0.0,
            late_by: Duration::ZERO,
            duplicate: 0.0,
            blackhole: None,
            deaf: None,
            narrow: None,
            bottleneck: None,
        }
    }
}

/// Seeded dice (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn hits(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.unit() < chance
    }
}

enum Event {
    Release(Box<Plan>),
    Data(PacketNo, BlockAddr, usize),
    Report(Vec<u8>),
    Sync(Sync),
    Echo(u64),
}

/// What came of the data at the far end, and what it cost.
#[derive(Default)]
pub struct Tally {
    /// Times each block was sent.
    pub sent: BTreeMap<BlockAddr, u64>,
    pub blocks: HashSet<BlockAddr>,
    pub duplicate_blocks: u64,
    /// Data packets the path did not deliver.
    pub lost: u64,
    pub report_bytes: u64,
    pub reports: u64,
    pub first_sent_at: Option<Time>,
    /// When the last block was sent for the first time, and when the last arrived.
    pub last_first_sent_at: Time,
    pub complete_at: Option<Time>,
    pub delivered_at: Option<Time>,
    pub arrived_at: Vec<Time>,
    /// Bytes of data sent per 100 ms.
    pub sent_bytes: BTreeMap<u64, u64>,
}

pub struct World {
    pub now: Time,
    pub sender: Sender,
    pub receiver: Receiver,
    pub path: Path,
    pub tally: Tally,
    /// Bytes the receiver says it can buffer.
    pub free_bytes: u64,
    /// Data packets lost on purpose, each once.
    pub doomed: BTreeSet<u64>,
    /// Content blocks that the receiver was said to have.
    pub told: HashSet<u64>,
    /// Content blocks that were planned.
    pub planned: HashSet<u64>,
    /// No content block from here on may be planned.
    judged: u64,
    dice: Dice,
    events: BTreeMap<Reverse<(Time, u64)>, Event>,
    next_event: u64,
    seen: HashSet<PacketNo>,
    link_free_at: Time,
    /// Bytes that blocks lack which have come in part.
    missing: BTreeMap<BlockAddr, BTreeSet<usize>>,
    total: u64,
    seed: u64,
}

pub fn config(policy: Policy, rate_bps: Option<u64>, rtt: Duration, seed: u64) -> SenderConfig {
    SenderConfig {
        segment_len: SEGMENT_LEN,
        segments_per_batch_max: 45,
        policy,
        rate_target_bps: rate_bps,
        rate_min_bps: 0,
        initial_rtt: rtt,
        remembered: None,
        free_bytes_initial: 64 << 20,
        carried_bytes: None,
        waits_for_judgement: false,
        ecn: false,
        seed,
    }
}

impl World {
    /// A transfer of two list blocks and `content` content blocks at a fixed rate.
    pub fn fixed(path: Path, rate_bps: u64, content: u64, seed: u64) -> Self {
        let config = config(Policy::Fixed, Some(rate_bps), path.delay * 2, seed);
        let mut world = Self::new(path, config, seed);
        world.sender.handle_available(Stream::List, 2);
        world.sender.handle_available(Stream::Content, content);
        world.sender.handle_complete();
        world.total = content + 2;
        world
    }

    pub fn new(path: Path, config: SenderConfig, seed: u64) -> Self {
        let receiver = ReceiverConfig {
            segment_len: SEGMENT_LEN,
            initial_rtt: path.delay * 2,
            free_bytes_initial: config.free_bytes_initial,
        };
        Self {
            now: Time::ZERO,
            sender: Sender::new(config, Time::ZERO).unwrap(),
            receiver: Receiver::new(receiver, Time::ZERO),
            path,
            tally: Tally::default(),
            free_bytes: config.free_bytes_initial,
            doomed: BTreeSet::new(),
            told: HashSet::new(),
            planned: HashSet::new(),
            judged: if config.waits_for_judgement {
                0
            } else {
                u64::MAX
            },
            dice: Dice::new(seed),
            events: BTreeMap::new(),
            next_event: 0,
            seen: HashSet::new(),
            link_free_at: Time::ZERO,
            missing: BTreeMap::new(),
            total: u64::MAX,
            seed,
        }
    }

    /// Runs until everything is delivered and known to be, the sender fails, or `until`.
    pub fn run(&mut self, until: Time) -> Result<(), FlowError> {
        let mut rounds_without_time = 0;
        loop {
            self.poll();
            if let Some(failure) = self.sender.failure() {
                return Err(failure);
            }
            if self.sender.is_delivered() {
                self.tally.delivered_at.get_or_insert(self.now);
                return Ok(());
            }
            let next = self
                .events
                .last_key_value()
                .map(|(Reverse((at, _)), _)| *at);
            let timers = [self.sender.poll_timeout(), self.receiver.poll_timeout()];
            let next = timers.into_iter().flatten().chain(next).min().unwrap();
            if next > until {
                self.now = until;
                return Ok(());
            }
            if next <= self.now {
                rounds_without_time += 1;
                assert!(rounds_without_time < 10_000, "stuck, seed {}", self.seed);
            } else {
                rounds_without_time = 0;
            }
            self.now = self.now.max(next);
            self.step()?;
        }
    }

    fn step(&mut self) -> Result<(), FlowError> {
        while let Some(entry) = self.events.last_entry() {
            if entry.key().0.0 > self.now {
                break;
            }
            match entry.remove() {
                Event::Release(plan) => self.release(&plan),
                Event::Data(packet, block, len) => self.arrive(packet, block, len),
                Event::Report(bytes) => {
                    let report = Report::decode(&bytes).unwrap();
                    self.sender.handle_report(&report, self.now)?;
                }
                Event::Sync(sync) => self.receiver.handle_sync(&sync, self.now),
                Event::Echo(token) => self.sender.handle_echo(token, self.now),
            }
        }
        self.sender.handle_timeout(self.now);
        self.receiver.handle_timeout(self.now);
        Ok(())
    }

    fn poll(&mut self) {
        while let Some(plan) = self.sender.poll_plan(self.now) {
            assert_eq!(plan.run.len(), plan.blocks.len());
            assert!(plan.release_at <= self.now + Duration::from_millis(2));
            self.check_planned(&plan);
            let jitter = self.path.host_jitter.mul_f64(self.dice.unit());
            let at = plan.release_at.max(self.now) + jitter;
            self.schedule(at, Event::Release(Box::new(plan)));
        }
        while let Some(sync) = self.sender.poll_sync(self.now) {
            if !self.is_lost(self.path.control_loss) {
                self.schedule(self.now + self.path.delay, Event::Sync(sync));
            }
        }
        while let Some(probe) = self.sender.poll_probe(self.now) {
            let is_too_long = self.is_too_long(usize::from(probe.datagram_len));
            if !is_too_long && !self.is_lost(self.path.control_loss) {
                let at = self.now + self.path.delay * 2 + self.path.report_delay;
                self.schedule(at, Event::Echo(probe.token));
            }
        }
        while let Some(report) = self.receiver.poll_report(self.now) {
            let mut bytes = vec![0; 1_100];
            let len = report.encode(&mut bytes).expect("fits");
            bytes.truncate(len);
            assert_eq!(Report::decode(&bytes).unwrap(), report);
            self.tally.report_bytes += len as u64;
            self.tally.reports += 1;
            if !self.is_lost(self.path.control_loss) {
                let delay = self.path.delay + self.path.report_delay;
                self.schedule(self.now + delay, Event::Report(bytes));
            }
        }
    }

    /// The receiver has these blocks from before, and has judged all below `judged`.
    pub fn tell(&mut self, ranges: &[(u64, u64)], judged: u64) {
        let blocks = ranges.iter().flat_map(|(start, end)| *start..*end);
        self.told.extend(blocks);
        self.judged = self.judged.max(judged);
        self.sender.handle_had(ranges, judged, self.now);
    }

    fn check_planned(&mut self, plan: &Plan) {
        let content = plan.blocks.iter();
        for block in content.filter(|block| block.stream == Stream::Content) {
            let block = block.block.0;
            assert!(!self.told.contains(&block), "told, seed {}", self.seed);
            assert!(block < self.judged, "not judged, seed {}", self.seed);
            self.planned.insert(block);
        }
    }

    fn release(&mut self, plan: &Plan) {
        let first = plan.run.first();
        self.sender.handle_sent(first, plan.run.len(), self.now);
        let bytes = (plan.run.len() * plan.datagram_len) as u64;
        *self
            .tally
            .sent_bytes
            .entry(self.now.0 / 100_000_000)
            .or_default() += bytes;
        self.tally.first_sent_at.get_or_insert(self.now);
        for (offset, block) in plan.blocks.iter().enumerate() {
            let sent = self.tally.sent.entry(*block).or_default();
            *sent += 1;
            if *sent == 1 {
                self.tally.last_first_sent_at = self.now;
            }
            let packet = PacketNo(first.0 + offset as u64);
            self.forward(packet, *block, plan.datagram_len);
        }
    }

    fn forward(&mut self, packet: PacketNo, block: BlockAddr, len: usize) {
        let is_deaf = self
            .path
            .deaf
            .is_some_and(|(from, to)| (from..to).contains(&self.now));
        let is_doomed = self.doomed.remove(&packet.0);
        if is_doomed || is_deaf || self.is_too_long(len) || self.is_lost(self.path.loss) {
            self.tally.lost += 1;
            return;
        }
        let mut at = self.now;
        if let Some((rate_bps, buffer)) = self.path.bottleneck {
            let airtime = Duration::from_secs_f64(len as f64 * 8.0 / rate_bps);
            let begin = self.link_free_at.max(self.now);
            if (begin - self.now).as_secs_f64() * rate_bps / 8.0 > buffer as f64 {
                self.tally.lost += 1;
                return;
            }
            self.link_free_at = begin + airtime;
            at = self.link_free_at;
        }
        at += self.path.delay;
        if self.dice.hits(self.path.late) {
            at += self.path.late_by;
        }
        self.schedule(at, Event::Data(packet, block, len));
        if self.dice.hits(self.path.duplicate) {
            self.schedule(
                at + Duration::from_millis(1),
                Event::Data(packet, block, len),
            );
        }
    }

    fn arrive(&mut self, packet: PacketNo, block: BlockAddr, len: usize) {
        // Opening would refuse the second as a replay.
        if !self.seen.insert(packet) {
            return;
        }
        self.receiver.handle_packet(packet, len, self.now);
        self.tally.arrived_at.push(self.now);
        let fresh = self.take(block);
        let duplicate = u64::from(fresh == 0);
        self.tally.duplicate_blocks += duplicate;
        self.receiver.handle_written(fresh as u64, duplicate);
        self.receiver.handle_free(self.free_bytes);
        if self.tally.blocks.len() as u64 == self.total {
            self.tally.complete_at.get_or_insert(self.now);
        }
    }

    /// Enters what of the block has come; returns how many bytes of it are new.
    fn take(&mut self, block: BlockAddr) -> usize {
        let whole = block.with_part(Part::WHOLE);
        if self.tally.blocks.contains(&whole) {
            return 0;
        }
        let missing = self.missing.remove(&whole);
        if block == whole {
            self.tally.blocks.insert(whole);
            return missing.map_or(BLOCK_LEN, |missing| missing.len());
        }
        let mut missing = missing.unwrap_or_else(|| (0..BLOCK_LEN).collect());
        let before = missing.len();
        let range = block.part.range(BLOCK_LEN);
        missing.retain(|byte| !range.contains(byte));
        let fresh = before - missing.len();
        if missing.is_empty() {
            self.tally.blocks.insert(whole);
        } else {
            self.missing.insert(whole, missing);
        }
        fresh
    }

    fn is_too_long(&self, len: usize) -> bool {
        let narrow = self.path.narrow;
        narrow.is_some_and(|(from, to, most)| (from..to).contains(&self.now) && len > most)
    }

    fn is_lost(&mut self, chance: f64) -> bool {
        let hole = self.path.blackhole;
        hole.is_some_and(|(from, to)| (from..to).contains(&self.now)) || self.dice.hits(chance)
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.next_event += 1;
        self.events.insert(Reverse((at, self.next_event)), event);
    }

    /// Packets sent beyond one per block and one per loss of the path.
    pub fn repeats(&self) -> u64 {
        let sent: u64 = self.tally.sent.values().sum();
        sent.saturating_sub(self.tally.sent.len() as u64 + self.tally.lost)
    }

    /// Packets sent per block.
    pub fn transmissions(&self) -> f64 {
        let sent: u64 = self.tally.sent.values().sum();
        sent as f64 / self.tally.sent.len() as f64
    }
}
