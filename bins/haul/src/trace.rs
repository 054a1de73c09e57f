//! `--trace`: what the rate policy decided and why, one JSON object per line.

use std::{
    fs::File,
    io::{self, LineWriter, Write},
    path::Path,
};

use haul_transfer::{Decision, escaped};
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;

/// The trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the trace {path}: {source}")]
pub(crate) struct TraceError {
    path: String,
    source: io::Error,
}

/// A trace being written. A disk that fills up ends the trace, not the transfer.
#[derive(Debug)]
pub(crate) struct Trace(Option<LineWriter<File>>);

#[derive(Serialize)]
struct Line<'a> {
    seconds: f64,
    mode: &'a str,
    rate_bps: u64,
    bandwidth_bps: u64,
    loss_floor: f64,
    queue_ms: f64,
    why: &'a str,
}

impl Trace {
    pub(crate) fn create(path: &Path) -> Result<Self, TraceError> {
        let file = File::create(path).map_err(|source| TraceError {
            path: escaped(path.as_os_str().as_bytes()),
            source,
        })?;
        Ok(Self(Some(LineWriter::new(file))))
    }

    pub(crate) fn note(&mut self, decision: &Decision) {
        let Some(out) = &mut self.0 else { return };
        let line = Line {
            seconds: decision.at.0 as f64 * 1e-9,
            mode: decision.mode.name(),
            rate_bps: decision.rate_bps as u64,
            bandwidth_bps: decision.bandwidth_bps as u64,
            loss_floor: decision.loss_floor,
            queue_ms: decision.queue_delay.as_secs_f64() * 1e3,
            why: decision.why.text(),
        };
        let written = serde_json::to_writer(&mut *out, &line)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"));
        if written.is_err() {
            self.0 = None;
        }
    }
}
