use std::{net::SocketAddr, time::Duration};

use haul_disk::Digests;
use haul_engine::StageTimes;
use haul_flow::{Decision, EcnState, Policy};
use haul_wire::{
    SuiteId,
    control::{Act, Change},
};

use crate::{Direction, InForce};

/// What a running transfer tells its owner. Every text in it is safe to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What the other host's shell printed before haul spoke, escaped.
    Noise(String),
    /// What a responder is asked for, before it looks at it; the initiator does not hear of it.
    Request(RequestFacts),
    /// Both ends are sure of each other and the path is open: data flows from here on.
    Session(SessionFacts),
    /// The path is not what it was: another address, or other datagrams.
    Path(PathFacts),
    /// What the sender of data keeps to: once when data begins to flow, and whenever it changes.
    Limits(InForce),
    /// Where the transfer is; a few times a second, and once at the end.
    Progress(Progress),
    /// A file has failed, or, when asked for, is finished. The sender hears of neither.
    File(FileRecord),
    /// What a file comes to; only when all are to be told of.
    Digest(DigestRecord),
    /// What became of a name at the destination that is no file that arrived; only when asked for, and
    /// where this end receives. In a dry run, what would become of any name, wherever it is.
    Change(ChangeRecord),
    /// What the rate policy of this end decided, and why; only where this end sends.
    Decision(Decision),
    /// How this end's line ran, once it has stopped.
    Line(LineFacts),
    /// Something went not quite as asked, at either end; the transfer goes on.
    Warning(Warning),
}

/// What was asked of a responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// Which way data is to flow, seen from the initiator.
    pub direction: Direction,
    /// What it is to send, or where it is to put what it receives; as typed. Bytes of unknown origin: escape
    /// before showing. Empty for a measurement.
    pub paths: Vec<Vec<u8>>,
}

/// What was agreed.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionFacts {
    /// Which way data flows, seen from the initiator.
    pub direction: Direction,
    /// How datagrams are sealed.
    pub suite: SuiteId,
    /// Who decides the rate.
    pub policy: Policy,
    /// The other end's UDP address.
    pub peer: SocketAddr,
    /// Bytes of UDP payload in a full datagram.
    pub segment_len: usize,
    /// Round trip of the path's opening.
    pub rtt: Duration,
    /// Program and version at the other end.
    pub agent: String,
}

/// The path as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFacts {
    /// The other end's UDP address.
    pub peer: SocketAddr,
    /// How often it has changed.
    pub moves: u64,
    /// Bytes of UDP payload in a datagram of data: fewer than at first where the path has shrunk.
    pub segment_len: usize,
}

/// Where a transfer is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Time since data began to flow.
    pub elapsed: Duration,
    /// File bytes that the receiver has: acknowledged (upload) or written (download).
    pub bytes: u64,
    /// File bytes found so far by the sender.
    pub bytes_total: u64,
    /// Files finished, as the receiver counts them; a sender hears of it now and then.
    pub files: u64,
    /// Files found so far by the sender.
    pub files_total: u64,
    /// Whether the totals are final.
    pub scanned: bool,
    /// Sending rate now, in bits per second of UDP payload.
    pub rate_bps: u64,
    /// File bytes that arrived since the last event, in bits per second, smoothed over a second.
    pub goodput_bps: u64,
    /// Smoothed share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Share of datagrams lost whatever the rate, as the policy believes, 0 to 1.
    pub loss_floor: f64,
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Least round trip of the last 15 to 30 seconds: what is above it is queue.
    pub min_rtt: Duration,
    /// The last round trip.
    pub latest_rtt: Duration,
    /// Mean deviation of the round trip.
    pub jitter: Duration,
    /// State of the sender's rate policy, for people; empty until it told.
    pub mode: String,
    /// Bytes of UDP payload sent so far, repeats included.
    pub sent_bytes: u64,
    /// Bytes of UDP payload sent again so far.
    pub retransmitted_bytes: u64,
    /// Time left at the present goodput; `None` while nobody can know.
    pub eta: Option<Duration>,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Path relative to the destination. Bytes of unknown origin: escape before showing.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub bytes: u64,
    /// `None` when it stands complete under its name, otherwise what went wrong.
    pub failure: Option<String>,
}

/// What one file comes to, at this end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRecord {
    /// Path relative to the destination, or, where this end sends, as it was listed. Bytes of unknown
    /// origin: escape before showing.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digests.
    pub digests: Digests,
}

/// What became, or would become, of a name at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// What.
    pub act: Act,
    /// Path relative to the destination. Bytes of unknown origin: escape before showing.
    pub path: Vec<u8>,
    /// Whether it was done; in a dry run it was not.
    pub done: bool,
}

impl ChangeRecord {
    pub(crate) fn new(change: Change, done: bool) -> Self {
        Self {
            act: change.act,
            path: change.path.into_vec(),
            done,
        }
    }
}

/// What there is to know about this end's line when somebody wonders what bound it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFacts {
    /// The stages that data went through here, first to last.
    pub stages: Vec<StageFacts>,
    /// Bytes of the largest IP packet that is known to get through: the path's MTU is no smaller.
    pub packet_len: usize,
    /// Bytes of UDP payload in a full datagram.
    pub segment_len: usize,
    /// Bytes of send buffer that the kernel granted the UDP socket.
    pub send_buffer_bytes: usize,
    /// Bytes of receive buffer that it granted.
    pub recv_buffer_bytes: usize,
    /// Whether packets are marked for ECN, on the end that sends.
    pub ecn: Option<EcnState>,
    /// Whether the kernel took whole batches to the end, or datagrams had to go one by one.
    pub segmentation_offload: bool,
}

/// Where one stage spent its time, summed over its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFacts {
    /// A word for what it does.
    pub name: String,
    /// Working.
    pub busy: Duration,
    /// Waiting for the stage before it, or for the moment to send.
    pub waiting_for_input: Duration,
    /// Waiting for a stage behind it.
    pub waiting_for_output: Duration,
}

impl StageFacts {
    pub(crate) fn of(times: &StageTimes) -> Self {
        Self {
            name: times.stage.to_string(),
            busy: times.busy,
            waiting_for_input: times.waiting_for_input,
            waiting_for_output: times.waiting_for_output,
        }
    }

    /// Share of its time that the stage worked, 0 to 1. One that never waits binds the line.
    pub fn load(&self) -> f64 {
        let all = self.busy + self.waiting_for_input + self.waiting_for_output;
        if all.is_zero() {
            return 0.0;
        }
        self.busy.as_secs_f64() / all.as_secs_f64()
    }
}

/// What the transfer cost one end, from the first data on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostFacts {
    /// Processor time of the process; a server that serves several at once counts all of them.
    pub cpu: Duration,
    /// Bytes of send buffer that the kernel granted the UDP socket.
    pub send_buffer_bytes: u64,
    /// Bytes of receive buffer that it granted.
    pub recv_buffer_bytes: u64,
    /// Datagrams that the kernel dropped because that buffer was full.
    pub dropped_datagrams: u64,
    /// The stage that waited least, and the share of its time that it worked, 0 to 1. The name is
    /// empty when nothing is known.
    pub busiest: (String, f64),
    /// Share of their time that all processors of the machine were busy, whoever with, 0 to 1; 0
    /// where that is not known.
    pub machine_load: f64,
}

/// Something that went not quite as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What, for a person.
    pub text: String,
    /// Whether the other end says so.
    pub remote: bool,
}

/// The account of a transfer that the receiver has called a success, or a partial one.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which way data went, seen from the initiator.
    pub direction: Direction,
    /// Whether the bytes went from memory to memory, and no file was touched.
    pub is_measurement: bool,
    /// Whether nothing was changed: what is counted is what would be.
    pub is_rehearsal: bool,
    /// File bytes that stand under their final names.
    pub bytes: u64,
    /// Files that do.
    pub files: u64,
    /// Files among those that had been there before.
    pub there_files: u64,
    /// Bytes among those that had, parts of files included.
    pub there_bytes: u64,
    /// Files and links not among those, in whose place another was left as it is.
    pub kept: u64,
    /// Names that the sender does not have and that were removed, as was asked for.
    pub deleted: u64,
    /// Names that failed.
    pub failed: u64,
    /// Those of them that were not what had been read.
    pub corrupt: u64,
    /// What the sender did not send on purpose; `None` at the receiver, who does not hear of it.
    pub omitted: Option<Omitted>,
    /// Seconds from the first hello to the verdict.
    pub seconds: f64,
    /// Seconds from the opening of the path to the verdict.
    pub data_seconds: f64,
    /// `bytes` that had not been there over `data_seconds`, in bits per second.
    pub goodput_bps: u64,
    /// Bytes of UDP payload sent, repeats included.
    pub udp_bytes: u64,
    /// Of those, bytes sent again.
    pub retransmitted_bytes: u64,
    /// Smoothed share of datagrams lost at the end, 0 to 1.
    pub loss: f64,
    /// Share of datagrams lost whatever the rate, as the policy believes, 0 to 1.
    pub loss_floor: f64,
    /// Smoothed round trip at the end, in milliseconds.
    pub rtt_ms: f64,
    /// Sending rate that fills the path as the sender found it, in bits per second; 0 if it did not.
    pub bandwidth_bps: u64,
    /// Least round trip of late, in milliseconds.
    pub min_rtt_ms: f64,
    /// Mean deviation of the round trip at the end, in milliseconds.
    pub jitter_ms: f64,
    /// Bytes of UDP payload in a full datagram.
    pub segment_len: usize,
    /// What it cost this end.
    pub here: HostFacts,
    /// What it cost the other end, as it told.
    pub there: HostFacts,
    /// Bytes that the control conversation took, both ways.
    pub control_bytes: u64,
    /// How datagrams were sealed.
    pub suite: SuiteId,
    /// Who decided the rate.
    pub policy: Policy,
}

/// What is below the sources and was not sent, without being a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omitted {
    /// Names that the selection left out; what is below a directory that was is not counted.
    pub left_out: u64,
    /// FIFOs, sockets and devices.
    pub special: u64,
}

/// One name that failed, as the receiver reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedFile {
    /// Path relative to the destination, escaped.
    pub path: String,
    /// What went wrong, escaped.
    pub why: String,
}

impl FailedFile {
    /// Whether another transfer was writing it, as one that was cut off may for a while.
    pub fn is_busy(&self) -> bool {
        self.why == haul_disk::FailureKind::Busy.to_string()
    }
}
