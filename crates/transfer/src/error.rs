use std::{fmt, io, time::Duration};

use haul_disk::DiskError;
use haul_engine::EngineError;
use haul_flow::FlowError;
use haul_seal::SealError;
use haul_udp::UdpError;
use haul_wire::{
    WireError,
    control::{ErrorCode, Fault, Message, Text},
};
use rustix::io::Errno;

use crate::{FailedFile, Summary, Unauthorized};

/// Why a transfer did not succeed. [`TransferError::code`] maps every variant to the one table of
/// exit statuses ([`crate::EXIT_CODES`]).
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// What was asked for does not make sense.
    #[error("{0}")]
    Usage(&'static str),
    /// A rule of what to leave out is none.
    #[error(transparent)]
    Pattern(#[from] haul_disk::PatternError),
    /// Datagrams were to take the control channel, and this machine has no thread for that.
    #[error("no thread for sending data over SSH: {0}")]
    Detour(io::Error),
    /// The remote command is not haul.
    #[error("there is no haul on the other host{}", shown(.output))]
    RemoteMissing {
        /// What came instead of haul's preamble, escaped.
        output: String,
    },
    /// The two ends share no version of the conversation.
    #[error("this haul speaks version {ours} of the protocol, the other end {theirs}")]
    VersionMismatch {
        /// Versions this end speaks.
        ours: String,
        /// Versions the other end speaks.
        theirs: String,
    },
    /// The other end requires a feature that this version does not know.
    #[error("the other end requires features this version does not know (bits {0:#x})")]
    UnknownFeature(u64),
    /// No suite is allowed by both ends.
    #[error("no common cipher: offered {offered}, allowed here {allowed}")]
    NoCommonCipher {
        /// What the initiator offered.
        offered: String,
        /// What the responder allows.
        allowed: String,
    },
    /// This end's policy does not allow the request.
    #[error("not permitted: {0}")]
    NotPermitted(&'static str),
    /// This end does not serve this to whoever asks; why is in its administrator's log only.
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
    /// The other end derived other keys: the conversation was altered on its way.
    #[error("the other end could not prove the session's keys: the conversation was altered")]
    Unconfirmed,
    /// The other end broke the protocol.
    #[error("the other end broke the protocol: {0}")]
    PeerMisbehaved(#[from] Misbehaviour),
    /// Datagrams do not get through.
    #[error("UDP from {direction} is blocked: nothing came through within {}", seconds(.waited))]
    UdpClosed {
        /// Which way is closed.
        direction: UdpDirection,
        /// How long was waited.
        waited: Duration,
    },
    /// Datagrams got through, but do not any more.
    #[error("UDP from {direction} went dead: nothing came through for {}", seconds(.waited))]
    PathSilent {
        /// Which way.
        direction: UdpDirection,
        /// For how long.
        waited: Duration,
    },
    /// A step of the set-up took too long.
    #[error("no {awaited} from the other end within {}", seconds(.waited))]
    SetupTimeout {
        /// What was waited for.
        awaited: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The control connection broke.
    #[error("the control connection broke {during}{}", shown(.cause))]
    ConnectionLost {
        /// Which phase it interrupted.
        during: Phase,
        /// The system's words, or empty at an end without words.
        cause: String,
    },
    /// The other end says why it cannot go on.
    #[error("the other end: {text}")]
    Remote {
        /// What kind of trouble, as far as this version knows the code.
        code: ErrorCode,
        /// The other end's words.
        text: Text,
    },
    /// The transfer ran to its end, but some names failed.
    #[error("{}{}", failed(.summary), first(.failures))]
    Partial {
        /// The first of them.
        failures: Vec<FailedFile>,
        /// The account of the others.
        summary: Box<Summary>,
    },
    /// Everything arrived, but not everything that was sent could be removed or moved then.
    #[error(
        "everything arrived, but {0} of the sources have changed or could not be removed or moved"
    )]
    SourcesLeft(u64),
    /// A user cancelled.
    #[error("cancelled{}", if *.by_peer { " by the other end" } else { "" })]
    Cancelled {
        /// Whether at the other end.
        by_peer: bool,
    },
    /// A file or directory of this end.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A socket of this end.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// The path, once data flows.
    #[error(transparent)]
    Engine(EngineError),
    /// Keys and seals.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// A thread or task of this end ended unexpectedly: a defect.
    #[error("the {0} task stopped unexpectedly")]
    TaskFailed(&'static str),
}

/// How the other end broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A frame or message that does not parse.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that has no place here.
    #[error("unexpected {got} {during}")]
    OutOfOrder {
        /// The message.
        got: &'static str,
        /// Where the conversation was.
        during: Phase,
    },
    /// It chose something that was not offered.
    #[error("it chose a {0} that was not offered")]
    NotOffered(&'static str),
    /// A value that no honest end sends.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// Too much before the preamble.
    #[error("more than 8 KiB of other output before haul's own")]
    Noise,
}

/// Where the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until both hellos are known.
    Hello,
    /// Until both ends have proved the keys.
    Confirmation,
    /// Until the request is accepted.
    Request,
    /// Until datagrams flow both ways.
    Path,
    /// Data flows.
    Data,
    /// All data has arrived; the receiver is to say so.
    Verdict,
}

/// A direction of UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpDirection {
    /// From the initiator to the responder.
    ToServer,
    /// From the responder to the initiator.
    ToClient,
}

impl TransferError {
    /// The kind of trouble: what to tell the other end and which exit status to end with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Usage(_) | Self::Pattern(_) => ErrorCode::Usage,
            Self::Detour(error) => system_code(error),
            Self::RemoteMissing { .. } => ErrorCode::RemoteMissing,
            Self::VersionMismatch { .. } | Self::UnknownFeature(_) => ErrorCode::VersionMismatch,
            Self::NoCommonCipher { .. } => ErrorCode::NoCommonCipher,
            Self::NotPermitted(_) => ErrorCode::NotPermitted,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Unconfirmed => ErrorCode::Tampered,
            Self::PeerMisbehaved(_) => ErrorCode::PeerMisbehaved,
            Self::UdpClosed { .. } => ErrorCode::UdpClosed,
            Self::PathSilent { .. } => ErrorCode::PathFailed,
            Self::SetupTimeout { .. } => ErrorCode::SetupTimeout,
            Self::ConnectionLost { .. } => ErrorCode::ConnectionLost,
            Self::Remote { code, .. } => *code,
            Self::Partial { summary, .. } if summary.corrupt > 0 => ErrorCode::Integrity,
            Self::Partial { .. } | Self::SourcesLeft(_) => ErrorCode::Partial,
            Self::Cancelled { .. } => ErrorCode::Cancelled,
            Self::Disk(error) => disk_code(error),
            Self::Engine(error) => engine_code(error),
            Self::Seal(error) => seal_code(error),
            Self::Udp(error) => udp_code(error),
            Self::Random(_) | Self::TaskFailed(_) => ErrorCode::Internal,
        }
    }

    /// What an honest peer's last word becomes here.
    pub(crate) fn remote(fault: Fault) -> Self {
        // A newer peer may know codes that this version does not; its words still say it.
        let code = ErrorCode::from_wire(fault.code).unwrap_or(ErrorCode::Internal);
        Self::Remote {
            code,
            text: fault.text,
        }
    }

    /// What the other end should be told of this error; `None` when it knows or is gone.
    pub(crate) fn last_words(&self) -> Option<Message> {
        match self {
            Self::Remote { .. }
            | Self::RemoteMissing { .. }
            | Self::ConnectionLost { .. }
            | Self::Partial { .. }
            | Self::Cancelled { by_peer: true } => None,
            Self::Cancelled { by_peer: false } => Some(Message::Cancel),
            other => Some(Message::Error(Fault::new(other.code(), other.to_string()))),
        }
    }

    /// The exit status of a program that ends with this error.
    pub fn exit_code(&self) -> u8 {
        self.code() as u8
    }

    /// What to do about it, for a person.
    pub fn hint(&self) -> &'static str {
        crate::exit::entry(self.code()).hint
    }
}

impl From<EngineError> for TransferError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Disk(error) => Self::Disk(error),
            EngineError::Udp(error) => Self::Udp(error),
            EngineError::Seal(error) => Self::Seal(error),
            other => Self::Engine(other),
        }
    }
}

impl From<FlowError> for TransferError {
    fn from(error: FlowError) -> Self {
        Self::Engine(EngineError::Flow(error))
    }
}

impl From<WireError> for TransferError {
    fn from(error: WireError) -> Self {
        Self::PeerMisbehaved(Misbehaviour::Wire(error))
    }
}

fn engine_code(error: &EngineError) -> ErrorCode {
    match error {
        EngineError::Disk(error) => disk_code(error),
        EngineError::Seal(error) => seal_code(error),
        EngineError::Flow(
            FlowError::PeerSilent(_) | FlowError::PathBlocked(_) | FlowError::CircuitBreaker { .. },
        ) => ErrorCode::PathFailed,
        EngineError::Flow(FlowError::RateRequired | FlowError::Config(_)) => ErrorCode::Usage,
        EngineError::Flow(FlowError::AcknowledgedUnsent { .. }) | EngineError::Malformed(_) => {
            ErrorCode::PeerMisbehaved
        }
        EngineError::Udp(error) => udp_code(error),
        EngineError::Thread { .. } => ErrorCode::Resources,
        EngineError::Flow(FlowError::NumbersExhausted)
        | EngineError::Randomness(_)
        | EngineError::Panicked(_) => ErrorCode::Internal,
    }
}

fn disk_code(error: &DiskError) -> ErrorCode {
    if error.is_peer_fault() {
        return ErrorCode::PeerMisbehaved;
    }
    match error {
        DiskError::Source { cause, .. }
        | DiskError::Destination { cause, .. }
        | DiskError::Storage { cause, .. }
            if is_shortage(cause) =>
        {
            ErrorCode::Resources
        }
        DiskError::TooMuch => ErrorCode::NotPermitted,
        DiskError::Source { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
            ErrorCode::NoSuchSource
        }
        DiskError::Target { .. }
        | DiskError::NotBelow { .. }
        | DiskError::Range { .. }
        | DiskError::NotOne => ErrorCode::Usage,
        DiskError::Output { cause } if is_full(cause) => ErrorCode::DiskFull,
        DiskError::Output { .. } | DiskError::Changed { .. } => ErrorCode::DiskFailed,
        DiskError::Source { .. }
        | DiskError::SourceIsDir { .. }
        | DiskError::SourceIsSpecial { .. } => ErrorCode::SourceUnreadable,
        DiskError::Thread(_) => ErrorCode::Internal,
        DiskError::Destination { cause, .. } | DiskError::Storage { cause, .. }
            if is_full(cause) =>
        {
            ErrorCode::DiskFull
        }
        DiskError::Destination { .. } | DiskError::NotADirectory { .. } => {
            ErrorCode::DestinationUnwritable
        }
        DiskError::Storage { cause, .. } if cause.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            ErrorCode::DestinationUnwritable
        }
        DiskError::Storage { .. } => ErrorCode::DiskFailed,
        _ => ErrorCode::Internal,
    }
}

fn udp_code(error: &UdpError) -> ErrorCode {
    match error {
        UdpError::NoFreePort { .. } => ErrorCode::Resources,
        UdpError::Socket { source, .. } => system_code(source),
    }
}

/// The kind of trouble of a refusal of the system that nobody could have foreseen.
pub fn system_code(error: &io::Error) -> ErrorCode {
    if is_shortage(error) {
        ErrorCode::Resources
    } else {
        ErrorCode::Internal
    }
}

/// Whether the machine, or what one user may have of it, is used up.
fn is_shortage(error: &io::Error) -> bool {
    // A thread that cannot be had now, is "try again" to the system.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN)
    )
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn seal_code(error: &SealError) -> ErrorCode {
    match error {
        SealError::IntegrityFlood { .. } => ErrorCode::Tampered,
        SealError::WeakKeyShare
        | SealError::EpochUnconfirmed { .. }
        | SealError::KeyUsedUp { .. } => ErrorCode::PeerMisbehaved,
        SealError::RunLength { .. }
        | SealError::SegmentTooShort { .. }
        | SealError::UnknownLane(_) => ErrorCode::Internal,
    }
}

fn seconds(duration: &Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    match tenths % 10 {
        part @ 1.. if tenths < 100 => format!("{}.{part} s", tenths / 10),
        _ => format!("{} s", tenths / 10),
    }
}

fn shown(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

fn failed(summary: &Summary) -> String {
    let all = summary.failed + summary.files;
    format!("{} of {all} names failed", summary.failed)
}

fn first(failures: &[FailedFile]) -> String {
    failures.first().map_or_else(String::new, |file| {
        format!(", first {}: {}", file.path, file.why)
    })
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "during the hellos",
            Self::Confirmation => "during the confirmation of the keys",
            Self::Request => "during the request",
            Self::Path => "while the path was being opened",
            Self::Data => "during the transfer",
            Self::Verdict => "before the verdict",
        })
    }
}

impl fmt::Display for UdpDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "client to server",
            Self::ToClient => "server to client",
        })
    }
}

#[cfg(test)]
mod tests;
