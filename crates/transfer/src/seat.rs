use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::Limits;

/// A session's place among those that share a cap; whoever owns the cap holds the other ends of
/// both channels. The session is over when `demand` is closed.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The most that this session may be sent at, in bits per second of UDP payload; `None` for no
    /// limit. Holds from the beginning, whatever the initiator asks for.
    pub ceiling: watch::Receiver<Option<u64>>,
    /// What the session asks for and uses; `None` until data flows.
    pub demand: watch::Sender<Option<Demand>>,
}

impl Seat {
    /// One that is shared with nobody: a session that is sent more than this, for long, ends.
    pub(crate) fn alone(ceiling_bps: u64) -> Self {
        Self {
            ceiling: watch::channel(Some(ceiling_bps)).1,
            demand: watch::channel(None).0,
        }
    }

    /// The ceiling at this moment.
    pub(crate) fn share(&self) -> Option<u64> {
        *self.ceiling.borrow()
    }
}

/// What a session that shares a cap asks for and uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// What its user asked for.
    pub limits: Limits,
    /// What it was sent lately, in bits per second of UDP payload.
    pub used_bps: u64,
}

/// Gives a session its [`Seat`] when its request has been accepted.
#[derive(Clone)]
pub struct Seats(Arc<dyn Fn() -> Seat + Send + Sync>);

impl Seats {
    /// Seats that `give` makes.
    pub fn new(give: impl Fn() -> Seat + Send + Sync + 'static) -> Self {
        Self(Arc::new(give))
    }

    pub(crate) fn take(&self) -> Seat {
        (self.0)()
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seats")
    }
}
