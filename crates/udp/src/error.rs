use std::{io, net::IpAddr, ops::RangeInclusive};

/// Why a socket could not do its work. Always a local cause; what a network loses is no error.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Every port of the range is taken by others.
    #[error("no free UDP port in {}-{} on {ip}", .ports.start(), .ports.end())]
    NoFreePort {
        /// Address to bind.
        ip: IpAddr,
        /// Ports that were tried.
        ports: RangeInclusive<u16>,
    },
    /// The kernel refused.
    #[error("UDP {what}: {source}")]
    Socket {
        /// What was attempted.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl UdpError {
    pub(crate) fn because(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Socket { what, source }
    }
}
