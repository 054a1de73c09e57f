use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use haul_disk::{Sink, Supply};
use haul_flow::{ReceiverConfig, SenderConfig};
use haul_seal::{Opener, Sealer};
use haul_udp::UdpPath;
use haul_wire::{PacketCounter, path::Response};

use crate::EngineEvent;

/// Buffers of the sending line: enough for the plans of a few milliseconds at 10 Gbit/s.
pub(crate) const SEND_BUFFERS: usize = 64;
/// Buffers of the receiving line: 40 MiB, more than may wait for the list.
pub(crate) const RECEIVE_BUFFERS: usize = 640;
/// Buffers for reports and other small datagrams, which must not starve behind data.
pub(crate) const CONTROL_BUFFERS: usize = 8;
/// Facts and requests that may queue for a driver.
pub(crate) const INBOX_DEPTH: usize = 1024;

/// Threads of their own for a stage without state. Half the cores, since the other half has I/O to
/// do; more than four outrun any single socket. None where a core is worth less than its cache: with
/// two, what a batch costs to hand over is more than what is won by working side by side.
pub(crate) fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores <= 2 { 0 } else { (cores / 2).min(4) }
}

/// Called by the driver's thread; must not block.
pub type OnEvent = Box<dyn FnMut(EngineEvent) + Send>;

/// What a line needs of the opened path, whichever way data goes.
pub struct Link {
    /// Socket with its peer fixed.
    pub path: Arc<UdpPath>,
    /// Seals what this end sends.
    pub sealer: Arc<Sealer>,
    /// Opens what the other end sends.
    pub opener: Arc<Opener>,
    /// Numbers of this end's path lane, continued from the opening of the path.
    pub path_counter: PacketCounter,
    /// On the initiator: the response to the challenge, repeated until the peer is heard.
    pub opening: Option<Response>,
    /// Where the peer might be reached as well, for the time being not.
    pub knock: Option<Knock>,
    /// Where events go.
    pub on_event: OnEvent,
}

/// A better way to the peer that may open: it is asked now and then, and when it is heard from there,
/// both ends move there as to any other address.
#[derive(Debug, Clone, Copy)]
pub struct Knock {
    /// The peer's address there.
    pub at: SocketAddr,
    /// When to ask first; the time between two questions doubles, up to half a minute or this.
    pub after: Duration,
}

/// What the sending line is built from.
pub struct SendSetup {
    /// The opened path.
    pub link: Link,
    /// What is sent.
    pub outgoing: Arc<dyn Supply>,
    /// Parameters of the sending machine.
    pub flow: SenderConfig,
}

/// What the receiving line is built from.
pub struct ReceiveSetup {
    /// The opened path.
    pub link: Link,
    /// Where what arrives goes.
    pub incoming: Box<dyn Sink>,
    /// Parameters of the receiving machine.
    pub flow: ReceiverConfig,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SendSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSetup")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceiveSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveSetup")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
