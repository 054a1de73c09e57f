use std::time::Duration;

use haul_wire::PacketNo;

/// Why a session's flow cannot start or go on.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FlowError {
    /// Configuration: `fixed` takes the rate from the user and there was none.
    #[error("rate policy \"fixed\" needs a target rate")]
    RateRequired,
    /// Configuration: a value outside its range.
    #[error("{0} is out of range")]
    Config(&'static str),
    /// The peer acknowledged a packet that was never numbered: it lies to be sent more, or is
    /// broken. The session must end.
    #[error("peer acknowledged packet {}, but only numbers below {} exist", .named.0, .next.0)]
    AcknowledgedUnsent {
        /// The number the report named.
        named: PacketNo,
        /// The first number that has not been given out.
        next: PacketNo,
    },
    /// The peer has not been heard for too long.
    #[error("no report from the peer for {0:?}")]
    PeerSilent(Duration),
    /// The peer is heard, but nothing that was sent has arrived for too long.
    #[error("the peer is heard, but none of the data sent for {0:?} arrived")]
    PathBlocked(Duration),
    /// The circuit breaker: the network does not carry what is sent (RFC 8084).
    #[error(
        "circuit breaker: the path delivered only {delivered_percent} % of what was sent; \
         lower the target rate"
    )]
    CircuitBreaker {
        /// Delivered share of what was sent, 0 to 100.
        delivered_percent: u8,
    },
    /// All 2^48 packet numbers of the session are used up; a new session must be begun.
    #[error("all packet numbers of this session are used up")]
    NumbersExhausted,
}
