use std::fmt;

use haul_disk::DiskError;
use haul_flow::FlowError;
use haul_seal::SealError;
use haul_udp::UdpError;

/// A station of the line, as named in errors and statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Walks the sources.
    Scan,
    /// Fills batches from files.
    Read,
    /// Seals batches.
    Seal,
    /// Sends batches at their time.
    Tx,
    /// Receives reports.
    Feedback,
    /// Receives batches.
    Rx,
    /// Opens batches.
    Open,
    /// Writes batches to files.
    Write,
    /// Owns the flow machine.
    Driver,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scan => "scan",
            Self::Read => "read",
            Self::Seal => "seal",
            Self::Tx => "send",
            Self::Feedback => "feedback",
            Self::Rx => "receive",
            Self::Open => "open",
            Self::Write => "write",
            Self::Driver => "driver",
        })
    }
}

/// Why a line ended before its work was done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The socket broke.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// Keys are used up, or the session is flooded with forgeries.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The peer went silent or misbehaved, or the circuit breaker opened.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The system gave no random numbers.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// An authenticated datagram that makes no sense: the peer's fault.
    #[error("the peer sent a malformed {0}")]
    Malformed(&'static str),
    /// A bug: the stage's thread panicked.
    #[error("the {0} stage stopped unexpectedly")]
    Panicked(Stage),
    /// The operating system gave no thread.
    #[error("no thread for the {stage} stage: {source}")]
    Thread {
        /// Which stage.
        stage: Stage,
        /// The system's answer.
        source: std::io::Error,
    },
}
