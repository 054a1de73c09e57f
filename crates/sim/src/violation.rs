use std::time::Duration;

use haul_flow::{FlowError, Time};
use haul_wire::{BlockAddr, PacketNo, Stream, WireError};

/// What the machines under test promised and did not keep.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The sender did not accept the scenario's configuration.
    #[error("sender refused its configuration: {0}")]
    Refused(FlowError),
    /// A block outside the content, or one the source had not told of.
    #[error("sent {0:?}, which the source has not told of")]
    Unknown(BlockAddr),
    /// A packet number left twice.
    #[error("packet number {0:?} left twice or out of order")]
    NumberReused(PacketNo),
    /// A datagram or its block does not hold what was put in.
    #[error("packet {0:?} carries the wrong bytes")]
    WrongBytes(PacketNo),
    /// An encoded message does not decode.
    #[error("a message does not decode: {0}")]
    Undecodable(WireError),
    /// A report that does not fit the datagram.
    #[error("report {0} does not fit its datagram")]
    ReportTooLong(u32),
    /// The sender says delivered, but blocks are missing.
    #[error("delivered, the sender says, but {missing} of {blocks} blocks have not arrived")]
    FalselyDelivered {
        /// How many have not arrived.
        missing: u64,
        /// How many there are.
        blocks: u64,
    },
    /// The delivered floor is ahead of what has arrived.
    #[error("{stream:?} blocks below {floor} arrived, the sender says, but {arrived} did")]
    FalseFloor {
        /// Of which stream.
        stream: Stream,
        /// The floor the sender states.
        floor: u64,
        /// Where the first gap really is.
        arrived: u64,
    },
    /// A packet left that no plan named, or not in the order of the plans.
    #[error("packet {0:?} left without a plan, or out of order")]
    Unplanned(PacketNo),
    /// A batch left before the airtime of those before it was over, by more than a burst.
    #[error("packet {packet:?} left {ahead:?} before the airtime of those before it was over")]
    LeftEarly {
        /// First number of the batch.
        packet: PacketNo,
        /// How much too early.
        ahead: Duration,
    },
    /// Bytes were planned faster than the pacing rate and the burst bound allow.
    #[error("{what}: {level} bytes ahead of the pacing rate, {bound} allowed")]
    Burst {
        /// Which schedule.
        what: &'static str,
        /// Bytes above what the rate allows.
        level: u64,
        /// Bytes that may be.
        bound: u64,
    },
    /// A quantity left its bound.
    #[error("{what} is {level}, above {bound}")]
    Bound {
        /// Which quantity.
        what: &'static str,
        /// What it reached.
        level: u64,
        /// What it may be.
        bound: u64,
    },
    /// More was sent again than was lost.
    #[error(
        "{needless} needless repeats of {sent} packets with {lost} lost; {allowed} are allowed"
    )]
    Repeats {
        /// Transmissions that arrived although their block had arrived already.
        needless: u64,
        /// Transmissions.
        sent: u64,
        /// Transmissions that did not arrive.
        lost: u64,
        /// Needless repeats that are allowed.
        allowed: u64,
    },
    /// The receiver was sent more than it has room for.
    #[error("{overruns} of {sent} packets found no room at the receiver; {allowed} may")]
    Overruns {
        /// Packets that found no room.
        overruns: u64,
        /// Packets sent.
        sent: u64,
        /// Packets that may find none.
        allowed: u64,
    },
    /// The transfer is over, but an end goes on talking.
    #[error("{what} after delivery: {count}, {allowed} allowed")]
    NotQuiet {
        /// Which kind of datagram.
        what: &'static str,
        /// How many in the window.
        count: u64,
        /// How many are allowed.
        allowed: u64,
    },
    /// Virtual time passed the scenario's deadline.
    #[error("not done after {after:?}: {arrived} of {blocks} blocks have arrived")]
    Hang {
        /// The deadline.
        after: Duration,
        /// Blocks that have arrived.
        arrived: u64,
        /// Blocks there are.
        blocks: u64,
    },
    /// Nothing is in transit and no timer runs, but the transfer is not done.
    #[error("nothing will ever happen again: {arrived} of {blocks} blocks have arrived")]
    Deadlock {
        /// Blocks that have arrived.
        arrived: u64,
        /// Blocks there are.
        blocks: u64,
    },
    /// A timer stays due at the same instant however often it is handled.
    #[error("a timer stays due at {0:?} however often it is handled")]
    Spins(Time),
    /// The sender failed where it should have delivered, or with another error than it should.
    #[error("failed unexpectedly at {at:?}: {error}")]
    Failed {
        /// When.
        at: Time,
        /// With what.
        error: FlowError,
    },
    /// The sender gave up too early or too late.
    #[error("gave up {0:?} after the last sign of life, not after about 30 s")]
    Patience(Duration),
    /// The run did not end as the scenario says.
    #[error("neither delivered nor failed as it should have")]
    Unended,
    /// A machine's statistics are not what happened.
    #[error("{what}: {said} by the machine's account, {really} in truth")]
    Miscounted {
        /// What was counted.
        what: &'static str,
        /// What the machine says.
        said: u64,
        /// What happened.
        really: u64,
    },
    /// The same scenario took another course when run again.
    #[error("not deterministic: two runs took different courses")]
    Nondeterministic,
}
