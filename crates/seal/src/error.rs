use haul_wire::Lane;

/// Why sealing or opening cannot go on. A single bad datagram is never an error: it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The peer's fault: its key share forces a known shared secret. End the session.
    #[error("the peer's key share is degenerate")]
    WeakKeyShare,
    /// The peer has not confirmed the present key epoch, so the next may not start yet. Try again
    /// after the next authenticated feedback.
    #[error("key epoch {epoch} is not confirmed by the peer yet")]
    EpochUnconfirmed {
        /// The present epoch.
        epoch: u32,
    },
    /// The key has sealed twice what it should and the peer never confirmed it. End the session.
    #[error("the key of epoch {epoch} is used up")]
    KeyUsedUp {
        /// The present epoch.
        epoch: u32,
    },
    /// An attacker has tried so many forgeries that guessing gets a chance. End the session.
    #[error("integrity flood: {invalid} datagrams with a wrong tag")]
    IntegrityFlood {
        /// How many were counted.
        invalid: u64,
    },
    /// The caller's fault: as many packet numbers as segments are needed.
    #[error("{numbers} packet numbers for {segments} segments")]
    RunLength {
        /// Length of the run.
        numbers: usize,
        /// Segments in the batch.
        segments: usize,
    },
    /// The caller's fault: a segment without room for header and tag.
    #[error("a segment of {len} bytes has no room for header and tag")]
    SegmentTooShort {
        /// Its length.
        len: usize,
    },
    /// The caller's fault: a lane outside the session's.
    #[error("no lane {}", .0.0)]
    UnknownLane(Lane),
}
