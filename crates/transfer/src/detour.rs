//! Where UDP does not get through: datagrams take the control channel instead.
//!
//! ```text
//! engine ◄─ UDP on loopback ─► Detour ◄═ Datagrams, inside SSH ═► Detour ◄─ UDP on loopback ─► engine
//! ```
//!
//! To the engines it is a path like any other: it has a rate, a delay and a queue, and drops what does
//! not fit. They seal and pace what they send all the same.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use haul_wire::control::{DATAGRAMS_BYTES_MAX, DATAGRAMS_MAX, Message};
use rustix::net::sockopt;
use serde_bytes::ByteBuf;
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};

use crate::{TransferError, control::Frame};

/// What may wait for the channel: a router's buffer, a tenth of a second at 80 Mbit/s.
const BUFFER_BYTES: usize = 1 << 20;
/// Longest datagram that an engine sends, and then some.
const DATAGRAM_MAX: usize = 16 << 10;

/// This end's bridge between its engine and the control channel. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Detour {
    socket: Arc<UdpSocket>,
    /// The engine's socket: the responder's is known, the initiator's is the first that sends.
    engine: Arc<OnceLock<SocketAddr>>,
    carrying: JoinHandle<()>,
}

impl Detour {
    /// Opens the bridge; frames for the other end go to `out`.
    ///
    /// # Errors
    /// [`TransferError::Detour`] when the system gives no socket.
    pub(crate) fn open(
        engine: Option<SocketAddr>,
        out: mpsc::Sender<Frame>,
    ) -> Result<Self, TransferError> {
        let socket = Arc::new(bind().map_err(TransferError::Detour)?);
        let known = OnceLock::new();
        if let Some(engine) = engine {
            let _ = known.set(engine);
        }
        let engine = Arc::new(known);
        let carrying = tokio::spawn(carry(Arc::clone(&socket), Arc::clone(&engine), out));
        Ok(Self {
            socket,
            engine,
            carrying,
        })
    }

    /// Where the engine is to send.
    ///
    /// # Errors
    /// [`TransferError::Detour`] when the system does not tell.
    pub(crate) fn address(&self) -> Result<SocketAddr, TransferError> {
        self.socket.local_addr().map_err(TransferError::Detour)
    }

    /// Hands the other end's datagrams to the engine; what it cannot take is lost, as on any path.
    pub(crate) fn deliver(&self, datagrams: &[ByteBuf]) {
        if let Some(engine) = self.engine.get() {
            for datagram in datagrams {
                let _ = self.socket.try_send_to(datagram, *engine);
            }
        }
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

fn bind() -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes what the engine sends to the channel, as many at a time as there are.
async fn carry(
    socket: Arc<UdpSocket>,
    engine: Arc<OnceLock<SocketAddr>>,
    out: mpsc::Sender<Frame>,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while socket.readable().await.is_ok() {
        let mut datagrams = Vec::new();
        let mut bytes = 0;
        while bytes + DATAGRAM_MAX <= DATAGRAMS_BYTES_MAX
            && datagrams.len() < DATAGRAMS_MAX
            && let Ok((len, from)) = socket.try_recv_from(&mut buffer)
        {
            // Whoever else of this machine sends here would only be in the way.
            if *engine.get_or_init(|| from) == from {
                datagrams.push(ByteBuf::from(&buffer[..len]));
                bytes += len;
            }
        }
        if datagrams.is_empty() {
            continue;
        }
        let Ok(frame) = Frame::of(&Message::Datagrams(datagrams)) else {
            continue;
        };
        // A channel that is full holds the next ones back here, until there is no room for more.
        if out.send(frame).await.is_err() {
            return;
        }
    }
}
