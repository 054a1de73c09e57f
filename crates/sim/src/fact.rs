use std::{
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use haul_flow::{FlowError, Time};
use haul_wire::{BlockAddr, PacketNo};

use crate::{content::Body, disk::Written, link::LossCause, source::Known};

/// Something that happened in a simulation. Facts are all that the checkers and the trace see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fact {
    /// The sender learned of blocks.
    Known(Known),
    /// The sender planned a batch.
    Planned(Planned),
    /// A data datagram left the sending host.
    Sent {
        /// Its number.
        packet: PacketNo,
        /// The block it carries.
        addr: BlockAddr,
        /// Its length.
        bytes: u64,
    },
    /// A data datagram was lost, or one of its copies could not be used.
    Lost {
        /// Its number.
        packet: PacketNo,
        /// Why.
        cause: LossCause,
    },
    /// The network holds a data datagram so that others overtake it.
    Held {
        /// Its number.
        packet: PacketNo,
        /// For how long.
        held: Duration,
    },
    /// A data datagram arrived intact and was buffered.
    Arrived {
        /// Its number.
        packet: PacketNo,
        /// Its opened body.
        body: Body,
    },
    /// The device ended a write.
    Wrote(Written),
    /// The receiver sent a report.
    Reported {
        /// Number of the report.
        seq: u32,
        /// Length of its encoded body.
        bytes: u64,
    },
    /// A report did not fit its datagram.
    ReportTooLong {
        /// Number of the report.
        seq: u32,
    },
    /// A report was lost.
    ReportLost(LossCause),
    /// The sender took in a report.
    Heard {
        /// Number of the report.
        seq: u32,
    },
    /// The sender sent a sync.
    Synced,
    /// A sync was lost.
    SyncLost(LossCause),
    /// What the sender said of itself after an event.
    Gauged(Gauges),
    /// What the receiver holds after an event.
    Holds {
        /// Bytes in its buffer.
        buffered_bytes: u64,
        /// Runs of packet numbers it remembers.
        ranges: u64,
    },
    /// The sender says that everything has arrived.
    Delivered,
    /// The sender gave up.
    Failed(FlowError),
}

/// A batch as the sender planned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Planned {
    /// First packet number.
    pub first: PacketNo,
    /// How many datagrams.
    pub count: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// When the first may leave.
    pub release_at: Time,
    /// The batch's airtime at the pacing rate.
    pub gap: Duration,
}

/// Levels of the sender that must stay within their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Gauges {
    /// Pacing rate, bits per second.
    pub rate_bps: u64,
    /// Bytes the sender believes to be in flight.
    pub in_flight_bytes: u64,
    /// Bytes that may be in flight at most, by the receiver's buffer.
    pub credit_bytes: u64,
    /// Probe time-outs so far.
    pub pto_count: u64,
    /// Bytes planned that have not left yet.
    pub planned_bytes: u64,
    /// Below this block the sender believes the list to have arrived.
    pub list_floor: u64,
    /// The same for the contents.
    pub content_floor: u64,
}

impl Fact {
    fn feed(&self, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Known(known) => {
                (known.list_blocks, known.content_blocks, known.complete).hash(hasher);
            }
            Self::Planned(planned) => planned.hash(hasher),
            Self::Sent {
                packet,
                addr,
                bytes,
            } => (packet, addr, bytes).hash(hasher),
            Self::Lost { packet, cause } => (packet, cause).hash(hasher),
            Self::Held { packet, held } => (packet, held).hash(hasher),
            Self::Arrived { packet, body } => (packet, body).hash(hasher),
            Self::Wrote(written) => {
                (written.fresh_bytes, written.duplicate_blocks).hash(hasher);
            }
            Self::Reported { seq, bytes } => (seq, bytes).hash(hasher),
            Self::ReportTooLong { seq } | Self::Heard { seq } => seq.hash(hasher),
            Self::ReportLost(cause) | Self::SyncLost(cause) => cause.hash(hasher),
            Self::Gauged(gauges) => gauges.hash(hasher),
            Self::Holds {
                buffered_bytes,
                ranges,
            } => (buffered_bytes, ranges).hash(hasher),
            Self::Failed(error) => error.to_string().hash(hasher),
            Self::Synced | Self::Delivered => (),
        }
    }
}

/// A running hash of all facts and their times: two runs that agree in it took the same course.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceHash(u64);

impl TraceHash {
    pub(crate) fn note(&mut self, at: Time, fact: &Fact) {
        at.hash(self);
        fact.feed(self);
    }
}

impl Default for TraceHash {
    fn default() -> Self {
        // FNV-1a: offset basis.
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for TraceHash {
    fn write(&mut self, bytes: &[u8]) {
        // FNV-1a over words of eight bytes, not bytes: the trace has millions of facts.
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
            self.0 ^= self.0 >> 29;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_time_and_content_all_count() {
        let hash = |facts: &[(u64, Fact)]| {
            let mut hash = TraceHash::default();
            for (at, fact) in facts {
                hash.note(Time(*at), fact);
            }
            hash
        };
        let (a, b) = (Fact::Heard { seq: 1 }, Fact::Heard { seq: 2 });
        assert_eq!(hash(&[(1, a), (2, b)]), hash(&[(1, a), (2, b)]));
        assert_ne!(hash(&[(1, a), (2, b)]), hash(&[(1, b), (2, a)]));
        assert_ne!(hash(&[(1, a)]), hash(&[(2, a)]));
        assert_ne!(
            hash(&[(1, a)]),
            hash(&[(1, Fact::ReportTooLong { seq: 1 })])
        );
    }
}
