use serde::{Deserialize, Serialize};

/// Names one session in a server's table; chosen at random by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u32);

/// A numbering of its own within one direction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

impl Lane {
    /// File data one way, reports the other way.
    pub const DATA: Self = Self(0);
    /// Path opening, probes, synchronisation and close.
    pub const PATH: Self = Self(1);
    /// How many lanes a session uses.
    pub const COUNT: usize = 2;
}

/// Number of one transmission within a direction and lane. Every transmission, first or repeated,
/// has a new one. 48 bits on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct PacketNo(pub u64);

impl PacketNo {
    /// The largest number that fits the header.
    pub const MAX: Self = Self((1 << 48) - 1);
}

/// Number of one block within a [`crate::Stream`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct BlockNo(pub u64);

/// Hands out packet numbers, each once.
///
/// One counter belongs to one direction and lane of one session. It is the only maker of
/// [`PacketRun`]s, and sealing consumes a run: a number, and with it an IV, cannot be used twice.
#[derive(Debug, Default)]
pub struct PacketCounter {
    next: u64,
}

impl PacketCounter {
    /// A counter that starts at packet number 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number that will be handed out next.
    pub fn next_packet(&self) -> PacketNo {
        PacketNo(self.next)
    }

    /// Takes `count` consecutive numbers, or `None` when the 48-bit space is used up: the session
    /// must end then, numbers never wrap.
    pub fn take(&mut self, count: usize) -> Option<PacketRun> {
        let end = self.next.checked_add(count as u64)?;
        if end > PacketNo::MAX.0 + 1 {
            return None;
        }
        let run = PacketRun {
            first: self.next,
            count,
        };
        self.next = end;
        Some(run)
    }
}

/// Consecutive, never used packet numbers. Deliberately neither `Clone` nor constructible.
#[derive(Debug)]
pub struct PacketRun {
    first: u64,
    count: usize,
}

impl PacketRun {
    /// The first number of the run.
    pub fn first(&self) -> PacketNo {
        PacketNo(self.first)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the run is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
