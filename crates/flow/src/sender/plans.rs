use std::time::Duration;

use arrayvec::ArrayVec;
use haul_wire::{BlockAddr, PacketNo, Part};

use super::{
    Sender,
    pacer::{LOOKAHEAD, Pacer},
};
use crate::{FlowError, PLAN_BLOCKS_MAX, Plan, Time};

/// Plans that have not left may hold this much airtime, or two batches: enough for a disk to seek,
/// little enough that a retransmission does not queue long behind them.
const BACKLOG: Duration = Duration::from_millis(20);
/// What leaves may be held up by what left before it for so long at most: nothing that is handed out
/// is released later than this, so a longer gap would only delay what a risen rate has released.
const GAP_MAX: Duration = LOOKAHEAD;

impl Sender {
    /// The next batch, at most 2 ms ahead of its release; `None` while the rate, the receiver's
    /// credit, the batches that have not left yet or a lack of blocks forbid one.
    pub fn poll_plan(&mut self, now: Time) -> Option<Plan> {
        let now = self.tick(now);
        if self.failure.is_some() {
            return None;
        }
        let work = &self.work;
        // They may have arrived since they were chosen.
        let probes = &mut self.recovery.probes;
        probes.retain(|block| !work.has_arrived(*block));
        if !probes.is_empty() {
            return self.plan_probes(now);
        }
        if self.timing.watch.is_stopped(&self.timing.rtt, now) {
            return None;
        }
        let rate_bps = self.rate_bps();
        if self.timing.pacer.next_release(rate_bps) > now + LOOKAHEAD {
            return None;
        }
        let burst = self.policy.burst_max();
        let count = self.segments_allowed();
        let mut blocks = ArrayVec::new();
        let mut again = ArrayVec::<_, PLAN_BLOCKS_MAX>::new();
        while blocks.len() < count {
            let Some((block, is_repeat)) = self.take_block(now) else {
                break;
            };
            // The datagrams of one batch are of one length.
            let first: Option<&BlockAddr> = blocks.first();
            if first.is_some_and(|first| first.part.count() != block.part.count()) {
                self.work.put_back(block, is_repeat);
                break;
            }
            blocks.push(block);
            again.push(is_repeat);
        }
        let bytes = self.bytes_of(&blocks)?;
        let (release_at, gap) = self.timing.pacer.release(bytes, rate_bps, burst, now);
        if self.work.is_exhausted() {
            self.schedule_copies(&blocks, &again, release_at.max(now));
        }
        let gap = gap.min(GAP_MAX);
        self.number(blocks, |index| again[index], release_at, gap)
    }

    /// These left the host at `at`, which may be told late. Numbers that no plan gave out are ignored.
    pub fn handle_sent(&mut self, first: PacketNo, count: usize, at: Time) {
        // Whatever else has been told since: a packet that seemed to leave later than it did would
        // have a round trip that is too short, and spoil the least of half a minute.
        let now = self.tick(at);
        let end = first.0.saturating_add(count as u64).min(self.ledger.next());
        for number in first.0..end {
            if let Some(left) = self.ledger.sent(number, at) {
                self.totals.sent_packets += 1;
                self.totals.sent_bytes += left.bytes;
                if left.is_repeat {
                    self.totals.retransmitted_packets += 1;
                    self.totals.retransmitted_bytes += left.bytes;
                }
            }
        }
        if self.ledger.in_flight() > 0 && !self.work.is_settled() {
            self.timing.watch.on_sent(now);
        }
        if self.ledger.planned() == 0 && !self.work.has_any() {
            // The run ends here: without a word the receiver cannot miss a lost tail.
            self.timing.sync.hasten();
        }
    }

    /// Whether credit, ledger and backlog leave room for another batch.
    pub(super) fn has_room(&self) -> bool {
        self.segments_allowed() > 0
    }

    /// How many segments the next batch may hold by everything but the pacer's time.
    fn segments_allowed(&self) -> usize {
        let datagram_len = self.datagram_len();
        let rate_bps = self.rate_bps();
        let planned_bytes = self.ledger.planned_bytes();
        let outstanding = self.ledger.in_flight_bytes() + planned_bytes;
        let room = (self.credit_bytes()).saturating_sub(outstanding) / datagram_len as u64;
        let room = room.min(self.ledger.room());
        let burst = self.policy.burst_max();
        let batch = Pacer::burst_segments(datagram_len, rate_bps, burst);
        let batch = batch.min(self.segments_per_batch_max());
        let backlog = Pacer::airtime(planned_bytes, rate_bps);
        if backlog > BACKLOG && self.ledger.planned() >= 2 * batch as u64 {
            return 0;
        }
        batch.min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// Bytes that may be in flight.
    pub(super) fn credit_bytes(&self) -> u64 {
        let credit = self.credit.bytes(self.timing.rtt.min());
        credit.min(self.config.carried_bytes.unwrap_or(u64::MAX))
    }

    /// Of shorter datagrams a batch holds more.
    fn segments_per_batch_max(&self) -> usize {
        let bytes = self.config.segments_per_batch_max * self.config.segment_len;
        (bytes / self.datagram_len()).min(PLAN_BLOCKS_MAX)
    }

    /// Bytes of the datagrams that carry these, which are all of one length; `None` for none.
    fn bytes_of(&self, blocks: &[BlockAddr]) -> Option<u64> {
        let each = self.ledger.datagram_len(blocks.first()?.part);
        Some(each * blocks.len() as u64)
    }

    /// The most urgent block, and whether it has been sent before.
    fn take_block(&mut self, now: Time) -> Option<(BlockAddr, bool)> {
        if let Some(begun) = self.work.take_begun() {
            return Some(begun);
        }
        if let Some(block) = self.work.take_queued() {
            return Some((block, true));
        }
        let allowed = self.repeats_allowed();
        let work = &self.work;
        let copy = self.chase.take_due(now, allowed, |block| {
            work.has_arrived(block) || !work.fits(block)
        });
        if let Some(block) = copy {
            self.work.add_copy(block);
            return Some((block, true));
        }
        self.work.take_fresh().map(|block| (block, false))
    }

    /// Copies of last losses that may be sent over the whole session.
    fn repeats_allowed(&self) -> u64 {
        let bits = self.rate_bps() * self.timing.rtt.srtt().as_secs_f64();
        let bandwidth_delay = bits / 8.0 / self.datagram_len() as f64;
        (self.totals.lost_packets / 100).max(bandwidth_delay as u64)
    }

    /// Once no fresh block is left, each retransmission is followed by copies of itself.
    fn schedule_copies(&mut self, blocks: &[BlockAddr], again: &[bool], release_at: Time) {
        let loss = self.meter.loss();
        let in_flight = self.ledger.in_flight() as f64 * loss;
        let outstanding =
            self.work.queued() + self.chase.outstanding() + blocks.len() as u64 + in_flight as u64;
        let allowed = self.repeats_allowed();
        let copies = self.chase.copies(outstanding, loss, allowed) - 1;
        for (block, is_repeat) in blocks.iter().zip(again) {
            if *is_repeat && !self.work.has_other_copies(*block) {
                self.chase.schedule(*block, copies, release_at);
            }
        }
    }

    /// Probes leave at once, whatever credit and rate say: two packets per time-out.
    fn plan_probes(&mut self, now: Time) -> Option<Plan> {
        let mut blocks = ArrayVec::<BlockAddr, PLAN_BLOCKS_MAX>::new();
        for block in std::mem::take(&mut self.recovery.probes) {
            let is_alike = blocks
                .first()
                .is_none_or(|first| first.part.count() == block.part.count());
            if is_alike && self.ledger.room() > blocks.len() as u64 {
                self.work.add_copy(block);
                blocks.push(block);
            }
        }
        let bytes = self.bytes_of(&blocks)?;
        self.timing.pacer.charge(bytes);
        self.number(blocks, |_| true, now, Duration::ZERO)
    }

    /// Gives the blocks their numbers.
    fn number(
        &mut self,
        blocks: ArrayVec<BlockAddr, PLAN_BLOCKS_MAX>,
        is_repeat: impl Fn(usize) -> bool,
        release_at: Time,
        gap: Duration,
    ) -> Option<Plan> {
        let Some(run) = self.numbers.take(blocks.len()) else {
            self.failure = Some(FlowError::NumbersExhausted);
            return None;
        };
        for (index, block) in blocks.iter().enumerate() {
            self.ledger.plan(*block, is_repeat(index));
        }
        let first = blocks.first().map_or(Part::WHOLE, |first| first.part);
        Some(Plan {
            run,
            datagram_len: self.ledger.datagram_len(first) as usize,
            blocks,
            release_at,
            gap,
            ecn: self.path.ecn.is_marking(),
        })
    }
}
