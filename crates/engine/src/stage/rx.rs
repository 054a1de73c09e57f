use std::{sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use haul_batch::{Batch, CAPACITY, Pool};
use haul_flow::Time;
use haul_udp::{Arrival, RECEIVE_SLOTS, UdpPath};

use super::{Landed, Onward, PATIENCE, strangers::Strangers};
use crate::{
    EngineError,
    clock::Clock,
    running::Halt,
    stats::{StageCounters, Stopwatch},
};

/// With fewer datagrams than this at a time, waking for them costs more than receiving them: without
/// receive offload, a link of 300 Mbit/s would wake the line 25,000 times a second.
const FEW: usize = 8;
/// How long to let more of them come, then. When they came says the kernel, and what is told of them is
/// told every few milliseconds.
const NAP: Duration = Duration::from_micros(500);
/// Smallest receive buffer that takes what comes meanwhile, from 10 Gbit/s.
const NAP_BUFFER_MIN: usize = 1 << 20;

/// Receives batches. Where the kernel does not coalesce, single datagrams are copied together, so
/// that a buffer of the pool is not spent on each.
pub(crate) fn run(
    path: &UdpPath,
    pool: &Pool,
    clock: Clock,
    mut onward: impl FnMut(Landed) -> Onward,
    halt: &Halt,
    counters: &Arc<StageCounters>,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    let mut slots: Vec<Batch> = Vec::with_capacity(RECEIVE_SLOTS);
    let mut arrivals: ArrayVec<Arrival, RECEIVE_SLOTS> = ArrayVec::new();
    let mut strangers = Strangers::new(clock.now());
    let naps = path.buffers().recv >= NAP_BUFFER_MIN;
    while !halt.is_set() {
        if !refill(&mut slots, pool) {
            watch.was_waiting_for_output();
            continue;
        }
        watch.was_waiting_for_output();
        let waited = path.recv(&mut slots, &mut arrivals, PATIENCE)?;
        watch.was_waiting_for_input_for(waited);
        watch.was_busy(arrivals.len() as u64);
        let received: usize = slots[..arrivals.len()].iter().map(Batch::count).sum();
        let now = clock.now();
        let mut together: Option<Landed> = None;
        for (batch, arrival) in slots.drain(..arrivals.len()).zip(&arrivals) {
            let stranger = Strangers::origin(path, arrival);
            if stranger.is_some() && !strangers.admit(batch.count(), now) {
                continue;
            }
            let landing = Landed {
                batch,
                at: now - arrival.age,
                ecn: arrival.ecn,
                stranger,
            };
            let Some(ready) = gather(&mut together, landing) else {
                continue;
            };
            if !onward(ready)? {
                return Ok(());
            }
        }
        if let Some(last) = together
            && !onward(last)?
        {
            return Ok(());
        }
        if naps && (1..FEW).contains(&received) {
            watch.was_waiting_for_output();
            std::thread::sleep(NAP);
            watch.was_waiting_for_input();
        }
    }
    Ok(())
}

/// Tops up the slots; `false` when there is not one buffer, even after waiting.
fn refill(slots: &mut Vec<Batch>, pool: &Pool) -> bool {
    while slots.len() < RECEIVE_SLOTS {
        let Some(batch) = pool.try_take() else { break };
        slots.push(batch);
    }
    if slots.is_empty() {
        slots.extend(pool.take(PATIENCE));
    }
    !slots.is_empty()
}

/// Merges small landings into one. Returns what is ready to go on.
fn gather(together: &mut Option<Landed>, landing: Landed) -> Option<Landed> {
    if landing.batch.len() > CAPACITY / 2 || landing.stranger.is_some() {
        return Some(landing);
    }
    let Some(host) = together else {
        *together = Some(landing);
        return None;
    };
    let apart = host.ecn != landing.ecn || !push_all(&mut host.batch, &landing.batch);
    if apart {
        return together.replace(landing);
    }
    // Arrival times tell the queue's delay; of several the latest is the honest one for its packets.
    host.at = Time::max(host.at, landing.at);
    None
}

/// Appends all segments or none.
fn push_all(host: &mut Batch, guest: &Batch) -> bool {
    let fits = guest.stride() == host.stride()
        && host.len().is_multiple_of(host.stride())
        && host.count() + guest.count() <= haul_batch::MAX_SEGMENTS
        && host.len() + guest.len() <= haul_batch::MAX_BATCH_BYTES;
    fits && guest.segments().all(|segment| host.push(segment))
}
