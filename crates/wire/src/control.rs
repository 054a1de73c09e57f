//! The control conversation inside SSH: what the two ends say, and how it is framed.
//!
//! ```text
//! initiator                                 responder
//!                                       ◄── shell noise (<= 8 KiB), then the preamble
//! ClientHello {versions, suites, keys}  ──►
//!                                       ◄── ServerHello {version, suite, keys, UDP port}, Confirm
//! Confirm, Request {direction, paths}   ──► (and the UDP path is opened)
//!                                       ◄── HelloSeen (the first datagram came)
//!                                       ◄── Accepted | Refused
//! Status | Warning | Ping | Pong        ◄─► Status | Warning | Ping | Pong
//! the receiver of data: Rate, Ceiling, Had ►
//!                                       ◄── the sender of data: InForce
//! the receiver of data: Verdict         ──►
//!                                       ◄── the sender of data: Done
//! ```
//!
//! Either end may send `Cancel` or `Error` at any time and then closes. Every message is one frame:
//! a big-endian `u32` length, 1 to [`FRAME_LEN_MAX`], and that many bytes of postcard; a length of 0
//! is [`PADDING`], and one with the highest bit set is that of datagrams, where they come this way. No
//! type is recursive, so no input can nest; every list is bounded while it is being decoded.

mod bounded;
mod code;
mod frame;
mod hello;
mod placing;
mod taking;
mod text;
mod token;
mod unkept;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub use code::ErrorCode;
pub use frame::{
    DATAGRAMS_HEADER_LEN, DATAGRAMS_LEN_MAX, FRAME_HEADER_LEN, FRAME_LEN_MAX, Framed, PADDING,
    datagrams, datagrams_header, frame,
};
pub use hello::{
    ClientHello, Features, HelloLimits, Nonce, ServerHello, Spoken, UDP_ENDPOINTS_MAX, UdpEndpoint,
};
pub use placing::{Act, Change, Fsync, Overwrite, Placing, SUFFIX_LEN_MAX};
pub use taking::{After, Selection, Symlinks, Taking};
pub use text::{TEXT_LEN_MAX, Text, escaped};
pub use token::{TOKEN_LEN_MAX, Token};
pub use unkept::{UNKEPT_MAX, Unkept};

use crate::WireError;

/// What the responder writes before its first frame; the sixth byte is the framing's version.
pub const PREAMBLE: [u8; 7] = *b"HAUL\x00\x01\n";
/// Most bytes of shell noise tolerated before the preamble.
pub const NOISE_LEN_MAX: usize = 8 * 1024;
/// Conversation versions this code speaks, newest first.
pub const VERSIONS: [u16; 1] = [1];
/// Most sources one request may name; longer lists belong in a directory or a pattern.
pub const SOURCES_MAX: usize = 8192;
/// Longest path in a request, in bytes.
pub const PATH_LEN_MAX: usize = 4096;
/// Most rules by which one request selects; matching looks at all of them for every name.
pub const RULES_MAX: usize = 4096;
/// Most runs of blocks that one message says to be there.
pub const HAD_RANGES_MAX: usize = 1 << 14;
/// Most changes in one message.
pub const CHANGES_MAX: usize = 128;
/// Most failed files a verdict names; the others are only counted.
pub const FAILURES_MAX: usize = 100;

/// One message of the control conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// What the initiator can do.
    ClientHello(ClientHello),
    /// What the responder chose.
    ServerHello(ServerHello),
    /// The responder speaks none of the initiator's versions, but these; the end follows.
    Spoken(Spoken),
    /// Proof that this end derived the same keys from the same conversation.
    Confirm(Confirm),
    /// What is to be moved.
    Request(Box<Request>),
    /// The request will be served.
    Accepted(Accepted),
    /// The request will not be served; the end follows.
    Refused(Fault),
    /// The responder has received a datagram of this session.
    HelloSeen,
    /// Where the other end is; about twice a second.
    Status(Status),
    /// Something the other end's user should know; the transfer goes on.
    Warning(Text),
    /// The receiver of data asks for other limits.
    Rate(Wish),
    /// The responder receives data and changes the most that the sender may send, in bits per
    /// second of UDP payload; `None` lifts it.
    Ceiling(Option<u64>),
    /// The sender of data says what it keeps to: once when data begins to flow, and after every
    /// [`Self::Rate`], [`Self::Ceiling`] and change of its own.
    InForce(InForce),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// This end's user wants no more.
    Cancel,
    /// What the receiver of data has, once it has everything it will get.
    Verdict(Verdict),
    /// The sender of data has seen the verdict.
    Done(Status),
    /// This end cannot go on; the end follows.
    Error(Fault),
    /// The receiver of data says which blocks of content need not be sent.
    Had(Had),
    /// The initiator: UDP does not get through, so datagrams will come in frames of their own, both ways.
    Detour,
    /// The responder's answer to that: what further channels need to carry datagrams as well.
    Joinable(Joinable),
    /// The responder receives data that is only rehearsed: what would become of names.
    Changes(#[serde(deserialize_with = "bounded::list::<_, _, CHANGES_MAX>")] Vec<Change>),
}

/// Proof of the keys: a MAC over the hash of both hellos, as received and as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// The MAC.
    pub mac: [u8; 32],
}

/// Which way data flows, seen from the initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// From the initiator to the responder.
    Upload,
    /// From the responder to the initiator.
    Download,
}

/// What is to be moved, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which way.
    pub direction: Direction,
    /// Download: what to send, as typed (patterns and `~` are the responder's to expand).
    /// Upload: empty.
    #[serde(deserialize_with = "bounded::list::<_, _, SOURCES_MAX>")]
    pub sources: Vec<ByteBuf>,
    /// Upload: where to put it. Download: empty.
    pub destination: ByteBuf,
    /// Upload: how many sources there are; several need a directory to land in.
    pub source_count: u64,
    /// Upload: whether a source stands for what is in it, as `dir/.` does.
    pub source_contents: bool,
    /// What the sender of data takes. Upload: what the receiver must know of it.
    pub taking: Taking,
    /// What becomes of what is there, and of what arrives.
    pub placing: Placing,
    /// What of files is carried over beside their contents.
    pub preserve: Preserve,
    /// What need not be sent because it is there. Unless it is nothing, the receiver remembers what it
    /// got if this one is cut off. Download: it will say [`Message::Had`], and no content is sent
    /// before.
    pub resume: Resume,
    /// Of which files both ends compute digests, to compare them.
    pub verify: Verify,
    /// Name of the rate policy, in lower case.
    pub policy: Text,
    /// How fast.
    pub rate: Rate,
    /// Download: what the path carried before, as the initiator remembers it.
    pub remembered: Option<Remembered>,
    /// Download: mark packets as able to carry notice of congestion (ECN, RFC 3168).
    pub ecn: bool,
    /// Move bytes from memory to memory instead of files; `sources` and `destination` are empty
    /// then.
    pub measure: Option<Measure>,
    /// What shows that somebody has allowed this.
    pub token: Option<Token>,
}

/// What of files is carried over beside their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preserve {
    /// Permissions, whatever the receiver's umask.
    pub mode: bool,
    /// Times of modification and access.
    pub times: bool,
    /// Numbers of owner and group.
    pub owner: bool,
    /// Extended attributes of users.
    pub xattrs: bool,
    /// POSIX access control lists.
    pub acls: bool,
    /// Which files are one file with several names.
    pub hard_links: bool,
    /// Also what gives power: set-user-id, set-group-id and sticky bits, capabilities, other owners.
    pub privileged: bool,
    /// What cannot be kept makes the file a failure.
    pub strict: bool,
}

impl Preserve {
    /// Permissions and times.
    pub const USUAL: Self = Self {
        mode: true,
        times: true,
        owner: false,
        xattrs: false,
        acls: false,
        hard_links: false,
        privileged: false,
        strict: false,
    };
}

/// By what a file that is there is taken for the one that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Resume {
    /// By nothing: everything is sent.
    Never,
    /// By size and time, or because an earlier run made it.
    #[default]
    Attributes,
    /// By these, and a digest of samples.
    Samples,
    /// By these, and a digest of all of it.
    Digest,
}

impl Resume {
    /// Whether contents are looked at.
    pub fn reads(self) -> bool {
        self >= Self::Samples
    }
}

/// Of which files both ends compute digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Verify {
    /// Of none.
    #[default]
    None,
    /// Of those that are sent.
    Sent,
    /// The sender of all: it wants to tell its user of them before the end.
    All,
}

/// Which blocks of content the receiver of data had before the transfer, from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had {
    /// First and one beyond the last of each run of such blocks.
    #[serde(deserialize_with = "bounded::list::<_, _, HAD_RANGES_MAX>")]
    pub ranges: Vec<(u64, u64)>,
    /// Nothing more will be said of blocks below this one: what has not been named is to be sent.
    pub judged: u64,
}

/// What a path carried once: a hint for who sends over it again, who believes the path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Sending rate that filled it, in bits per second of UDP payload.
    pub rate_bps: u64,
    /// Least round trip, in microseconds.
    pub min_rtt_us: u32,
}

/// When a transfer from memory to memory ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// After so many milliseconds of data.
    Millis(u32),
    /// After so many bytes.
    Bytes(u64),
}

/// The responder's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Download: how many sources there are, patterns expanded; several need a directory to land
    /// in.
    pub source_count: u64,
    /// Ceiling of the sending rate, in bits per second of UDP payload, whatever was asked for.
    pub rate_max_bps: Option<u64>,
    /// Upload: what of a cap that sessions share this one may begin with; [`Message::Ceiling`] changes it.
    pub share_bps: Option<u64>,
    /// Upload: the responder will say [`Message::Had`], and no content is sent before.
    pub judges: bool,
}

/// How fast, in bits per second of UDP payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// Target or ceiling; `None` leaves it to the policy.
    pub target_bps: Option<u64>,
    /// Floor; 0 for none.
    pub min_bps: u64,
}

/// How fast, and who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Name of the rate policy, in lower case.
    pub policy: Text,
    /// How fast.
    pub rate: Rate,
}

/// What the sender of data keeps to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// What was asked for last.
    pub asked: Wish,
    /// The most that is allowed whatever was asked for, in bits per second; `None` when nothing is
    /// forbidden.
    pub ceiling_bps: Option<u64>,
    /// Why it is said now.
    pub cause: Cause,
}

/// Why limits are as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Data begins to flow.
    Start,
    /// Somebody asked for it.
    Asked,
    /// The ceiling moved.
    Ceiling,
}

/// Where an end is: the sender of data fills what it knows, the receiver `files`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Bytes of all files found so far.
    pub bytes_total: u64,
    /// Files found so far.
    pub files_total: u64,
    /// Whether the two totals are final.
    pub scanned: bool,
    /// Sending rate now, in bits per second of UDP payload.
    pub rate_bps: u64,
    /// Smoothed loss, in parts per million.
    pub loss_ppm: u32,
    /// Share of packets lost whatever the rate, in parts per million.
    pub loss_floor_ppm: u32,
    /// Smoothed round trip, in microseconds.
    pub rtt_us: u32,
    /// The last round trip, in microseconds.
    pub latest_rtt_us: u32,
    /// Mean deviation of the round trip (RFC 6298), in microseconds.
    pub jitter_us: u32,
    /// State of the rate policy, for people.
    pub mode: Text,
    /// Bytes of UDP payload sent so far, repeats included.
    pub sent_bytes: u64,
    /// Of those, bytes sent again.
    pub retransmitted_bytes: u64,
    /// Files finished.
    pub files: u64,
    /// Sending rate that fills the path, as far as the sender knows; 0 while it does not.
    pub bandwidth_bps: u64,
    /// Least round trip of late, in microseconds.
    pub min_rtt_us: u32,
    /// How this end bears it.
    pub host: Host,
}

/// What a transfer costs an end, and what it was given. Counted from the first data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Processor time of the process, in microseconds.
    pub cpu_us: u64,
    /// Send buffer that the kernel granted the UDP socket, in bytes.
    pub send_buffer_bytes: u64,
    /// Receive buffer that it granted.
    pub recv_buffer_bytes: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub dropped_datagrams: u64,
    /// The stage of the line that waits least; empty while nothing is known.
    pub busiest_stage: Text,
    /// Share of its time that it works, in parts per million.
    pub busiest_ppm: u32,
    /// Share of their time that all processors of the machine were busy, whoever with, in parts per
    /// million; 0 where that is not known.
    pub machine_ppm: u32,
}

/// What the receiver of data has: the only ground for calling a transfer a success.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether everything that was listed has arrived and stands under its final name.
    pub ok: bool,
    /// Files that do.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files among those that had been there before.
    pub there_files: u64,
    /// Bytes among those that had, parts of files included.
    pub there_bytes: u64,
    /// Files and links not among those, in whose place another was left as it is.
    pub kept: u64,
    /// Names that the sender does not have and that were removed, as was asked for.
    pub deleted: u64,
    /// How many names failed.
    pub failed: u64,
    /// How many of those because what was written is not what was read.
    pub corrupt: u64,
    /// The first of them.
    #[serde(deserialize_with = "bounded::list::<_, _, FAILURES_MAX>")]
    pub failures: Vec<FileFault>,
    /// What could not be kept of files that did not fail, each kind once.
    #[serde(deserialize_with = "bounded::list::<_, _, UNKEPT_MAX>")]
    pub unkept: Vec<Unkept>,
}

/// One name that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFault {
    /// Its path, relative to the destination.
    pub path: ByteBuf,
    /// What went wrong.
    pub why: Text,
}

/// Why one end cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// An [`ErrorCode`]'s number; a newer peer may know more of them.
    pub code: u8,
    /// What happened, for a person.
    pub text: Text,
}

impl Fault {
    /// A fault with this code and text.
    pub fn new(code: ErrorCode, text: impl AsRef<[u8]>) -> Self {
        Self {
            code: code as u8,
            text: Text::new(text),
        }
    }
}

/// How a further channel joins a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joinable {
    /// What to give after `--join`, in hexadecimal.
    pub name: u128,
    /// How many channels may; 0 where none can.
    pub most: u8,
}

impl Message {
    /// The frame's body, without the length.
    ///
    /// # Errors
    /// [`WireError::Range`] when it would exceed [`FRAME_LEN_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let body = postcard::to_stdvec(self).map_err(|_| WireError::Malformed("message"))?;
        if body.len() > FRAME_LEN_MAX {
            return Err(WireError::Range("message length"));
        }
        Ok(body)
    }

    /// Decodes a frame's body. Only hellos may be longer than this version knows: what a later
    /// version appends to them is skipped.
    ///
    /// # Errors
    /// [`WireError`] when the body does not parse, is followed by more, or exceeds a limit.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        if body.len() > FRAME_LEN_MAX {
            return Err(WireError::Range("message length"));
        }
        let (message, rest) =
            postcard::take_from_bytes(body).map_err(|_| WireError::Malformed("message"))?;
        match &message {
            Self::ClientHello(_) | Self::ServerHello(_) | Self::Spoken(_) => {}
            _ if !rest.is_empty() => return Err(WireError::Malformed("message")),
            Self::Request(request) => request.check()?,
            Self::Verdict(verdict) => verdict.check()?,
            Self::Changes(changes) => placing::check(changes)?,
            _ => {}
        }
        Ok(message)
    }

    /// What kind of message it is, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientHello(_) => "client hello",
            Self::ServerHello(_) => "server hello",
            Self::Spoken(_) => "spoken versions",
            Self::Confirm(_) => "confirmation",
            Self::Request(_) => "request",
            Self::Accepted(_) => "acceptance",
            Self::Refused(_) => "refusal",
            Self::HelloSeen => "hello seen",
            Self::Status(_) => "status",
            Self::Warning(_) => "warning",
            Self::Rate(_) => "rate",
            Self::Ceiling(_) => "ceiling",
            Self::InForce(_) => "limits in force",
            Self::Had(_) => "what is there",
            Self::Detour => "detour",
            Self::Joinable(_) => "joinable",
            Self::Changes(_) => "changes",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Cancel => "cancel",
            Self::Verdict(_) => "verdict",
            Self::Done(_) => "done",
            Self::Error(_) => "error",
        }
    }
}

impl Request {
    /// Asks for one file or folder, of which nothing is known and nothing special is wanted; names are to
    /// be filled in.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            sources: Vec::new(),
            destination: ByteBuf::new(),
            source_count: 1,
            source_contents: false,
            taking: Taking::default(),
            placing: Placing::default(),
            preserve: Preserve::default(),
            resume: Resume::Never,
            verify: Verify::None,
            policy: Text::new("fair"),
            rate: Rate::default(),
            remembered: None,
            ecn: false,
            measure: None,
            token: None,
        }
    }

    /// Whether the receiver judges the list as it is read, so that the sender waits for its word.
    pub fn is_judged(&self) -> bool {
        self.resume != Resume::Never || self.placing.is_judged()
    }

    fn check(&self) -> Result<(), WireError> {
        let taking = &self.taking;
        let after = match &taking.after {
            After::Move(path) => Some(path),
            After::Keep | After::Remove => None,
        };
        let paths = (self.sources.iter())
            .chain([&self.destination])
            .chain(&taking.targets)
            .chain(&taking.src_base)
            .chain(after);
        for path in paths {
            if path.len() > PATH_LEN_MAX || path.contains(&0) {
                return Err(WireError::Range("request path"));
            }
        }
        self.placing.check()
    }
}

impl Verdict {
    fn check(&self) -> Result<(), WireError> {
        let consistent = self.failed >= self.failures.len() as u64 && (self.failed == 0) == self.ok;
        let failures = self.failures.iter().map(|f| &f.path);
        let mut paths = failures.chain(self.unkept.iter().map(|unkept| &unkept.path));
        let short = paths.all(|path| path.len() <= PATH_LEN_MAX);
        if consistent && short {
            Ok(())
        } else {
            Err(WireError::Range("verdict"))
        }
    }
}

#[cfg(test)]
mod tests;
