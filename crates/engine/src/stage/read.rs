use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use haul_batch::Pool;
use haul_disk::Outgoing;
use haul_flow::Plan;

use super::{Filled, PATIENCE};
use crate::{
    EngineError,
    driver::Fact,
    stats::{StageCounters, Stopwatch},
};

/// Fills a batch with the blocks of each plan.
pub(crate) fn run(
    outgoing: &Outgoing,
    pool: &Pool,
    plans: &Receiver<Plan>,
    filled: &Sender<Filled>,
    inbox: &Sender<Fact>,
    counters: &Arc<StageCounters>,
    stride: usize,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    for plan in plans {
        watch.was_waiting_for_input();
        // Buffers come back when batches have been sent, or when the stages behind have ended.
        let mut batch = loop {
            if let Some(batch) = pool.take(PATIENCE) {
                break batch;
            }
        };
        watch.was_waiting_for_output();
        batch.shape(stride, plan.blocks.len());
        if let Some(available) = outgoing.fill(&plan.blocks, &mut batch)? {
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
