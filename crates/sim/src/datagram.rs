use haul_wire::{
    HEADER_LEN, PacketNo, TAG_LEN,
    path::{Echo, Probe},
};

use crate::content::Body;

/// Room for the encoded body of a report; a report that needs more is a violation.
pub(crate) const REPORT_BODY_MAX: usize = 1100;

/// Length of an echo.
const ECHO_LEN: usize = 48;

/// A datagram on its way. What is sealed in reality travels open here, and its length is stated.
#[derive(Debug, Clone)]
pub(crate) enum Datagram {
    /// A block.
    Data {
        packet: PacketNo,
        body: Body,
        len: usize,
    },
    /// An encoded [`haul_wire::path::Sync`].
    Sync(Vec<u8>),
    /// An encoded [`haul_wire::Report`].
    Report(Vec<u8>),
    /// A [`haul_wire::path::Probe`], as long as it says.
    Probe(Probe),
    /// A [`haul_wire::path::Echo`].
    Echo(Echo),
}

impl Datagram {
    /// Its UDP payload length.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Data { len, .. } => *len,
            Self::Sync(body) | Self::Report(body) => HEADER_LEN + body.len() + TAG_LEN,
            Self::Probe(probe) => usize::from(probe.datagram_len),
            Self::Echo(_) => ECHO_LEN,
        }
    }
}

/// The soonest of several timers.
pub(crate) fn soonest<const N: usize>(
    timers: [Option<haul_flow::Time>; N],
) -> Option<haul_flow::Time> {
    timers.into_iter().flatten().min()
}
