//! Opening the UDP path: hello, challenge, response, and the largest datagram both ways carry.
//!
//! ```text
//! initiator                                   responder
//!   HELLO, each probe size, twice         ──►
//!                                         ◄──  CHALLENGE of the same length, one nonce an address
//!   RESPONSE {nonce, largest that came back}
//!   and data, at once                     ──►
//! ```
//!
//! Every datagram is sealed: nothing is ever sent in answer to one that is not authentic. A hello
//! can be replayed from a victim's address, so the responder sends an address at most three times
//! what came from it, and no data until the address has echoed its nonce (RFC 9000, section 8).
//!
//! Both sides block, and run on threads of their own until they succeed, fail or are told to stop.

mod initiator;
mod responder;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use haul_batch::Pool;
use haul_engine::Knock;
use haul_seal::{Opener, Sealed, Sealer, body_range};
use haul_udp::UdpPath;
use haul_wire::{
    HEADER_LEN, Header, Kind, Lane, PacketCounter, TAG_LEN,
    path::{self, PROBE_SIZES, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::TransferError;

pub(crate) use initiator::open;
pub(crate) use responder::await_opening;

/// How often a waiting side looks whether it was told to stop.
const PATIENCE: Duration = Duration::from_millis(50);
/// Buffers for the small datagrams of the opening: one to seal into, one to open in.
const BUFFERS: usize = 2;
/// Longest datagram of the opening.
const DATAGRAM_LEN_MAX: usize = PROBE_SIZES[0];
/// The shortest.
const DATAGRAM_LEN_MIN: usize = PROBE_SIZES[PROBE_SIZES.len() - 1];

/// An opened path.
#[derive(Debug)]
pub(crate) struct OpenedPath {
    /// The socket, which knows its peer.
    pub(crate) path: Arc<UdpPath>,
    /// This end's numbering of the path lane, to be continued.
    pub(crate) counter: PacketCounter,
    /// The other end's address.
    pub(crate) peer: SocketAddr,
    /// Largest UDP payload that crossed both ways.
    pub(crate) datagram_len: usize,
    /// Round trip of the opening.
    pub(crate) rtt: Duration,
    /// On the initiator: what must be repeated until the peer is heard.
    pub(crate) opening: Option<Response>,
    /// Whether the control channel carries the datagrams.
    pub(crate) is_detour: bool,
    /// On an initiator whose datagrams take a detour: where they would go otherwise.
    pub(crate) knock: Option<Knock>,
}

/// Where datagrams of the session may come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Only from this address, at any port; once they take a detour, only from this machine.
    Only(IpAddr, Detoured),
    /// From anywhere.
    Anywhere,
}

/// Whether datagrams take a detour; shared with who finds out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detoured(Arc<AtomicBool>);

impl Detoured {
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Origin {
    /// Only this address, detours apart.
    pub(crate) fn only(ip: IpAddr) -> Self {
        Self::Only(ip, Detoured::default())
    }

    fn allows(&self, from: SocketAddr) -> bool {
        match self {
            // An IPv4 peer of a dual-stack socket shows as ::ffff:a.b.c.d.
            Self::Only(_, detoured) if detoured.is_set() => from.ip().to_canonical().is_loopback(),
            Self::Only(ip, _) => from.ip().to_canonical() == ip.to_canonical(),
            Self::Anywhere => true,
        }
    }
}

/// What came of opening a path.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It is open.
    Path(OpenedPath),
    /// Nothing came back. The numbers that were used must not be used again.
    Silence(PacketCounter),
}

/// Tells a blocking side to stop; dropping it tells so too.
#[derive(Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// The blocking side's view of a [`Stop`].
#[derive(Debug, Clone)]
pub(crate) struct Stopped(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn watch(&self) -> Stopped {
        Stopped(Arc::clone(&self.0))
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Stopped {
    fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Seals and opens the small datagrams of the opening.
struct Envelope {
    sealer: Arc<Sealer>,
    opener: Arc<Opener>,
    counter: PacketCounter,
    pool: Pool,
}

impl Envelope {
    fn new(sealer: Arc<Sealer>, opener: Arc<Opener>, counter: PacketCounter) -> Self {
        Self {
            sealer,
            opener,
            counter,
            pool: Pool::new(BUFFERS),
        }
    }

    /// Seals `body`, padded to a datagram of `datagram_len` bytes, under a number of its own.
    fn seal<T: Serialize>(
        &mut self,
        kind: Kind,
        body: &T,
        datagram_len: usize,
    ) -> Result<Sealed, TransferError> {
        let (Some(run), Some(mut batch)) = (self.counter.take(1), self.pool.try_take()) else {
            return Err(TransferError::TaskFailed("path"));
        };
        batch.shape(datagram_len, 1);
        let bytes = batch.bytes_mut();
        bytes.fill(0);
        path::encode(body, &mut bytes[body_range(datagram_len)]);
        Ok(self.sealer.seal_batch(kind, Lane::PATH, run, batch)?)
    }

    /// Opens one datagram if it is authentic, new and of this kind.
    fn open<T: DeserializeOwned>(&self, kind: Kind, datagram: &[u8]) -> Option<T> {
        let mut batch = self.pool.try_take()?;
        if !batch.push(datagram) {
            return None;
        }
        // All of this happens in the first epoch, whose grace needs no clock.
        let opened = self.opener.open_batch(batch, 0);
        let segment = opened.segments().next()?;
        if segment.header.kind != kind || segment.header.lane != Lane::PATH {
            return None;
        }
        path::decode("path opening", segment.body).ok()
    }
}

/// What a datagram claims to be, before anything is spent on it: opening would use up its number.
fn claimed_kind(datagram: &[u8]) -> Option<Kind> {
    let header = Header::decode(datagram).ok()?;
    (header.lane == Lane::PATH).then_some(header.kind)
}

/// Whether a session can work with datagrams of this length.
fn is_probe_size(datagram_len: u16) -> bool {
    PROBE_SIZES.contains(&usize::from(datagram_len))
}

const _: () = assert!(DATAGRAM_LEN_MIN > HEADER_LEN + TAG_LEN);

#[cfg(test)]
mod tests;
