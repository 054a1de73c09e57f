use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use haul_seal::{Opener, Sealer};
use haul_udp::{Route, SendOutcome, UdpPath};
use haul_wire::{
    Kind, PacketCounter,
    path::{Challenge, Hello, PROBE_SIZES, Response},
};

use super::{
    DATAGRAM_LEN_MAX, DATAGRAM_LEN_MIN, Envelope, Opened, OpenedPath, Origin, PATIENCE, Stopped,
    claimed_kind, is_probe_size,
};
use crate::TransferError;

/// Copies of the important probes and of the response: one lost datagram costs nothing.
const COPIES: usize = 2;
/// What most paths carry, and what all do. The lengths between matter where a tunnel is on the way;
/// that one of them is lost costs a few per cent of payload.
const IMPORTANT: [usize; 4] = [DATAGRAM_LEN_MAX, 1472, 1440, DATAGRAM_LEN_MIN];
/// Least time between two rounds of hellos.
const ROUND_MIN: Duration = Duration::from_millis(200);
/// Least time that larger probes get to come back after the first one did.
const GRACE_MIN: Duration = Duration::from_millis(10);
/// Bytes of the response datagram: it carries no probe.
const RESPONSE_LEN: usize = 64;

/// Opens a path to `server`, answering only what comes from `origin`; silence when nothing came
/// back within `patience`. Numbers go on from `counter`.
///
/// # Errors
/// The socket's and the cipher's; [`TransferError::Cancelled`] when told to stop.
pub(crate) fn open(
    path: Arc<UdpPath>,
    server: SocketAddr,
    origin: Origin,
    seals: (Arc<Sealer>, Arc<Opener>, PacketCounter),
    patience: Duration,
    stopped: &Stopped,
) -> Result<Opened, TransferError> {
    let mut probing = Probing {
        envelope: Envelope::new(seals.0, seals.1, seals.2),
        path,
        server,
        origin,
        largest_sent: 0,
        best: None,
    };
    let began = Instant::now();
    let mut next_round = began;
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    while !probing.is_settled() {
        if stopped.is_set() {
            return Err(TransferError::Cancelled { by_peer: false });
        }
        let now = Instant::now();
        if probing.best.is_none() && now - began >= patience {
            return Ok(Opened::Silence(probing.envelope.counter));
        }
        if probing.best.is_none() && now >= next_round {
            probing.send_round()?;
            next_round = now + ROUND_MIN;
        }
        let wait_for = probing
            .best
            .as_ref()
            .map_or(next_round, |best| best.decide_at);
        let patience = wait_for.saturating_duration_since(now).min(PATIENCE);
        if let Some(received) = probing.path.recv_one(&mut buffer, patience)? {
            probing.hear(&buffer[..received.len], received.from, began);
        }
    }
    probing.settle()
}

struct Probing {
    envelope: Envelope,
    path: Arc<UdpPath>,
    server: SocketAddr,
    origin: Origin,
    /// Largest probe that this host itself let go.
    largest_sent: usize,
    best: Option<Best>,
}

/// What has come back so far.
struct Best {
    from: SocketAddr,
    nonce: [u8; 8],
    datagram_len: u16,
    rtt: Duration,
    /// When larger ones have had their chance.
    decide_at: Instant,
}

impl Probing {
    fn send_round(&mut self) -> Result<(), TransferError> {
        for size in PROBE_SIZES {
            let copies = if IMPORTANT.contains(&size) { COPIES } else { 1 };
            for _ in 0..copies {
                let hello = Hello {
                    datagram_len: size as u16,
                };
                let sealed = self.envelope.seal(Kind::Hello, &hello, size)?;
                if self.path.send_to(Route::to(self.server), sealed.bytes())? == SendOutcome::TooBig
                {
                    break;
                }
                self.largest_sent = self.largest_sent.max(size);
            }
        }
        Ok(())
    }

    fn hear(&mut self, datagram: &[u8], from: SocketAddr, began: Instant) {
        if !self.origin.allows(from) || claimed_kind(datagram) != Some(Kind::Challenge) {
            return;
        }
        let Some(challenge) = self.envelope.open::<Challenge>(Kind::Challenge, datagram) else {
            return;
        };
        let honest = usize::from(challenge.datagram_len) == datagram.len();
        if !honest || !is_probe_size(challenge.datagram_len) {
            return;
        }
        let now = Instant::now();
        let rtt = self.best.as_ref().map_or(now - began, |best| best.rtt);
        match &mut self.best {
            Some(best) if best.from == from => {
                best.nonce = challenge.nonce;
                best.datagram_len = best.datagram_len.max(challenge.datagram_len);
            }
            // The first address that answered is the peer; a nonce belongs to one address.
            Some(_) => {}
            None => {
                self.best = Some(Best {
                    from,
                    nonce: challenge.nonce,
                    datagram_len: challenge.datagram_len,
                    rtt,
                    decide_at: now + GRACE_MIN.max(rtt / 4),
                });
            }
        }
    }

    /// Whether nothing better can come, or has had its chance.
    fn is_settled(&self) -> bool {
        self.best.as_ref().is_some_and(|best| {
            usize::from(best.datagram_len) >= self.largest_sent || Instant::now() >= best.decide_at
        })
    }

    fn settle(mut self) -> Result<Opened, TransferError> {
        let Some(best) = self.best else {
            return Ok(Opened::Silence(self.envelope.counter));
        };
        let response = Response {
            nonce: best.nonce,
            datagram_len: best.datagram_len,
        };
        // Sent from whatever address this host has: a traveller may get another.
        let route = Route::to(best.from);
        self.path.set_route(route);
        for _ in 0..COPIES {
            let sealed = self
                .envelope
                .seal(Kind::Response, &response, RESPONSE_LEN)?;
            self.path.send_to(route, sealed.bytes())?;
        }
        Ok(Opened::Path(OpenedPath {
            path: self.path,
            counter: self.envelope.counter,
            peer: best.from,
            datagram_len: usize::from(best.datagram_len),
            rtt: best.rtt,
            opening: Some(response),
            is_detour: false,
            knock: None,
        }))
    }
}
