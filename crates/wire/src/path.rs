//! What opens, checks and closes a path: the bodies of the small sealed datagrams beside data.
//!
//! ```text
//! initiator                                responder
//!   HELLO (padded: jumbo, 1452, 1232) ──►
//!                                      ◄──  CHALLENGE (padded like the hello it answers)
//!   RESPONSE {echo, segment}          ──►
//!                                      ◄──  the first DATA / REPORT
//! ```
//!
//! A body is postcard, then padding that the decoder ignores.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{PacketNo, WireError};

/// UDP payload sizes that are tried before data flows, largest first: an IPv6 jumbo frame, an
/// Ethernet frame over IPv6 (so also over IPv4), the IPv6 minimum.
pub const PROBE_SIZES: [usize; 3] = [8952, 1452, 1232];

/// First datagram of the initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Length of this datagram as sent, padding, header and tag included.
    pub datagram_len: u16,
}

/// Answer to a hello, padded to the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Length of this datagram as sent.
    pub datagram_len: u16,
    /// Random; proves that whoever echoes it receives at this address.
    pub nonce: [u8; 8],
}

/// Echo of a challenge; fixes the segment size of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The challenge's nonce.
    pub nonce: [u8; 8],
    /// Largest UDP payload that crossed the path in both directions.
    pub datagram_len: u16,
}

/// Reserved for [`crate::Kind::Ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {}

/// Sender to receiver: what the sender knows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// Reports need not speak of packets below this any more.
    pub report_floor: PacketNo,
    /// The number the next data packet will have: all below have been sent.
    pub next_packet: PacketNo,
}

/// Reserved for [`crate::Kind::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {}

/// Encodes a body into `out` and returns its length, or `None` when it does not fit.
pub fn encode<T: Serialize>(body: &T, out: &mut [u8]) -> Option<usize> {
    postcard::to_slice(body, out).ok().map(|used| used.len())
}

/// Decodes a body; what follows it is padding.
///
/// # Errors
/// [`WireError::Malformed`] naming `what`.
pub fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, WireError> {
    postcard::take_from_bytes(body)
        .map(|(value, _)| value)
        .map_err(|_| WireError::Malformed(what))
}
