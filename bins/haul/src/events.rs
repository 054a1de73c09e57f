//! `--json`: one event per line on standard output, as docs/EVENTS.md promises.

use std::io::{self, Write};

use haul_transfer::{Event, FailedFile, FileRecord, Progress, SessionFacts, Summary, exit_code};
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
        let record = match event {
            // For people who tune; a program would have to know the stages and the policy.
            Event::Line(_) | Event::Decision(_) => return,
            Event::Session(facts) => Record::session(facts),
            Event::Path(facts) => Record::Path {
                peer: facts.peer.to_string(),
                moves: facts.moves,
                datagram_bytes: facts.segment_len,
            },
            Event::Progress(progress) => Record::progress(progress),
            Event::File(file) => Record::file(file),
            Event::Warning(warning) => Record::Warning {
                text: &warning.text,
                remote: warning.remote,
            },
            Event::Noise(text) => Record::Warning { text, remote: true },
        };
        self.write(&record);
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
    Progress {
        seconds: f64,
        bytes: u64,
        bytes_total: u64,
        files: u64,
        files_total: u64,
        scanned: bool,
        rate_bps: u64,
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
