//! What a policy did and why, for tests and for people.

use std::time::Duration;

use crate::Time;

/// One line of a policy's trace: what it decided and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// State of the policy after the decision.
    pub mode: Mode,
    /// Pacing rate after the decision, bits per second.
    pub rate_bps: f64,
    /// What the policy believes the path delivers to it, bits per second.
    pub bandwidth_bps: f64,
    /// Share of packets lost whatever the rate, 0 to 1.
    pub loss_floor: f64,
    /// Queueing delay seen.
    pub queue_delay: Duration,
    /// What made it decide.
    pub why: Why,
}

/// State of a rate policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Multiplies the rate until the path is full.
    Startup,
    /// Lets the queue of start-up go.
    Drain,
    /// Keeps the queue at its target and the loss at its floor.
    Track,
    /// Sends slower to see whose the loss is.
    DipLoss,
    /// Sends slower to see whose the queue is.
    DipQueue,
    /// Sends slower to see whether the loss floor still holds.
    DipAudit,
    /// Sends slower to see the delay without a queue.
    ProbeBase,
    /// Stands up to flows that fill buffers.
    Compete,
    /// Holds the rate to hear whether anybody still fills the buffer.
    Listen,
    /// Sends at the target rate.
    Steady,
    /// Sends slower to see whether delivery depends on the rate.
    Dip,
    /// The circuit breaker is open: sends a trickle.
    Breaker,
    /// Hears nothing and has lowered the rate.
    Silence,
}

impl Mode {
    /// The name used in events and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::Track => "track",
            Self::DipLoss => "dip-loss",
            Self::DipQueue => "dip-queue",
            Self::DipAudit => "dip-audit",
            Self::ProbeBase => "probe-base",
            Self::Compete => "compete",
            Self::Listen => "listen",
            Self::Steady => "steady",
            Self::Dip => "dip",
            Self::Breaker => "breaker",
            Self::Silence => "silence",
        }
    }
}

/// Reason of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Start-up ended at a standing queue.
    StartupQueue,
    /// Start-up ended at marks of congestion (ECN).
    StartupMarks,
    /// Start-up ended where more sent was not more delivered.
    StartupPlateau,
    /// Start-up ended at the user's target rate.
    StartupCeiling,
    /// The remembered rate was too high for the path as it is.
    StartupLess,
    /// The queue of start-up has gone.
    Drained,
    /// An experiment begins: whose is the loss?
    ExcessLoss,
    /// An experiment begins: whose is the queue?
    QueueStays,
    /// An experiment begins: is the floor still right?
    AuditBegins,
    /// Too little was sent or heard to judge.
    NoResult,
    /// There is no excess loss any more.
    LossWent,
    /// There is no queue any more.
    QueueWent,
    /// The loss is the path's: the floor rises.
    RandomLoss,
    /// Own overload; the queue target shrinks.
    BufferShort,
    /// Others must be there: competes.
    OverloadByOthers,
    /// Own overload: the rate found is a ceiling.
    Overload,
    /// The audit changed nothing.
    FloorStands,
    /// The audit lowered the floor.
    FloorTooHigh,
    /// Nobody took what was left free: the capacity fell.
    PathSlower,
    /// The delay is jitter.
    Noise,
    /// The path has become longer.
    RouteChange,
    /// Others are there, and yield, too.
    PeersYield,
    /// Others are there, and do not yield.
    QueueStayed,
    /// Somebody fills the buffer: competes.
    BufferFiller,
    /// Somebody fills the buffer: competes.
    OverflowByOthers,
    /// Competing ends: nobody else is there.
    LookedAlone,
    /// Competing ends: the queue went and stayed away.
    NobodyFills,
    /// A probe of the base delay begins: it was too high.
    BaseFell,
    /// A probe of the base delay begins: it may be old.
    NeverEmpty,
    /// The queue emptied: the base delay is known.
    BaseProbed,
    /// The queue did not empty.
    BaseProbedShared,
    /// Silence halves the rate.
    NoReports,
    /// Reports are back after a gap.
    ReportsResumed,
    /// Reports are back.
    HeardAgain,
    /// The address or the route changed.
    AnotherPath,
    /// The user changed the limits.
    LimitsChanged,
    /// The circuit breaker stops all but a trickle.
    BreakerOpens,
    /// The breaker's experiment begins.
    BreakerAsks,
    /// A raised rate is taken back.
    BreakerStillFull,
    /// A lowered rate is tried higher.
    BreakerRaises,
    /// The breaker lowers the rate.
    BreakerFull,
    /// The breaker leaves the rate as it is.
    BreakerRandom,
    /// The breaker lets the rate rise again.
    BreakerCloses,
    /// The breaker ends the session.
    BreakerFails,
}

impl Why {
    /// The reason in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::StartupQueue => "start-up: queue",
            Self::StartupMarks => "start-up: marks of congestion",
            Self::StartupPlateau => "start-up: delivery no longer grows",
            Self::StartupCeiling => "start-up: reached the user's ceiling",
            Self::StartupLess => "start-up: the path carries less than it did",
            Self::Drained => "drained",
            Self::ExcessLoss => "more loss than the floor",
            Self::QueueStays => "the queue does not yield",
            Self::AuditBegins => "auditing the loss floor",
            Self::NoResult => "experiment without a result",
            Self::LossWent => "the loss went by itself",
            Self::QueueWent => "the queue went by itself",
            Self::RandomLoss => "random loss: it did not follow the rate",
            Self::BufferShort => "overload: the buffer is shorter than the queue target",
            Self::OverloadByOthers => {
                "overload again and again without growing: others fill the buffer"
            }
            Self::Overload => "overload: loss fell or delivery did not",
            Self::FloorStands => "audit: the floor stands",
            Self::FloorTooHigh => "audit: the floor was too high",
            Self::PathSlower => "alone: delivery did not follow, the path has become slower",
            Self::Noise => "noise: the delay jumps about and did not follow the rate",
            Self::RouteChange => "route change: delay did not follow the rate",
            Self::PeersYield => "peers that yield: the queue went",
            Self::QueueStayed => "the queue stayed: a newcomer, or a buffer filler",
            Self::BufferFiller => "a buffer filler: the queue stayed again",
            Self::OverflowByOthers => "a loss at the longest queue: others fill the buffer",
            Self::LookedAlone => "nobody took what was left free: alone",
            Self::NobodyFills => "nobody fills the buffer any more",
            Self::BaseFell => "the base delay fell",
            Self::NeverEmpty => "the queue never emptied",
            Self::BaseProbed => "base delay probed",
            Self::BaseProbedShared => "base delay probed: the queue is not only mine",
            Self::NoReports => "no reports",
            Self::ReportsResumed => "reports resumed",
            Self::HeardAgain => "heard again",
            Self::AnotherPath => "another path",
            Self::LimitsChanged => "limits changed",
            Self::BreakerOpens => "breaker opens: hardly anything arrives",
            Self::BreakerAsks => "much is lost: does delivery depend on the rate?",
            Self::BreakerStillFull => "the path is still full",
            Self::BreakerRaises => "a little faster: does the path carry it?",
            Self::BreakerFull => "delivery does not depend on the rate: the path is full",
            Self::BreakerRandom => "delivery depends on the rate: the loss is random",
            Self::BreakerCloses => "breaker closes: a trickle arrives",
            Self::BreakerFails => "breaker open for too long",
        }
    }
}
