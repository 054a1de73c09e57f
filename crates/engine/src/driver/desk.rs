use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Receiver;
use haul_batch::{Batch, Pool};
use haul_flow::Time;
use haul_seal::{Opener, Sealer, body_range};
use haul_udp::{Route, UdpPath};
use haul_wire::{
    HEADER_LEN, Kind, Lane, PacketCounter, PacketRun, TAG_LEN,
    path::{self, Echo, Probe, Response},
};

use super::{Fact, knocking::Knocking, roaming::Roaming};
use crate::{
    EngineError, EngineEvent, Link, OnEvent, Snapshot, Stage, clock::Clock, setup::CONTROL_BUFFERS,
    stats::Board,
};

/// Room for the largest small datagram; fits any path that was opened.
const SMALL_DATAGRAM_LEN: usize = 1200;
/// Length of a challenge to an address that the peer may have moved to.
const CHALLENGE_LEN: usize = 64;
/// Length of an echo: no longer than the shortest probe.
const ECHO_LEN: usize = 48;
/// Facts that follow each other faster are taken together: at full speed, waking for each would cost a
/// tenth of two cores, and nothing that a machine decides is that urgent.
const TOGETHER: Duration = Duration::from_micros(100);
/// How often snapshots are posted.
const POST_INTERVAL: Duration = Duration::from_millis(50);
/// How often the response is repeated until the peer is heard.
const OPENING_INTERVAL: Duration = Duration::from_millis(100);
/// Longest life of one key epoch (NIST SP 800-38B's message bound is far away; this bounds exposure).
const EPOCH_AGE_MAX: Duration = Duration::from_secs(3600);

/// How the peer has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// To another port of the same address.
    Port,
    /// To another address.
    Address,
}

/// What both drivers need beside their machine: the way out for small datagrams, the inbox, the
/// board, the clock.
pub(crate) struct Desk {
    pub(crate) clock: Clock,
    path: Arc<UdpPath>,
    sealer: Arc<Sealer>,
    opener: Arc<Opener>,
    path_counter: PacketCounter,
    opening: Option<Response>,
    roaming: Roaming,
    knocking: Option<Knocking>,
    on_event: OnEvent,
    board: Arc<Board>,
    facts: Receiver<Fact>,
    pool: Pool,
    next_post: Time,
    next_opening: Time,
    next_epoch: Time,
    /// When something happened last.
    woken: Time,
}

impl Desk {
    pub(crate) fn new(link: Link, clock: Clock, board: Arc<Board>, facts: Receiver<Fact>) -> Self {
        let now = clock.now();
        Self {
            clock,
            path: link.path,
            sealer: link.sealer,
            opener: link.opener,
            path_counter: link.path_counter,
            opening: link.opening,
            roaming: Roaming::default(),
            knocking: link.knock.map(|knock| Knocking::new(knock, now)),
            on_event: link.on_event,
            board,
            facts,
            pool: Pool::new(CONTROL_BUFFERS),
            woken: now,
            next_post: now,
            next_opening: now + OPENING_INTERVAL,
            next_epoch: now + EPOCH_AGE_MAX,
        }
    }

    /// Runs a driver's loop; its error or panic becomes the line's last event.
    pub(crate) fn guard<D>(
        mut driver: D,
        desk: impl FnOnce(&mut D) -> &mut Self,
        body: impl FnOnce(&mut D) -> Result<(), EngineError>,
    ) -> D {
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut driver)));
        if let Err(error) = outcome.unwrap_or(Err(EngineError::Panicked(Stage::Driver))) {
            desk(&mut driver).tell(EngineEvent::Failed(error));
        }
        driver
    }

    pub(crate) fn tell(&mut self, event: EngineEvent) {
        (self.on_event)(event);
    }

    /// The peer has opened what this end sealed lately, so it follows the present epoch.
    pub(crate) fn peer_follows(&mut self) {
        self.sealer.confirm_epoch(self.sealer.epoch() as u8);
    }

    /// The peer has been heard: it has our response, or does not need it.
    pub(crate) fn peer_heard(&mut self) {
        self.opening = None;
    }

    /// The next fact, waiting for it until `deadline` or until something of the desk's own is due.
    pub(super) fn wait(&mut self, deadline: Option<Time>) -> Option<Fact> {
        let mut deadline = deadline.map_or(self.next_post, |at| at.min(self.next_post));
        if self.opening.is_some() {
            deadline = deadline.min(self.next_opening);
        }
        let together = self.woken + TOGETHER - self.clock.now();
        if !together.is_zero() {
            std::thread::sleep(together);
        }
        let fact = self.facts.recv_deadline(self.clock.instant(deadline)).ok();
        self.woken = self.clock.now();
        fact
    }

    /// The next fact, if there is one now.
    pub(super) fn next(&self) -> Option<Fact> {
        self.facts.try_recv().ok()
    }

    /// What has to be done from time to time whichever way data goes. `true`: post a snapshot.
    pub(crate) fn handle_time(&mut self, now: Time) -> Result<bool, EngineError> {
        if let Some(error) = self.opener.failure() {
            return Err(error.into());
        }
        if now >= self.next_epoch && self.sealer.rekey().is_ok() {
            self.next_epoch = now + EPOCH_AGE_MAX;
        }
        if let Some(response) = self.opening
            && now >= self.next_opening
        {
            self.send_path(Kind::Response, &response)?;
            self.next_opening = now + OPENING_INTERVAL;
        }
        if let Some(knocking) = &mut self.knocking
            && let Some(at) = knocking.poll(self.path.peer(), now)
        {
            self.ask(Route::to(at), random()?)?;
        }
        let due = now >= self.next_post;
        if due {
            self.next_post = now + POST_INTERVAL;
        }
        Ok(due)
    }

    pub(crate) fn post(&mut self, snapshot: Snapshot) {
        self.board.post(Snapshot {
            refused: self.opener.counters(),
            unsendable: self.path.refused(),
            peer: self.path.peer(),
            moves: self.roaming.moves(),
            ..snapshot
        });
    }

    /// Whether so many forged datagrams came that the peer should change keys.
    pub(crate) fn rekey_wanted(&self) -> bool {
        self.opener.wants_rekey()
    }

    /// Receive buffer that the kernel granted.
    pub(crate) fn socket_buffer(&self) -> usize {
        self.path.buffers().recv
    }

    /// The newest packets came from elsewhere: asks who is there, if it is time.
    pub(crate) fn challenge(
        &mut self,
        route: Route,
        bytes: usize,
        now: Time,
    ) -> Result<(), EngineError> {
        let token = random()?;
        match (self.roaming).hear(route, bytes, CHALLENGE_LEN, || token, now) {
            Some(token) => self.ask(route, token),
            None => Ok(()),
        }
    }

    /// Asks for an echo from an address that the peer may be at.
    fn ask(&mut self, route: Route, token: u64) -> Result<(), EngineError> {
        let probe = Probe {
            datagram_len: CHALLENGE_LEN as u16,
            token,
        };
        self.send_padded(Kind::Probe, &probe, CHALLENGE_LEN, Some(route))
    }

    /// Answers a probe where it came from: `to`, or the peer.
    pub(crate) fn answer(&mut self, token: u64, to: Option<Route>) -> Result<(), EngineError> {
        self.send_padded(Kind::Echo, &Echo { token }, ECHO_LEN, to)
    }

    /// Takes in an echo; how the peer has moved, if that is what it says.
    pub(crate) fn peer_moved(&mut self, token: u64, now: Time) -> Option<Move> {
        let route = self.roaming.answer(token, now)?;
        let before = self.path.peer();
        self.path.set_route(route);
        let is_same_host = before.is_some_and(|before| before.ip() == route.peer.ip());
        Some(if is_same_host {
            Move::Port
        } else {
            Move::Address
        })
    }

    /// Seals and sends a probe of the path's length.
    pub(crate) fn send_probe(&mut self, probe: Probe) -> Result<(), EngineError> {
        let len = usize::from(probe.datagram_len);
        self.send_padded(Kind::Probe, &probe, len, None)
    }

    /// Seals and sends one body on the path lane.
    pub(crate) fn send_path<T: serde::Serialize>(
        &mut self,
        kind: Kind,
        body: &T,
    ) -> Result<(), EngineError> {
        let run = self.path_number()?;
        self.send_small(kind, Lane::PATH, run, |out| path::encode(body, out))
    }

    /// Seals and sends one small datagram to the peer now, past all queues. When no buffer is free
    /// it is not sent: whatever it says will be said again.
    pub(crate) fn send_small(
        &mut self,
        kind: Kind,
        lane: Lane,
        run: PacketRun,
        encode: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), EngineError> {
        let Some(mut batch) = self.pool.try_take() else {
            return Ok(());
        };
        let room = HEADER_LEN..SMALL_DATAGRAM_LEN - TAG_LEN;
        let Some(len) = encode(&mut batch.spare()[room]) else {
            return Err(EngineError::Malformed("datagram of our own"));
        };
        batch.shape(HEADER_LEN + len + TAG_LEN, 1);
        self.send_sealed(kind, lane, run, batch, None)
    }

    /// The same with a body on the path lane that is padded to a datagram of `len` bytes, and to any
    /// address.
    fn send_padded<T: serde::Serialize>(
        &mut self,
        kind: Kind,
        body: &T,
        len: usize,
        to: Option<Route>,
    ) -> Result<(), EngineError> {
        let Some(mut batch) = self.pool.try_take() else {
            return Ok(());
        };
        batch.shape(len, 1);
        let bytes = batch.bytes_mut();
        bytes.fill(0);
        if path::encode(body, &mut bytes[body_range(len)]).is_none() {
            return Err(EngineError::Malformed("datagram of our own"));
        }
        let run = self.path_number()?;
        self.send_sealed(kind, Lane::PATH, run, batch, to)
    }

    fn path_number(&mut self) -> Result<PacketRun, EngineError> {
        let run = self.path_counter.take(1);
        Ok(run.ok_or(haul_flow::FlowError::NumbersExhausted)?)
    }

    /// What is too long for the local interface is as good as lost.
    fn send_sealed(
        &self,
        kind: Kind,
        lane: Lane,
        run: PacketRun,
        batch: Batch,
        to: Option<Route>,
    ) -> Result<(), EngineError> {
        let sealed = self.sealer.seal_batch(kind, lane, run, batch)?;
        match to {
            Some(route) => self.path.send_to(route, sealed.bytes())?,
            None => self.path.send(sealed.bytes(), sealed.stride(), false)?,
        };
        Ok(())
    }
}

/// What nobody else can know.
fn random() -> Result<u64, EngineError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
