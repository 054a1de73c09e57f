/// What kept a transfer from succeeding. One number everywhere: in the `Error` message on the wire,
/// in events, and as the exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// A defect of haul itself, at either end.
    Internal = 1,
    /// The command line or configuration does not make sense.
    Usage = 2,
    /// The transfer ran to its end, but some names failed.
    Partial = 3,
    /// The other host could not be reached.
    Unreachable = 10,
    /// The host key is not known and nobody could be asked.
    HostKeyUnknown = 11,
    /// The host key is not the one that is known.
    HostKeyChanged = 12,
    /// The host did not accept the user.
    Authentication = 13,
    /// There is no haul on the other host.
    RemoteMissing = 14,
    /// The two hauls share no version of the conversation, or one needs a feature the other lacks.
    VersionMismatch = 15,
    /// No cipher is allowed by both ends.
    NoCommonCipher = 16,
    /// The other end's policy does not allow the request.
    NotPermitted = 17,
    /// UDP does not get through, in at least one direction.
    UdpClosed = 18,
    /// The transfer could not be set up in time.
    SetupTimeout = 19,
    /// A source does not exist.
    NoSuchSource = 20,
    /// A source may not be read.
    SourceUnreadable = 21,
    /// The destination does not exist or may not be written.
    DestinationUnwritable = 22,
    /// The disk or the quota is full.
    DiskFull = 23,
    /// Reading or writing failed for another reason.
    DiskFailed = 24,
    /// What was written is not what was read.
    Integrity = 25,
    /// A command that was to run before or after the transfer failed.
    HookFailed = 26,
    /// The machine ran out of threads, memory, sockets or open files.
    Resources = 27,
    /// The control connection broke.
    ConnectionLost = 30,
    /// The network stopped carrying the transfer's datagrams.
    PathFailed = 31,
    /// The other end broke the protocol.
    PeerMisbehaved = 32,
    /// Somebody altered the conversation, or forged datagrams without end.
    Tampered = 33,
    /// The other end does not serve this, and says nobody but its administrator why.
    Unauthorized = 77,
    /// The user cancelled.
    Cancelled = 130,
}

impl ErrorCode {
    /// All codes, in ascending order.
    pub const ALL: [Self; 27] = [
        Self::Internal,
        Self::Usage,
        Self::Partial,
        Self::Unreachable,
        Self::HostKeyUnknown,
        Self::HostKeyChanged,
        Self::Authentication,
        Self::RemoteMissing,
        Self::VersionMismatch,
        Self::NoCommonCipher,
        Self::NotPermitted,
        Self::UdpClosed,
        Self::SetupTimeout,
        Self::NoSuchSource,
        Self::SourceUnreadable,
        Self::DestinationUnwritable,
        Self::DiskFull,
        Self::DiskFailed,
        Self::Integrity,
        Self::HookFailed,
        Self::Resources,
        Self::ConnectionLost,
        Self::PathFailed,
        Self::PeerMisbehaved,
        Self::Tampered,
        Self::Unauthorized,
        Self::Cancelled,
    ];

    /// The code with this number; `None` for one that only a newer version knows.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u8 == number)
    }

    /// Short name, as in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Partial => "partial",
            Self::Unreachable => "unreachable",
            Self::HostKeyUnknown => "host-key-unknown",
            Self::HostKeyChanged => "host-key-changed",
            Self::Authentication => "authentication",
            Self::RemoteMissing => "remote-missing",
            Self::VersionMismatch => "version-mismatch",
            Self::NoCommonCipher => "no-common-cipher",
            Self::NotPermitted => "not-permitted",
            Self::UdpClosed => "udp-closed",
            Self::SetupTimeout => "setup-timeout",
            Self::NoSuchSource => "no-such-source",
            Self::SourceUnreadable => "source-unreadable",
            Self::DestinationUnwritable => "destination-unwritable",
            Self::DiskFull => "disk-full",
            Self::DiskFailed => "disk-failed",
            Self::Integrity => "integrity",
            Self::HookFailed => "hook-failed",
            Self::Resources => "resources",
            Self::ConnectionLost => "connection-lost",
            Self::PathFailed => "path-failed",
            Self::PeerMisbehaved => "peer-misbehaved",
            Self::Tampered => "tampered",
            Self::Unauthorized => "unauthorized",
            Self::Cancelled => "cancelled",
        }
    }
}
