use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use haul_batch::{Batch, Pool};
use haul_flow::Time;
use haul_seal::{OpenedSegment, Opener, Sealer};
use haul_udp::{Arrival, RECEIVE_SLOTS, Route, UdpPath};
use haul_wire::{Kind, Report};

use super::{PATIENCE, probes, strangers::Strangers};
use crate::{EngineError, clock::Clock, driver::Fact, newest::Newest, running::Halt};

/// Batches received into at once; reports are small and few.
const SLOTS: usize = 4;

/// Receives and opens the reports that come back on a sending line, and what else is said of the
/// path.
pub(crate) fn run(
    path: &UdpPath,
    opener: &Opener,
    sealer: &Sealer,
    clock: Clock,
    inbox: &Sender<Fact>,
    halt: &Halt,
) -> Result<(), EngineError> {
    let pool = Pool::new(SLOTS);
    let newest = Newest::default();
    let mut strangers = Strangers::new(clock.now());
    let mut arrivals: ArrayVec<Arrival, RECEIVE_SLOTS> = ArrayVec::new();
    while !halt.is_set() {
        let mut slots: ArrayVec<Batch, SLOTS> =
            std::iter::from_fn(|| pool.try_take()).take(SLOTS).collect();
        path.recv(&mut slots, &mut arrivals, PATIENCE)?;
        let now = clock.now();
        for (batch, arrival) in slots.into_iter().zip(&arrivals) {
            let at = now - arrival.age;
            let stranger = Strangers::origin(path, arrival);
            if stranger.is_some() && !strangers.admit(batch.count(), now) {
                continue;
            }
            let bytes = batch.len();
            let opened = opener.open_batch(batch, clock.now_ms());
            let is_newest = newest.note(opened.segments().map(|segment| segment.header));
            let moved =
                stranger
                    .filter(|_| is_newest)
                    .map(|route| Fact::Stranger { route, bytes, at });
            let told = opened
                .segments()
                .map(|segment| hear(&segment, stranger, sealer, at));
            for fact in moved.map(|fact| Ok(Some(fact))).into_iter().chain(told) {
                if let Some(fact) = fact?
                    && inbox.send(fact).is_err()
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// What an authentic datagram means to the driver.
fn hear(
    segment: &OpenedSegment<'_>,
    stranger: Option<Route>,
    sealer: &Sealer,
    at: Time,
) -> Result<Option<Fact>, EngineError> {
    Ok(match segment.header.kind {
        Kind::Report => {
            let report =
                Report::decode(segment.body).map_err(|_| EngineError::Malformed("report"))?;
            sealer.confirm_epoch(report.epoch);
            // Forged datagrams by the million: their guesses must not count for the next key.
            if report.rekey && report.epoch == sealer.epoch() as u8 {
                sealer.rekey()?;
            }
            let report = Box::new(report);
            Some(Fact::Report { report, at })
        }
        // Anything else is a leftover of the path's opening.
        kind => probes::hear(kind, segment.body, stranger, at)?,
    })
}
