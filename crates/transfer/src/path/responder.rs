use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use haul_seal::{Opener, Sealer};
use haul_udp::{Route, UdpPath};
use haul_wire::{
    Kind, PacketCounter,
    path::{Challenge, Hello, Response},
};

use super::{
    DATAGRAM_LEN_MAX, Envelope, OpenedPath, Origin, PATIENCE, Stopped, claimed_kind, is_probe_size,
};
use crate::TransferError;

/// Addresses remembered at a time. An honest initiator has one; a replaying attacker may try many,
/// and then only delays himself.
const CANDIDATES_MAX: usize = 16;
/// Bytes sent to an address before it has echoed its nonce, as a multiple of what came from it.
const AMPLIFICATION_MAX: usize = 3;

/// Waits until an initiator has proved that it receives at the address it sends from. `heard` is
/// called once, with the first authentic datagram.
///
/// # Errors
/// The socket's and the cipher's; [`TransferError::Cancelled`] when told to stop;
/// [`TransferError::SetupTimeout`] when `patience` is over.
pub(crate) fn await_opening(
    path: Arc<UdpPath>,
    origin: Origin,
    seals: (Arc<Sealer>, Arc<Opener>),
    patience: Duration,
    stopped: &Stopped,
    heard: impl FnOnce(),
) -> Result<OpenedPath, TransferError> {
    let mut doorman = Doorman {
        envelope: Envelope::new(seals.0, seals.1, PacketCounter::new()),
        path,
        candidates: VecDeque::with_capacity(CANDIDATES_MAX),
    };
    let mut heard = Some(heard);
    let began = Instant::now();
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    while began.elapsed() < patience {
        if stopped.is_set() {
            return Err(TransferError::Cancelled { by_peer: false });
        }
        let Some(received) = doorman.path.recv_one(&mut buffer, PATIENCE)? else {
            continue;
        };
        let route = Route {
            peer: received.from,
            source: received.to,
        };
        // Before anything is opened: a hello replayed from elsewhere must not use up its number.
        if !origin.allows(route.peer) {
            continue;
        }
        let datagram = &buffer[..received.len];
        match claimed_kind(datagram) {
            Some(Kind::Hello) => {
                if doorman.challenge(datagram, route)?
                    && let Some(heard) = heard.take()
                {
                    heard();
                }
            }
            Some(Kind::Response) => {
                if let Some((response, rtt)) = doorman.check(datagram, route) {
                    return doorman.admit(route, response, rtt);
                }
            }
            // Data may overtake the response; it is repeated later.
            _ => {}
        }
    }
    Err(TransferError::SetupTimeout {
        awaited: "UDP path",
        waited: patience,
    })
}

struct Doorman {
    envelope: Envelope,
    path: Arc<UdpPath>,
    candidates: VecDeque<Candidate>,
}

/// An address that hellos came from.
struct Candidate {
    /// Answers leave from the address that was addressed: this host may have several.
    route: Route,
    nonce: [u8; 8],
    bytes_in: usize,
    bytes_out: usize,
    challenged_at: Instant,
}

impl Doorman {
    /// Answers an authentic hello and says whether it was one.
    fn challenge(&mut self, datagram: &[u8], route: Route) -> Result<bool, TransferError> {
        let Some(hello) = self.envelope.open::<Hello>(Kind::Hello, datagram) else {
            return Ok(false);
        };
        // A datagram that was cut on its way says nothing about the path.
        if usize::from(hello.datagram_len) != datagram.len() || !is_probe_size(hello.datagram_len) {
            return Ok(true);
        }
        let candidate = self.candidate(route)?;
        candidate.bytes_in += datagram.len();
        if candidate.bytes_out + datagram.len() > AMPLIFICATION_MAX * candidate.bytes_in {
            return Ok(true);
        }
        candidate.bytes_out += datagram.len();
        let challenge = Challenge {
            datagram_len: hello.datagram_len,
            nonce: candidate.nonce,
        };
        let sealed = self
            .envelope
            .seal(Kind::Challenge, &challenge, datagram.len())?;
        // What the local interface cannot carry is as good as lost: a smaller probe gets through.
        self.path.send_to(route, sealed.bytes())?;
        Ok(true)
    }

    fn candidate(&mut self, route: Route) -> Result<&mut Candidate, TransferError> {
        let known = self
            .candidates
            .iter()
            .position(|candidate| candidate.route == route);
        let index = match known {
            Some(index) => index,
            None => {
                let mut nonce = [0; 8];
                getrandom::fill(&mut nonce)?;
                if self.candidates.len() == CANDIDATES_MAX {
                    self.candidates.pop_front();
                }
                self.candidates.push_back(Candidate {
                    route,
                    nonce,
                    bytes_in: 0,
                    bytes_out: 0,
                    challenged_at: Instant::now(),
                });
                self.candidates.len() - 1
            }
        };
        Ok(&mut self.candidates[index])
    }

    /// The response and the round trip, if the datagram is authentic and echoes this address's
    /// nonce.
    fn check(&self, datagram: &[u8], route: Route) -> Option<(Response, Duration)> {
        let candidate = self
            .candidates
            .iter()
            .find(|candidate| candidate.route == route)?;
        let response = self.envelope.open::<Response>(Kind::Response, datagram)?;
        let valid = response.nonce == candidate.nonce && is_probe_size(response.datagram_len);
        valid.then(|| (response, candidate.challenged_at.elapsed()))
    }

    fn admit(
        self,
        route: Route,
        response: Response,
        rtt: Duration,
    ) -> Result<OpenedPath, TransferError> {
        self.path.set_route(route);
        Ok(OpenedPath {
            path: self.path,
            counter: self.envelope.counter,
            peer: route.peer,
            datagram_len: usize::from(response.datagram_len),
            rtt,
            opening: None,
            is_detour: false,
            knock: None,
        })
    }
}
