//! Which flow a packet belongs to.

use std::{fmt, net::SocketAddr};

use etherparse::{InternetSlice, SlicedPacket, TransportSlice};

/// Protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Anything else; ports are 0.
    Other,
}

/// One direction of a conversation: who sends to whom over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Protocol above IP.
    pub transport: Transport,
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives.
    pub to: SocketAddr,
}

impl Flow {
    /// The flow of a whole IP packet; `None` when it is none.
    pub(crate) fn of(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let (from, to) = match sliced.net? {
            net if net.is_ipv4() => {
                let header = net.ipv4_ref()?.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                )
            }
            InternetSlice::Ipv6(v6) => (
                v6.header().source_addr().into(),
                v6.header().destination_addr().into(),
            ),
            _ => return None,
        };
        let (transport, from_port, to_port) = match sliced.transport {
            Some(TransportSlice::Udp(udp)) => {
                (Transport::Udp, udp.source_port(), udp.destination_port())
            }
            Some(TransportSlice::Tcp(tcp)) => {
                (Transport::Tcp, tcp.source_port(), tcp.destination_port())
            }
            _ => (Transport::Other, 0, 0),
        };
        Some(Self {
            transport,
            from: SocketAddr::new(from, from_port),
            to: SocketAddr::new(to, to_port),
        })
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Other => "other",
        };
        write!(f, "{name} {} > {}", self.from, self.to)
    }
}
