use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use haul_batch::{Batch, MAX_BATCH_BYTES, MAX_SEGMENTS, Pool};
use haul_disk::{Available, Supply};
use haul_flow::Plan;
use haul_seal::body_range;
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, Part};

use super::{Filled, PATIENCE};
use crate::{
    EngineError,
    driver::Fact,
    stats::{StageCounters, Stopwatch},
};

/// Fills a batch with the blocks of each plan.
pub(crate) fn run(
    outgoing: &dyn Supply,
    pool: &Pool,
    plans: &Receiver<Plan>,
    filled: &Sender<Filled>,
    inbox: &Sender<Fact>,
    counters: &Arc<StageCounters>,
    segment_len: usize,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    let wholes = Pool::new(1);
    for plan in plans {
        watch.was_waiting_for_input();
        // Buffers come back when batches have been sent, or when the stages behind have ended.
        let mut batch = loop {
            if let Some(batch) = pool.take(PATIENCE) {
                break batch;
            }
        };
        watch.was_waiting_for_output();
        batch.shape(plan.datagram_len, plan.blocks.len());
        let grown = if plan.datagram_len == segment_len {
            outgoing.fill(&plan.blocks, &mut batch)?
        } else {
            fill_parts(outgoing, &plan.blocks, segment_len, &wholes, &mut batch)?
        };
        if let Some(available) = grown {
            let _ = inbox.send(Fact::Available(available));
        }
        watch.was_busy(1);
        if filled.send(Filled { plan, batch }).is_err() {
            return Ok(());
        }
        watch.was_waiting_for_output();
    }
    Ok(())
}

/// Fills a batch with parts of blocks: the blocks are read whole, then cut.
fn fill_parts(
    outgoing: &dyn Supply,
    parts: &[BlockAddr],
    segment_len: usize,
    wholes: &Pool,
    batch: &mut Batch,
) -> Result<Option<Available>, EngineError> {
    let mut grown = None;
    let mut segments = batch.segments_mut();
    let mut left = parts;
    while !left.is_empty() {
        let mut blocks = ArrayVec::<BlockAddr, MAX_SEGMENTS>::new();
        let room = (MAX_BATCH_BYTES / segment_len).clamp(1, MAX_SEGMENTS);
        let mut taken = 0;
        for part in left {
            let block = part.with_part(Part::WHOLE);
            if blocks.last() != Some(&block) {
                if blocks.len() == room {
                    break;
                }
                blocks.push(block);
            }
            taken += 1;
        }
        let Some(mut whole) = wholes.try_take() else {
            return Ok(grown);
        };
        whole.shape(segment_len, blocks.len());
        grown = outgoing.fill(&blocks, &mut whole)?.or(grown);
        let (now, later) = left.split_at(taken);
        for (part, segment) in now.iter().zip(&mut segments) {
            let of = part.with_part(Part::WHOLE);
            if let Some(at) = blocks.iter().position(|block| *block == of) {
                cut(whole.segment(at), part.part, segment)?;
            }
        }
        left = later;
    }
    Ok(grown)
}

/// Copies a part of a filled segment's block into a shorter segment.
fn cut(whole: &[u8], part: Part, segment: &mut [u8]) -> Result<(), EngineError> {
    let body = &whole[body_range(whole.len())];
    // What the disk made of it: the block may be marked as torn.
    let addr = BlockAddr::decode(body).map_err(|_| EngineError::Malformed("block address"))?;
    let block = &body[BLOCK_ADDR_LEN..];
    let out_range = body_range(segment.len());
    let (out_addr, out) = segment[out_range].split_at_mut(BLOCK_ADDR_LEN);
    out_addr.copy_from_slice(&addr.with_part(part).encode());
    let bytes = &block[part.range(block.len())];
    out[..bytes.len()].copy_from_slice(bytes);
    out[bytes.len()..].fill(0);
    Ok(())
}
