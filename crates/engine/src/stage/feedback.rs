use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use haul_batch::{Batch, Pool};
use haul_seal::{Opener, Sealer};
use haul_udp::{Arrival, RECEIVE_SLOTS, UdpPath};
use haul_wire::{Kind, Report};

use super::PATIENCE;
use crate::{EngineError, clock::Clock, driver::Fact, running::Halt};

/// Batches received into at once; reports are small and few.
const SLOTS: usize = 4;

/// Receives and opens the reports that come back on a sending line.
pub(crate) fn run(
    path: &UdpPath,
    opener: &Opener,
    sealer: &Sealer,
    clock: Clock,
    inbox: &Sender<Fact>,
    halt: &Halt,
) -> Result<(), EngineError> {
    let pool = Pool::new(SLOTS);
    let mut arrivals: ArrayVec<Arrival, RECEIVE_SLOTS> = ArrayVec::new();
    while !halt.is_set() {
        let mut slots: ArrayVec<Batch, SLOTS> =
            std::iter::from_fn(|| pool.try_take()).take(SLOTS).collect();
        path.recv(&mut slots, &mut arrivals, PATIENCE)?;
        let now = clock.now();
        for (batch, arrival) in slots.into_iter().zip(&arrivals) {
            let at = now - arrival.age;
            for segment in opener.open_batch(batch, clock.now_ms()).segments() {
                // Anything else is a leftover of the path's opening.
                if segment.header.kind != Kind::Report {
                    continue;
                }
                let report =
                    Report::decode(segment.body).map_err(|_| EngineError::Malformed("report"))?;
                sealer.confirm_epoch(report.epoch);
                // Forged datagrams by the million: their guesses must not count for the next key.
                if report.rekey && report.epoch == sealer.epoch() as u8 {
                    sealer.rekey()?;
                }
                if inbox
                    .send(Fact::Report {
                        report: Box::new(report),
                        at,
                    })
                    .is_err()
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
