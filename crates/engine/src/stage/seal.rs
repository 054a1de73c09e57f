use std::sync::Arc;

use crossbeam_channel::Receiver;
use haul_seal::Sealer;
use haul_wire::{Kind, Lane};

use super::{Departure, Filled, Onward};
use crate::{
    EngineError,
    stats::{StageCounters, Stopwatch},
};

/// Seals each batch in place.
pub(crate) fn run(
    sealer: &Sealer,
    filled: &Receiver<Filled>,
    mut onward: impl FnMut(Departure) -> Onward,
    counters: &Arc<StageCounters>,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    for Filled { plan, batch } in filled {
        watch.was_waiting_for_input();
        let (first, count) = (plan.run.first(), plan.run.len());
        let sealed = sealer.seal_batch(Kind::Data, Lane::DATA, plan.run, batch)?;
        watch.was_busy(1);
        let (release_at, gap, ecn) = (plan.release_at, plan.gap, plan.ecn);
        if !onward(Departure {
            sealed,
            first,
            count,
            release_at,
            gap,
            ecn,
        })? {
            return Ok(());
        }
        watch.was_waiting_for_output();
    }
    Ok(())
}
