use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use haul_batch::{Batch, MAX_SEGMENTS};
use haul_flow::Time;
use haul_seal::{OpenedAt, Opener, body_range};
use haul_udp::Route;
use haul_wire::{
    BlockAddr, Kind,
    path::{self, Sync},
};

use super::{Landed, Onward, probes};
use crate::{
    EngineError,
    clock::Clock,
    driver::{Arrived, Fact},
    newest::Newest,
    stats::{StageCounters, Stopwatch},
};

/// An authenticated batch: what is in which of its segments.
pub(crate) struct Cargo {
    pub(crate) batch: Batch,
    pub(crate) blocks: ArrayVec<(BlockAddr, u8), MAX_SEGMENTS>,
}

/// Opens each batch: blocks go on to the writing stage, facts to the driver.
pub(crate) struct Open {
    opener: Arc<Opener>,
    clock: Clock,
    cargo: Sender<Cargo>,
    inbox: Sender<Fact>,
    /// Shared by all threads of the stage.
    newest: Arc<Newest>,
    watch: Stopwatch,
}

impl Open {
    pub(crate) fn new(
        opener: Arc<Opener>,
        clock: Clock,
        cargo: Sender<Cargo>,
        inbox: Sender<Fact>,
        newest: Arc<Newest>,
        counters: &Arc<StageCounters>,
    ) -> Self {
        Self {
            opener,
            clock,
            cargo,
            inbox,
            newest,
            watch: Stopwatch::start(counters),
        }
    }

    /// Opens what comes until nothing does.
    pub(crate) fn run(mut self, landed: &Receiver<Landed>) -> Result<(), EngineError> {
        for landing in landed {
            if !self.open(landing)? {
                break;
            }
        }
        Ok(())
    }

    /// Opens one batch.
    pub(crate) fn open(&mut self, landing: Landed) -> Onward {
        self.watch.was_waiting_for_input();
        let at = landing.at;
        let (batch, segments) = self
            .opener
            .open_batch(landing.batch, self.clock.now_ms())
            .into_parts();
        let is_newest = self
            .newest
            .note(segments.iter().map(|segment| segment.header));
        if let (Some(route), true) = (landing.stranger, is_newest) {
            let bytes = batch.len();
            if !self.tell(Fact::Stranger { route, bytes, at }) {
                return Ok(false);
            }
        }
        let mut arrived = Box::new(Arrived {
            packets: ArrayVec::new(),
            datagram_len: batch.stride(),
            at,
            epoch: 0,
            ecn: landing.ecn,
        });
        let mut blocks = ArrayVec::new();
        for segment in &segments {
            if segment.header.kind == Kind::Data {
                arrived.packets.push(segment.header.packet);
                arrived.epoch = segment.header.epoch;
                blocks.push((address(&batch, segment)?, segment.index));
                continue;
            }
            let fact = hear(
                segment.header.kind,
                body(&batch, segment),
                landing.stranger,
                at,
            )?;
            if fact.is_some_and(|fact| !self.tell(fact)) {
                return Ok(false);
            }
        }
        self.watch.was_busy(1);
        let goes_on = blocks.is_empty()
            || (self.tell(Fact::Arrived(arrived))
                && self.cargo.send(Cargo { batch, blocks }).is_ok());
        self.watch.was_waiting_for_output();
        Ok(goes_on)
    }

    /// `false`: the driver has ended.
    fn tell(&self, fact: Fact) -> bool {
        self.inbox.send(fact).is_ok()
    }
}

/// What an authentic datagram without data means to the driver.
fn hear(
    kind: Kind,
    body: &[u8],
    stranger: Option<Route>,
    at: Time,
) -> Result<Option<Fact>, EngineError> {
    if kind == Kind::Sync {
        let sync: Sync = path::decode("sync", body).map_err(|_| EngineError::Malformed("sync"))?;
        return Ok(Some(Fact::Sync { sync, at }));
    }
    // Anything else is a leftover of the path's opening.
    probes::hear(kind, body, stranger, at)
}

fn body<'a>(batch: &'a Batch, segment: &OpenedAt) -> &'a [u8] {
    &batch.segment(usize::from(segment.index))[body_range(usize::from(segment.len))]
}

fn address(batch: &Batch, segment: &OpenedAt) -> Result<BlockAddr, EngineError> {
    BlockAddr::decode(body(batch, segment)).map_err(|_| EngineError::Malformed("block address"))
}
