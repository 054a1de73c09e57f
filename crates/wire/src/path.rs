//! What opens and checks a path: the bodies of the small sealed datagrams beside data.
//!
//! ```text
//! initiator                                responder
//!   HELLO (padded to each probe size) ──►
//!                                      ◄──  CHALLENGE (padded like the hello it answers)
//!   RESPONSE {echo, segment}          ──►
//!                                      ◄──  the first DATA / REPORT
//! either, while data flows                 the other
//!   PROBE (padded)                    ──►
//!                                      ◄──  ECHO
//! ```
//!
//! A body is postcard, then padding that the decoder ignores.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{PacketNo, WireError};

/// UDP payload sizes that are tried before data flows, largest first. Each is the length of a
/// datagram that carries one block, headers of IPv6 (48 bytes) or IPv4 (28) beside it:
/// jumbo frames of 9,000, 8,500 and 3,900 bytes; Ethernet over IPv4 (1472), over IPv6 and PPPoE
/// (1440); links and tunnels of 1,460, 1,420, 1,380 and 1,280 bytes; the IPv6 minimum (1232).
pub const PROBE_SIZES: [usize; 12] = [
    8928, 8416, 3808, 1472, 1440, 1424, 1408, 1376, 1360, 1312, 1248, 1232,
];

/// The least UDP payload that a path must carry: BASE_PLPMTU of RFC 8899, section 5.1.2.
pub const BASE_DATAGRAM_LEN: usize = 1200;

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

/// Asks for an echo. What comes back shows that the path carries datagrams of this length (RFC
/// 8899), or that whoever answers receives at the address it was sent to (RFC 9000, section 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Length of this datagram as sent.
    pub datagram_len: u16,
    /// Told back by the echo.
    pub token: u64,
}

/// Answer to a probe: short, whatever the probe's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The probe's token.
    pub token: u64,
}

/// Sender to receiver: what the sender knows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// Reports need not speak of packets below this any more.
    pub report_floor: PacketNo,
    /// The number the next data packet will have: all below have been sent.
    pub next_packet: PacketNo,
}

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
