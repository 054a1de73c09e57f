use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use haul_disk::Sink;

use super::open::Cargo;
use crate::{
    EngineError,
    driver::Fact,
    stats::{StageCounters, Stopwatch},
};

/// Writes what arrives, finishes files, and the whole when all is there.
pub(crate) fn run(
    mut incoming: Box<dyn Sink>,
    cargo: &Receiver<Cargo>,
    inbox: &Sender<Fact>,
    counters: &Arc<StageCounters>,
) -> Result<(), EngineError> {
    let mut watch = Stopwatch::start(counters);
    for Cargo { batch, blocks } in cargo {
        watch.was_waiting_for_input();
        let placed = incoming.place(batch, &blocks)?;
        let complete = placed.complete;
        watch.was_busy(1);
        if inbox.send(Fact::Written(placed)).is_err() {
            return Ok(());
        }
        while let Some(had) = incoming.poll_had() {
            let _ = inbox.send(Fact::Had(had));
        }
        tell(&mut *incoming, inbox);
        watch.was_waiting_for_output();
        if complete {
            return finish(incoming, cargo, inbox);
        }
    }
    Ok(())
}

/// Finishes, then only drains: copies of blocks may still arrive until the sender knows.
fn finish(
    mut incoming: Box<dyn Sink>,
    cargo: &Receiver<Cargo>,
    inbox: &Sender<Fact>,
) -> Result<(), EngineError> {
    while incoming.wind_up()? {
        tell(&mut *incoming, inbox);
    }
    tell(&mut *incoming, inbox);
    let received = incoming.finish()?;
    if inbox.send(Fact::Complete(Box::new(received))).is_ok() {
        cargo.iter().for_each(drop);
    }
    Ok(())
}

/// Tells what has happened to names.
fn tell(incoming: &mut dyn Sink, inbox: &Sender<Fact>) {
    while let Some(event) = incoming.poll_event() {
        // The driver, when gone, has ended the line.
        let _ = inbox.send(Fact::File(event));
    }
    while let Some(change) = incoming.poll_change() {
        let _ = inbox.send(Fact::Change(change));
    }
}
