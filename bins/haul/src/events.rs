//! `--json`: one event per line on standard output, as docs/EVENTS.md promises.

use std::io::{self, Write};

use haul_transfer::{
    Cause, Event, FailedFile, FileRecord, InForce, Progress, SessionFacts, Summary, exit_code,
};
use serde::Serialize;

use crate::{failure::Failure, name};

/// Version of the schema. A field may be added under the same number; one that goes or changes its
/// meaning raises it.
const SCHEMA: u8 = 1;

/// A writer of events.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    /// `None` once the reader is gone: the files still want moving.
    out: Option<W>,
}

impl<W: Write> JsonLines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out: Some(out) }
    }

    /// An event of the running transfer.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Some(record) = Record::of(event) {
            self.write(&record);
        }
    }

    /// The account at the end; `failures` name the first files that failed, if any did.
    pub(crate) fn summary(&mut self, summary: &Summary, failures: &[FailedFile]) {
        self.write(&Record::summary(summary, failures));
    }

    /// Why there is no success.
    pub(crate) fn error(&mut self, failure: &Failure) {
        let entry = exit_code(failure.code());
        self.write(&Record::Error {
            code: entry.code as u8,
            name: entry.code.name(),
            text: &failure.to_string(),
            hint: failure.hint(),
            retryable: entry.retryable,
        });
    }

    fn write(&mut self, record: &Record<'_>) {
        let Some(out) = &mut self.out else { return };
        let line = Line { v: SCHEMA, record };
        let written = serde_json::to_writer(&mut *out, &line)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush());
        if written.is_err() {
            self.out = None;
        }
    }
}

/// The line of an event, without its end; `None` for what is no program's business.
pub(crate) fn line(event: &Event) -> Option<String> {
    let record = &Record::of(event)?;
    serde_json::to_string(&Line { v: SCHEMA, record }).ok()
}

/// The fields of a progress event.
pub(crate) fn progress(progress: &Progress) -> serde_json::Value {
    serde_json::to_value(Record::progress(progress)).unwrap_or_default()
}

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

/// One event. Rates are bits per second, lengths bytes, shares 0 to 1.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Record<'a> {
    Session {
        direction: &'static str,
        suite: &'static str,
        policy: &'static str,
        peer: String,
        datagram_bytes: usize,
        rtt_ms: f64,
        agent: &'a str,
    },
    Path {
        peer: String,
        moves: u64,
        datagram_bytes: usize,
    },
    Rate {
        asked_by: &'static str,
        policy: &'static str,
        target_bps: Option<u64>,
        min_bps: u64,
        ceiling_bps: Option<u64>,
        in_force_bps: Option<u64>,
    },
    Progress {
        seconds: f64,
        bytes: u64,
        bytes_total: u64,
        files: u64,
        files_total: u64,
        scanned: bool,
        rate_bps: u64,
        mode: Option<&'static str>,
        goodput_bps: u64,
        loss: f64,
        rtt_ms: f64,
        retransmitted_bytes: u64,
        eta_seconds: Option<f64>,
    },
    File {
        path: String,
        encoded: bool,
        bytes: u64,
        ok: bool,
        error: Option<&'a str>,
    },
    Warning {
        text: &'a str,
        remote: bool,
    },
    Error {
        code: u8,
        name: &'static str,
        text: &'a str,
        hint: Option<&'static str>,
        retryable: bool,
    },
    Summary {
        ok: bool,
        direction: &'static str,
        bytes: u64,
        files: u64,
        failed: u64,
        failures: Vec<NamedFailure<'a>>,
        seconds: f64,
        data_seconds: f64,
        goodput_bps: u64,
        udp_bytes: u64,
        retransmitted_bytes: u64,
        loss: f64,
        rtt_ms: f64,
        bandwidth_bps: u64,
        min_rtt_ms: f64,
        control_bytes: u64,
        suite: &'static str,
        policy: &'static str,
    },
}

#[derive(Serialize)]
struct NamedFailure<'a> {
    path: &'a str,
    error: &'a str,
}

impl<'a> Record<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        Some(match event {
            // For people who tune; a program would have to know the stages and the policy.
            Event::Line(_) | Event::Decision(_) => return None,
            Event::Session(facts) => Self::session(facts),
            Event::Limits(told) => Self::rate(told),
            Event::Path(facts) => Self::Path {
                peer: facts.peer.to_string(),
                moves: facts.moves,
                datagram_bytes: facts.segment_len,
            },
            Event::Progress(progress) => Self::progress(progress),
            Event::File(file) => Self::file(file),
            Event::Warning(warning) => Self::Warning {
                text: &warning.text,
                remote: warning.remote,
            },
            Event::Noise(text) => Self::Warning { text, remote: true },
        })
    }

    fn rate(told: &InForce) -> Self {
        Self::Rate {
            asked_by: match told.cause {
                Cause::Start => "start",
                Cause::Asked => "user",
                Cause::Ceiling => "server",
            },
            policy: told.asked.policy.name(),
            target_bps: told.asked.target_bps,
            min_bps: told.asked.min_bps,
            ceiling_bps: told.ceiling_bps,
            in_force_bps: told.limits().target_bps,
        }
    }

    fn session(facts: &'a SessionFacts) -> Self {
        Self::Session {
            direction: direction(facts.direction),
            suite: facts.suite.name(),
            policy: facts.policy.name(),
            peer: facts.peer.to_string(),
            datagram_bytes: facts.segment_len,
            rtt_ms: millis(facts.rtt),
            agent: &facts.agent,
        }
    }

    fn progress(progress: &Progress) -> Self {
        Self::Progress {
            seconds: round(progress.elapsed.as_secs_f64()),
            bytes: progress.bytes,
            bytes_total: progress.bytes_total,
            files: progress.files,
            files_total: progress.files_total,
            scanned: progress.scanned,
            rate_bps: progress.rate_bps,
            mode: progress.mode,
            goodput_bps: progress.goodput_bps,
            loss: progress.loss,
            rtt_ms: millis(progress.rtt),
            retransmitted_bytes: progress.retransmitted_bytes,
            eta_seconds: progress.eta.map(|eta| round(eta.as_secs_f64())),
        }
    }

    fn file(file: &'a FileRecord) -> Self {
        let (path, encoded) = name::reversible(&file.path);
        Self::File {
            path,
            encoded,
            bytes: file.bytes,
            ok: file.failure.is_none(),
            error: file.failure.as_deref(),
        }
    }

    fn summary(summary: &Summary, failures: &'a [FailedFile]) -> Self {
        let failures = failures
            .iter()
            .map(|file| NamedFailure {
                path: &file.path,
                error: &file.why,
            })
            .collect();
        Self::Summary {
            ok: summary.failed == 0,
            direction: direction(summary.direction),
            bytes: summary.bytes,
            files: summary.files,
            failed: summary.failed,
            failures,
            seconds: round(summary.seconds),
            data_seconds: round(summary.data_seconds),
            goodput_bps: summary.goodput_bps,
            udp_bytes: summary.udp_bytes,
            retransmitted_bytes: summary.retransmitted_bytes,
            loss: summary.loss,
            rtt_ms: round(summary.rtt_ms),
            bandwidth_bps: summary.bandwidth_bps,
            min_rtt_ms: round(summary.min_rtt_ms),
            control_bytes: summary.control_bytes,
            suite: summary.suite.name(),
            policy: summary.policy.name(),
        }
    }
}

fn direction(direction: haul_transfer::Direction) -> &'static str {
    match direction {
        haul_transfer::Direction::Upload => "upload",
        haul_transfer::Direction::Download => "download",
    }
}

fn millis(span: std::time::Duration) -> f64 {
    round(span.as_secs_f64() * 1e3)
}

/// Three decimals: what a clock can tell and a reader can use.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
pub(crate) mod tests;
