use haul_wire::{BlockAddr, BlockNo, Part, SEGMENT_OVERHEAD, Stream, part_len};

use crate::{
    Time,
    bits::{BitRing, words_of},
};

/// Most packet numbers that may be unresolved or watched at once: a second of 10 Gbit/s with
/// 1,440-byte datagrams, four times over. Costs at most 16 bytes each; the ring grows as needed.
pub(crate) const LEDGER_PACKETS_MAX: u64 = 1 << 22;
const LEDGER_PACKETS_FIRST: u64 = 1 << 12;

/// One transmission, as planned and as sent.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// [`Time::MAX`] while it is only planned.
    sent_at: Time,
    block: PackedBlock,
}

/// Address, and whether the same had been sent before, in eight bytes.
#[derive(Debug, Clone, Copy)]
struct PackedBlock(u64);

impl PackedBlock {
    const LIST: u64 = 1 << 63;
    const REPEAT: u64 = 1 << 62;
    /// Where the number of parts minus one begins, and which of them it is.
    const COUNT_LOW: u32 = 55;
    const INDEX_LOW: u32 = 48;
    const PART_MASK: u64 = 0x7f;

    fn new(block: BlockAddr, is_repeat: bool) -> Self {
        let list = if block.stream == Stream::List {
            Self::LIST
        } else {
            0
        };
        let repeat = if is_repeat { Self::REPEAT } else { 0 };
        let count = (block.part.count() as u64 - 1) << Self::COUNT_LOW;
        let index = (block.part.index() as u64) << Self::INDEX_LOW;
        Self(list | repeat | count | index | block.block.0)
    }

    fn block(self) -> BlockAddr {
        let stream = if self.0 & Self::LIST == 0 {
            Stream::Content
        } else {
            Stream::List
        };
        BlockAddr {
            stream,
            block: BlockNo(self.0 & ((1 << Self::INDEX_LOW) - 1)),
            part: self.part(),
        }
    }

    fn part(self) -> Part {
        let field = |low: u32| (self.0 >> low & Self::PART_MASK) as usize;
        let count = field(Self::COUNT_LOW) + 1;
        Part::new(field(Self::INDEX_LOW), count).unwrap_or(Part::WHOLE)
    }

    fn is_repeat(self) -> bool {
        self.0 & Self::REPEAT != 0
    }
}

/// What leaving made of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Length of the datagram.
    pub(crate) bytes: u64,
    /// The same had been sent before.
    pub(crate) is_repeat: bool,
}

/// A packet that has left or at least been planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) number: u64,
    pub(crate) block: BlockAddr,
    /// `None` when the caller has not yet said that it left.
    pub(crate) sent_at: Option<Time>,
}

/// A packet that a report says has arrived, for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) packet: Packet,
    /// It had been declared lost.
    pub(crate) was_lost: bool,
    /// An earlier report spoke of it without having it: it was overtaken.
    pub(crate) was_absent: bool,
}

/// What is in flight: packet number → block, send time, fate. A ring by packet number.
///
/// ```text
///      base                        next
///  ──────┬───────────────────────────┬──────► numbers
///  settled│ open, lost but watched,   │ not yet given out
///        │ or settled                │
/// ```
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    base: u64,
    next: u64,
    /// Planned or sent, fate unknown.
    open: BitRing,
    /// Declared lost, watched in case it was only late.
    lost: BitRing,
    /// Spoken of by a report that did not have it.
    absent: BitRing,
    block_len: usize,
    planned: u64,
    planned_bytes: u64,
    in_flight: u64,
    in_flight_bytes: u64,
}

impl Ledger {
    /// `segment_len` is the length of a datagram that carries a whole block.
    pub(crate) fn new(segment_len: usize) -> Self {
        let nothing = Entry {
            sent_at: Time::MAX,
            block: PackedBlock(0),
        };
        Self {
            entries: vec![nothing; LEDGER_PACKETS_FIRST as usize],
            base: 0,
            next: 0,
            open: BitRing::new(LEDGER_PACKETS_FIRST),
            lost: BitRing::new(LEDGER_PACKETS_FIRST),
            absent: BitRing::new(LEDGER_PACKETS_FIRST),
            block_len: segment_len - SEGMENT_OVERHEAD,
            planned: 0,
            planned_bytes: 0,
            in_flight: 0,
            in_flight_bytes: 0,
        }
    }

    /// Length of the datagram that carries this much of a block.
    pub(crate) fn datagram_len(&self, part: Part) -> u64 {
        (part_len(self.block_len, part.count()) + SEGMENT_OVERHEAD) as u64
    }

    /// The number that the next transmission will get.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Everything below is settled for good.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Packets that may still be planned before the ledger is full.
    pub(crate) fn room(&self) -> u64 {
        LEDGER_PACKETS_MAX - (self.next - self.base)
    }

    /// Packets given out and not yet sent.
    pub(crate) fn planned(&self) -> u64 {
        self.planned
    }

    /// Bytes of the packets given out and not yet sent.
    pub(crate) fn planned_bytes(&self) -> u64 {
        self.planned_bytes
    }

    /// Packets sent whose fate is unknown.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Their bytes.
    pub(crate) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Enters the next number.
    pub(crate) fn plan(&mut self, block: BlockAddr, is_repeat: bool) {
        let end = self.next + 1;
        if end - self.base > self.entries.len() as u64 {
            self.widen();
        }
        let slot = self.slot(self.next);
        self.entries[slot] = Entry {
            sent_at: Time::MAX,
            block: PackedBlock::new(block, is_repeat),
        };
        self.open.insert(self.next);
        self.next = end;
        self.planned += 1;
        self.planned_bytes += self.datagram_len(block.part);
    }

    /// Notes that a planned packet left; `None` when it was not planned or had left before.
    pub(crate) fn sent(&mut self, number: u64, now: Time) -> Option<Left> {
        if !(self.base..self.next).contains(&number) {
            return None;
        }
        let slot = self.slot(number);
        let is_open = self.open.contains(number);
        let entry = &mut self.entries[slot];
        if entry.sent_at != Time::MAX {
            return None;
        }
        entry.sent_at = now;
        let packed = entry.block;
        let bytes = self.datagram_len(packed.part());
        self.planned -= 1;
        self.planned_bytes -= bytes;
        if is_open {
            // Otherwise a report was quicker than the caller's word that the packet left.
            self.in_flight += 1;
            self.in_flight_bytes += bytes;
        }
        Some(Left {
            bytes,
            is_repeat: packed.is_repeat(),
        })
    }

    /// The packet with this number, while it is remembered.
    pub(crate) fn packet(&self, number: u64) -> Option<Packet> {
        (self.base..self.next).contains(&number).then(|| {
            let entry = self.entries[self.slot(number)];
            Packet {
                number,
                block: entry.block.block(),
                sent_at: (entry.sent_at != Time::MAX).then_some(entry.sent_at),
            }
        })
    }

    /// Settles all packets from `from` to below `end` as arrived and appends the new ones, in order.
    pub(crate) fn arrive(&mut self, from: u64, end: u64, arrived: &mut Vec<Arrived>) {
        for (word, mask) in words_of(from.max(self.base), end.min(self.next)) {
            let mut bits = (self.open.word(word) | self.lost.word(word)) & mask;
            while bits != 0 {
                let number = word * 64 + u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                let Some(packet) = self.packet(number) else {
                    continue;
                };
                if self.open.remove(number) && packet.sent_at.is_some() {
                    self.leave_flight(packet.block);
                }
                arrived.push(Arrived {
                    packet,
                    was_lost: self.lost.remove(number),
                    was_absent: self.absent.remove(number),
                });
            }
        }
    }

    /// Marks all open packets from `from` to below `end` as absent; those that `is_lost` says are
    /// lost leave the flight and are appended, in order. Planned packets are left alone.
    pub(crate) fn miss(
        &mut self,
        from: u64,
        end: u64,
        is_lost: impl Fn(u64, Time) -> bool,
        lost: &mut Vec<Packet>,
    ) {
        for (word, mask) in words_of(from.max(self.base), end.min(self.next)) {
            let mut bits = self.open.word(word) & mask;
            while bits != 0 {
                let number = word * 64 + u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                let Some(packet) = self.packet(number) else {
                    continue;
                };
                let Some(sent_at) = packet.sent_at else {
                    continue;
                };
                self.absent.insert(number);
                if is_lost(number, sent_at) {
                    self.declare_lost(packet);
                    lost.push(packet);
                }
            }
        }
    }

    /// Everything in flight that is longer than `datagram_len` is lost, and appended.
    pub(crate) fn lose_longer(&mut self, datagram_len: usize, lost: &mut Vec<Packet>) {
        let mut from = self.base;
        while let Some(number) = self.open.first(from, self.next) {
            from = number + 1;
            let Some(packet) = self.packet(number) else {
                continue;
            };
            let is_longer = self.datagram_len(packet.block.part) > datagram_len as u64;
            if packet.sent_at.is_some() && is_longer {
                self.declare_lost(packet);
                lost.push(packet);
            }
        }
    }

    fn declare_lost(&mut self, packet: Packet) {
        self.open.remove(packet.number);
        self.lost.insert(packet.number);
        self.leave_flight(packet.block);
    }

    fn leave_flight(&mut self, block: BlockAddr) {
        self.in_flight -= 1;
        self.in_flight_bytes -= self.datagram_len(block.part);
    }

    /// Forgets what is settled at the old end; packets declared lost are watched until they were
    /// sent before `watch_since`.
    pub(crate) fn advance(&mut self, watch_since: Time) {
        while self.base < self.next {
            if self.open.contains(self.base) {
                return;
            }
            let sent_at = self.entries[self.slot(self.base)].sent_at;
            if self.lost.contains(self.base) {
                if sent_at >= watch_since {
                    return;
                }
                self.lost.remove(self.base);
            } else if sent_at == Time::MAX {
                // Arrived before the caller said that it left: that word is still to come.
                return;
            }
            self.absent.remove(self.base);
            self.base += 1;
        }
    }

    /// Of the packets that were sent and whose fate is unknown, the longest-waiting that carries a
    /// block of which `is_missing` holds.
    pub(crate) fn oldest_in_flight(
        &self,
        is_missing: impl Fn(BlockAddr) -> bool,
    ) -> Option<Packet> {
        let mut from = self.base;
        loop {
            let number = self.open.first(from, self.next)?;
            match self.packet(number) {
                Some(packet) if packet.sent_at.is_some() && is_missing(packet.block) => {
                    return Some(packet);
                }
                _ => from = number + 1,
            }
        }
    }

    /// Of the same the last that carries such a block.
    pub(crate) fn newest_in_flight(
        &self,
        is_missing: impl Fn(BlockAddr) -> bool,
    ) -> Option<Packet> {
        let mut end = self.next;
        loop {
            let number = self.open.last(self.base, end)?;
            match self.packet(number) {
                Some(packet) if packet.sent_at.is_some() && is_missing(packet.block) => {
                    return Some(packet);
                }
                _ => end = number,
            }
        }
    }

    /// All numbers below have left. What is planned is near the end: searched from there.
    pub(crate) fn sent_end(&self) -> u64 {
        let is_planned = |number: &u64| self.entries[self.slot(*number)].sent_at == Time::MAX;
        match self.planned.checked_sub(1) {
            None => self.next,
            Some(others) => (self.base..self.next)
                .rev()
                .filter(is_planned)
                .nth(others as usize)
                .unwrap_or(self.base),
        }
    }

    fn slot(&self, number: u64) -> usize {
        number as usize & (self.entries.len() - 1)
    }

    fn widen(&mut self) {
        let mut wider = self.entries.clone();
        wider.resize(self.entries.len() * 2, self.entries[0]);
        for number in self.base..self.next {
            wider[number as usize & (self.entries.len() * 2 - 1)] = self.entries[self.slot(number)];
        }
        self.entries = wider;
        let end = self.base + self.entries.len() as u64;
        for bits in [&mut self.open, &mut self.lost, &mut self.absent] {
            bits.reserve(self.base, end);
        }
    }
}

#[cfg(test)]
mod tests;
