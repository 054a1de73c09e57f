use std::{fmt, sync::Arc};

use haul_disk::Bounds;
use haul_wire::{SuiteId, control::Request};
use tokio::sync::watch;

/// What is asked of a responder, before it looks at anything that is named in it.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What is to be moved, and how. Names are as typed: bytes of unknown origin.
    pub request: Request,
    /// How datagrams will be sealed.
    pub suite: SuiteId,
}

/// Within which bounds a request is served. The default is none.
#[derive(Debug, Clone, Default)]
pub struct Leave {
    /// Ceiling of the sending rate in bits per second, whatever is asked for.
    pub rate_max_bps: Option<u64>,
    /// How much of what may be moved. Names are relative to the jail.
    pub bounds: Bounds,
    /// Permission bits that what is uploaded never gets, unless its modes are kept.
    pub umask: Option<u32>,
    /// Told when what was given is taken back: the transfer ends then.
    pub withdrawn: Option<watch::Receiver<Option<Unauthorized>>>,
}

/// A request that is not served. The peer is told no more than this; whoever decided keeps the reason under
/// the same reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unauthorized to transfer (reference {0})")]
pub struct Unauthorized(pub String);

type Decide = dyn Fn(Asking) -> Result<Leave, Unauthorized> + Send + Sync;

/// Who decides whether a request is served; asked once, and may block.
#[derive(Clone)]
pub struct Gate(Arc<Decide>);

impl Gate {
    /// A gate at which `decide` does.
    pub fn new(
        decide: impl Fn(Asking) -> Result<Leave, Unauthorized> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decide))
    }

    pub(crate) fn decide(&self, asking: Asking) -> Result<Leave, Unauthorized> {
        (self.0)(asking)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
