use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use haul_batch::{Batch, MAX_SEGMENTS};
use haul_seal::{OpenedAt, Opener, body_range};
use haul_wire::{
    BlockAddr, Kind,
    path::{self, Sync},
};

use super::{Landed, probes};
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
pub(crate) fn run(
    opener: &Opener,
    clock: Clock,
    landed: &Receiver<Landed>,
    cargo: &Sender<Cargo>,
    inbox: &Sender<Fact>,
    newest: &Newest,
    counters: &Arc<StageCounters>,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    for landing in landed {
        watch.was_waiting_for_input();
        let at = landing.at;
        let (batch, segments) = opener
            .open_batch(landing.batch, clock.now_ms())
            .into_parts();
        let mut arrived = Box::new(Arrived {
            packets: ArrayVec::new(),
            datagram_len: batch.stride(),
            at,
            epoch: 0,
            ecn: landing.ecn,
        });
        let is_newest = newest.note(segments.iter().map(|segment| segment.header));
        if let (Some(route), true) = (landing.stranger, is_newest) {
            let bytes = batch.len();
            if inbox.send(Fact::Stranger { route, bytes, at }).is_err() {
                return Ok(());
            }
        }
        let mut blocks = ArrayVec::new();
        for segment in &segments {
            match segment.header.kind {
                Kind::Data => {
                    arrived.packets.push(segment.header.packet);
                    arrived.epoch = segment.header.epoch;
                    blocks.push((address(&batch, segment)?, segment.index));
                }
                Kind::Sync => {
                    let sync: Sync = path::decode("sync", body(&batch, segment))
                        .map_err(|_| EngineError::Malformed("sync"))?;
                    if inbox.send(Fact::Sync { sync, at }).is_err() {
                        return Ok(());
                    }
                }
                // Anything else is a leftover of the path's opening.
                kind => {
                    let fact = probes::hear(kind, body(&batch, segment), landing.stranger, at)?;
                    if fact.is_some_and(|fact| inbox.send(fact).is_err()) {
                        return Ok(());
                    }
                }
            }
        }
        watch.was_busy(1);
        if blocks.is_empty() {
            continue;
        }
        if inbox.send(Fact::Arrived(arrived)).is_err()
            || cargo.send(Cargo { batch, blocks }).is_err()
        {
            return Ok(());
        }
        watch.was_waiting_for_output();
    }
    Ok(())
}

fn body<'a>(batch: &'a Batch, segment: &OpenedAt) -> &'a [u8] {
    &batch.segment(usize::from(segment.index))[body_range(usize::from(segment.len))]
}

fn address(batch: &Batch, segment: &OpenedAt) -> Result<BlockAddr, EngineError> {
    BlockAddr::decode(body(batch, segment)).map_err(|_| EngineError::Malformed("block address"))
}
