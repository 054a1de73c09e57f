use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

use super::{bounded, text::Text};
use crate::SessionId;

/// Most conversation versions one hello may name.
const VERSIONS_MAX: usize = 16;
/// Most suites one hello may offer.
const SUITES_MAX: usize = 32;
/// Most UDP addresses a responder may name.
pub const UDP_ENDPOINTS_MAX: usize = 8;

/// First message of the initiator.
///
/// A later version may append fields; this one skips them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// Conversation versions spoken, newest first.
    #[serde(deserialize_with = "bounded::list::<_, _, VERSIONS_MAX>")]
    pub versions: Vec<u16>,
    /// Numbers of the suites offered, preferred first; unknown ones are ignored.
    #[serde(deserialize_with = "bounded::list::<_, _, SUITES_MAX>")]
    pub suites: Vec<u8>,
    /// Secret bytes for the keys.
    pub nonce: Nonce,
    /// Ephemeral X25519 public key.
    pub public: [u8; 32],
    /// What else this end can do.
    pub features: Features,
    /// What this end can take.
    pub limits: HelloLimits,
    /// Whether datagrams will come over IPv6.
    pub ipv6: bool,
    /// First and last UDP port the responder should use, as far as its policy allows; `None` leaves
    /// the choice to it.
    pub udp_ports: Option<(u16, u16)>,
    /// Program and version, for messages only.
    pub agent: Text,
}

/// First message of the responder.
///
/// A later version may append fields; this one skips them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// The version chosen from the initiator's.
    pub version: u16,
    /// Number of the suite chosen from the initiator's.
    pub suite: u8,
    /// Secret bytes for the keys.
    pub nonce: Nonce,
    /// Ephemeral X25519 public key.
    pub public: [u8; 32],
    /// The session, in every datagram's header.
    pub session: SessionId,
    /// Where datagrams are awaited, preferred first.
    #[serde(deserialize_with = "bounded::list::<_, _, UDP_ENDPOINTS_MAX>")]
    pub udp: Vec<UdpEndpoint>,
    /// What else this session will use: `offered` is what both ends offered.
    pub features: Features,
    /// What this end can take.
    pub limits: HelloLimits,
    /// Program and version, for messages only.
    pub agent: Text,
}

/// The versions a responder speaks when the initiator offered none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// Newest first.
    #[serde(deserialize_with = "bounded::list::<_, _, VERSIONS_MAX>")]
    pub versions: Vec<u16>,
}

/// Feature bits. A peer ignores offered bits it does not know, and ends the conversation over a
/// required bit it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// May be used when both ends offer it.
    pub offered: u64,
    /// Must be understood by the other end.
    pub required: u64,
}

impl Features {
    /// Bits this version knows: none yet.
    pub const KNOWN: u64 = 0;

    /// Required bits that this version does not know.
    pub fn unknown_required(self) -> u64 {
        self.required & !Self::KNOWN
    }
}

/// What one end can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloLimits {
    /// Bytes this end buffers between the network and the disk when it receives.
    pub receive_buffer_bytes: u64,
}

/// One UDP address of the responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpEndpoint {
    /// Address; `None` is the one that SSH reached.
    pub ip: Option<IpAddr>,
    /// Port, not 0.
    pub port: u16,
}

/// Random bytes that one end contributes to the keys. As secret as SSH: wiped, never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ZeroizeOnDrop)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}
