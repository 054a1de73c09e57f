use crossbeam_channel::Sender;
use haul_disk::Supply;

use crate::{EngineError, driver::Fact};

/// Walks the sources and tells the driver what may be sent.
pub(crate) fn run(outgoing: &dyn Supply, inbox: &Sender<Fact>) -> Result<(), EngineError> {
    outgoing.scan(&mut |available| {
        if inbox.send(Fact::Available(available)).is_err() {
            outgoing.stop();
        }
    })?;
    Ok(())
}
