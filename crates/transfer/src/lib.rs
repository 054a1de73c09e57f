//! A whole job from two addresses to a summary.

mod error;
mod event;
mod exit;
mod job;

pub use error::{Misbehaviour, Phase, TransferError, UdpDirection};
pub use event::{
    Event, FailedFile, FileRecord, Progress, SessionFacts, Summary, Warning,
};
pub use exit::{EXIT_CODES, ExitCode, entry as exit_code};
pub use haul_flow::Policy;
pub use haul_wire::{SuiteId, control::{ErrorCode, escaped}};
pub use job::{
    ANY_UDP_PORT, DEFAULT_RECEIVE_BUFFER_BYTES, DEFAULT_UDP_PORTS, Direction, Job, JobOptions,
    RespondSetup,
};
