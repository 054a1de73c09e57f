//! Where UDP does not get through: datagrams take the control channel instead.
//!
//! ```text
//! engine ◄─ UDP on loopback ─► Detour ◄═ frames of datagrams, inside SSH ═► Detour ◄─ UDP on loopback ─► engine
//! ```
//!
//! To the engines it is a path like any other, with a delay and a queue that drops what does not fit, and
//! they seal what they send all the same; only how fast is the connection's to decide. What one of them sends in one system call
//! stays together on the whole way, so that a datagram costs no more than its bytes.

mod carriage;
mod joining;

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use arrayvec::ArrayVec;
use haul_batch::{Batch, Pool};
use haul_udp::{Route, UdpPath};
use haul_wire::control::{DATAGRAMS_HEADER_LEN, DATAGRAMS_LEN_MAX, datagrams_header};

use crate::TransferError;

pub(crate) use carriage::{Carriage, Outlet, Queue, queue};
pub(crate) use joining::Joining;
pub use joining::join;

/// How many bytes a second a detour is not to limit: 640 Mbit/s, more than one TCP connection carries on
/// most paths that are so long that a limit would be felt.
const RATE: f64 = 80e6;
/// What may be on its way in one channel, at libssh2 and at OpenSSH alike.
const CHANNEL_WINDOW: u64 = 2 << 20;
/// Most channels, with the control channel. A server allows ten sessions by default.
const CHANNELS_MAX: u64 = 4;
/// What may wait for the channels: all that may be in flight, and what is sent again.
const BUFFER_BYTES: usize = 12 << 20;
/// Batches taken from the engine at a time.
const BATCHES: usize = 4;
/// How often a bridge looks whether it has been taken down, if nothing wakes it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Frames kept of those that come before this end has opened its bridge: a round of hellos.
const EARLY_MAX: usize = 4;

/// This end's bridge between its engine and the control channel. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Detour {
    path: Arc<UdpPath>,
    down: Arc<AtomicBool>,
}

impl Detour {
    /// Opens the bridge at an address of this machine itself. Frames for the other end go to `out`, those
    /// from it come through `inlet`. `engine` is where datagrams are awaited, if that is known: else it is whoever sends the first.
    ///
    /// # Errors
    /// [`TransferError::Udp`] when the system gives no socket, [`TransferError::Detour`] when it gives no
    /// thread.
    pub(crate) fn open(
        at: IpAddr,
        engine: Option<SocketAddr>,
        inlet: &Inlet,
        out: Queue,
    ) -> Result<Self, TransferError> {
        let path = UdpPath::bind(at, crate::ANY_UDP_PORT)?;
        if let Some(engine) = engine {
            path.set_route(Route::to(engine));
        }
        let detour = Self {
            path: Arc::new(path),
            down: Arc::default(),
        };
        inlet.open(&detour.path);
        let (path, down) = (Arc::clone(&detour.path), Arc::clone(&detour.down));
        thread::Builder::new()
            .name("haul-detour".to_owned())
            .spawn(move || carry(&path, &down, &out))
            .map_err(TransferError::Detour)?;
        Ok(detour)
    }

    /// Where the engine is to send.
    pub(crate) fn address(&self) -> SocketAddr {
        self.path.local_addr()
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        // The thread may be waiting for a peer that does not read, so nobody waits for the thread.
        self.down.store(true, Relaxed);
        self.path.stop_waiting();
    }
}

/// Takes what the engine sends to the channel.
fn carry(path: &UdpPath, down: &AtomicBool, out: &Queue) {
    let pool = Pool::new(BATCHES);
    let mut slots: Vec<Batch> = (0..BATCHES).filter_map(|_| pool.try_take()).collect();
    let mut arrivals = ArrayVec::new();
    // A bridge whose socket is broken is a path on which everything is lost: the engines notice that.
    while !down.load(Relaxed) && path.recv(&mut slots, &mut arrivals, PATIENCE).is_ok() {
        let bytes: usize = slots[..arrivals.len()].iter().map(Batch::len).sum();
        let mut frames = Vec::with_capacity(bytes + BATCHES * DATAGRAMS_HEADER_LEN);
        for (batch, arrival) in slots.iter().zip(&arrivals) {
            if path.route().is_none() {
                path.set_route(Route::to(arrival.from));
            }
            // Whoever else of this machine sends here would only be in the way.
            if path.peer() == Some(arrival.from)
                && let Ok(header) = datagrams_header(batch.stride(), batch.len())
            {
                frames.extend_from_slice(&header);
                frames.extend_from_slice(batch.bytes());
            }
        }
        if !frames.is_empty() && !out.push(frames) {
            return;
        }
    }
}

/// How many channels a detour with this round trip may need.
pub(crate) fn channels(rtt: Duration) -> usize {
    window_bytes(rtt).div_ceil(CHANNEL_WINDOW) as usize
}

/// What may be in flight on a detour with this round trip, in bytes.
pub(crate) fn window_bytes(rtt: Duration) -> u64 {
    let wanted = (rtt.as_secs_f64() * RATE) as u64;
    wanted.clamp(CHANNEL_WINDOW, CHANNELS_MAX * CHANNEL_WINDOW)
}

/// The address by which this machine reaches itself, of the same family.
pub(crate) fn this_machine(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The way in for what the other end's bridge took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inlet(Arc<Mutex<Bridge>>);

#[derive(Debug)]
enum Bridge {
    /// Not opened yet: the first frames are kept, each with the stride of its datagrams.
    Ahead(ArrayVec<(usize, Vec<u8>), EARLY_MAX>),
    Open(Arc<UdpPath>),
}

impl Default for Bridge {
    fn default() -> Self {
        Self::Ahead(ArrayVec::new())
    }
}

impl Inlet {
    /// Hands datagrams to the engine; what it cannot take is lost, as on any path.
    pub(crate) fn deliver(&self, stride: usize, datagrams: &[u8]) {
        debug_assert!(datagrams.len() <= DATAGRAMS_LEN_MAX);
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Bridge::Ahead(early) => {
                let _ = early.try_push((stride, datagrams.to_vec()));
            }
            Bridge::Open(path) => hand_over(path, stride, datagrams),
        }
    }

    fn open(&self, path: &Arc<UdpPath>) {
        let mut bridge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *bridge, Bridge::Open(Arc::clone(path)));
        if let Bridge::Ahead(early) = before {
            for (stride, datagrams) in early {
                hand_over(path, stride, &datagrams);
            }
        }
    }
}

/// An engine that nobody knows yet has asked for nothing.
fn hand_over(path: &UdpPath, stride: usize, datagrams: &[u8]) {
    let _ = path.send(datagrams, stride, false);
}
