//! `--json`: one event per line on standard output, as docs/EVENTS.md promises.

use std::{
    io::{self, Write},
    time::Duration,
};

use haul_transfer::{
    BUFFER_BYTES_WANTED, Cause, DigestRecord, Event, FailedFile, FileRecord, HostFacts, InForce,
    LineFacts, Progress, SessionFacts, StageFacts, Summary, exit_code,
};
use serde::Serialize;

use crate::{account, bound, failure::Failure, name, report::Report};

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
    pub(crate) fn summary(&mut self, summary: &Summary, failures: &[FailedFile], report: &Report) {
        self.write(&Record::summary(summary, failures, report));
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

    /// A connection has failed, and another one goes on.
    pub(crate) fn retry(&mut self, failure: &Failure, wait: Duration, left: Duration) {
        let code = failure.code();
        self.write(&Record::Retry {
            code: code as u8,
            name: code.name(),
            text: &failure.to_string(),
            wait_seconds: wait.as_secs_f64(),
            left_seconds: round(left.as_secs_f64()),
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
        goodput_bps: u64,
        mode: &'a str,
        loss: f64,
        loss_floor: f64,
        rtt_ms: f64,
        min_rtt_ms: f64,
        latest_rtt_ms: f64,
        queue_ms: f64,
        jitter_ms: f64,
        udp_bytes: u64,
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
    Digest {
        path: String,
        encoded: bool,
        bytes: u64,
        blake3: String,
        sha256: Option<String>,
    },
    Change {
        act: &'static str,
        path: String,
        encoded: bool,
        done: bool,
    },
    Line {
        stages: Vec<Stage<'a>>,
        packet_bytes: usize,
        datagram_bytes: usize,
        send_buffer_bytes: usize,
        recv_buffer_bytes: usize,
        ecn: Option<String>,
        segmentation_offload: bool,
    },
    Warning {
        text: &'a str,
        remote: bool,
    },
    Retry {
        code: u8,
        name: &'static str,
        text: &'a str,
        wait_seconds: f64,
        left_seconds: f64,
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
        measurement: bool,
        dry_run: bool,
        direction: &'static str,
        bytes: u64,
        files: u64,
        there_bytes: u64,
        there_files: u64,
        kept: u64,
        deleted: u64,
        left_out: Option<u64>,
        skipped: Option<u64>,
        failed: u64,
        corrupt: u64,
        failures: Vec<NamedFailure<'a>>,
        #[serde(flatten)]
        troubles: Troubles<'a>,
        seconds: f64,
        data_seconds: f64,
        goodput_bps: u64,
        udp_bytes: u64,
        retransmitted_bytes: u64,
        loss: f64,
        loss_floor: f64,
        rtt_ms: f64,
        bandwidth_bps: u64,
        min_rtt_ms: f64,
        queue_ms: f64,
        jitter_ms: f64,
        datagram_bytes: usize,
        #[serde(flatten)]
        ends: Box<Ends<'a>>,
        control_bytes: u64,
        suite: &'static str,
        policy: &'static str,
    },
}

#[derive(Serialize)]
struct Stage<'a> {
    name: &'a str,
    busy_seconds: f64,
    input_seconds: f64,
    output_seconds: f64,
}

impl<'a> Stage<'a> {
    fn of(facts: &'a StageFacts) -> Self {
        Self {
            name: &facts.name,
            busy_seconds: round(facts.busy.as_secs_f64()),
            input_seconds: round(facts.waiting_for_input.as_secs_f64()),
            output_seconds: round(facts.waiting_for_output.as_secs_f64()),
        }
    }
}

#[derive(Serialize)]
struct Host<'a> {
    cpu_seconds: f64,
    machine_load: f64,
    busiest_stage: &'a str,
    busiest_load: f64,
    wanted_buffer_bytes: usize,
    send_buffer_bytes: u64,
    recv_buffer_bytes: u64,
    dropped_datagrams: u64,
}

impl<'a> Host<'a> {
    fn of(facts: &'a HostFacts) -> Self {
        Self {
            cpu_seconds: round(facts.cpu.as_secs_f64()),
            machine_load: round(facts.machine_load),
            busiest_stage: &facts.busiest.0,
            busiest_load: round(facts.busiest.1),
            wanted_buffer_bytes: BUFFER_BYTES_WANTED,
            send_buffer_bytes: facts.send_buffer_bytes,
            recv_buffer_bytes: facts.recv_buffer_bytes,
            dropped_datagrams: facts.dropped_datagrams,
        }
    }
}

/// What it cost both ends, and what kept it from being faster.
#[derive(Serialize)]
struct Ends<'a> {
    here: Host<'a>,
    there: Host<'a>,
    limited_by: String,
    advice: Vec<String>,
}

/// What went wrong on the way, and was got over.
#[derive(Serialize)]
struct Troubles<'a> {
    warnings: u64,
    retry_count: u64,
    retry_seconds: f64,
    retries: Vec<PastRetry<'a>>,
}

#[derive(Serialize)]
struct PastRetry<'a> {
    code: u8,
    name: &'static str,
    text: &'a str,
    at_seconds: f64,
}

impl<'a> Troubles<'a> {
    fn of(report: &'a Report) -> Self {
        let retries = report.retries().iter().map(|retry| PastRetry {
            code: retry.code as u8,
            name: retry.code.name(),
            text: &retry.text,
            at_seconds: round(retry.at.as_secs_f64()),
        });
        Self {
            warnings: report.warnings(),
            retry_count: report.retry_count(),
            retry_seconds: round(report.lost().as_secs_f64()),
            retries: retries.collect(),
        }
    }
}

#[derive(Serialize)]
struct NamedFailure<'a> {
    path: &'a str,
    error: &'a str,
}

impl<'a> Record<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        Some(match event {
            // For people who tune: `--trace` writes them.
            Event::Decision(_) => return None,
            // For the log of the other end.
            Event::Request(_) => return None,
            Event::Line(facts) => Self::line(facts),
            Event::Session(facts) => Self::session(facts),
            Event::Limits(told) => Self::rate(told),
            Event::Path(facts) => Self::Path {
                peer: facts.peer.to_string(),
                moves: facts.moves,
                datagram_bytes: facts.segment_len,
            },
            Event::Progress(progress) => Self::progress(progress),
            Event::File(file) => Self::file(file),
            Event::Digest(record) => Self::digest(record),
            Event::Change(change) => {
                let (path, encoded) = name::reversible(&change.path);
                Self::Change {
                    act: change.act.name(),
                    path,
                    encoded,
                    done: change.done,
                }
            }
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

    fn line(facts: &'a LineFacts) -> Self {
        Self::Line {
            stages: facts.stages.iter().map(Stage::of).collect(),
            packet_bytes: facts.packet_len,
            datagram_bytes: facts.segment_len,
            send_buffer_bytes: facts.send_buffer_bytes,
            recv_buffer_bytes: facts.recv_buffer_bytes,
            ecn: facts.ecn.map(|state| state.to_string()),
            segmentation_offload: facts.segmentation_offload,
        }
    }

    fn progress(progress: &'a Progress) -> Self {
        Self::Progress {
            seconds: round(progress.elapsed.as_secs_f64()),
            bytes: progress.bytes,
            bytes_total: progress.bytes_total,
            files: progress.files,
            files_total: progress.files_total,
            scanned: progress.scanned,
            rate_bps: progress.rate_bps,
            goodput_bps: progress.goodput_bps,
            mode: &progress.mode,
            loss: progress.loss,
            loss_floor: progress.loss_floor,
            rtt_ms: millis(progress.rtt),
            min_rtt_ms: millis(progress.min_rtt),
            latest_rtt_ms: millis(progress.latest_rtt),
            queue_ms: millis(progress.rtt.saturating_sub(progress.min_rtt)),
            jitter_ms: millis(progress.jitter),
            udp_bytes: progress.sent_bytes,
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

    fn digest(record: &DigestRecord) -> Self {
        let (path, encoded) = name::reversible(&record.path);
        Self::Digest {
            path,
            encoded,
            bytes: record.bytes,
            blake3: account::hex(&record.digests.blake3),
            sha256: record
                .digests
                .sha256
                .as_ref()
                .map(|digest| account::hex(digest)),
        }
    }

    fn summary(summary: &'a Summary, failures: &'a [FailedFile], report: &'a Report) -> Self {
        let failures = failures
            .iter()
            .map(|file| NamedFailure {
                path: &file.path,
                error: &file.why,
            })
            .collect();
        Self::Summary {
            ok: summary.failed == 0,
            measurement: summary.is_measurement,
            dry_run: summary.is_rehearsal,
            direction: direction(summary.direction),
            bytes: summary.bytes,
            files: summary.files,
            there_bytes: summary.there_bytes,
            there_files: summary.there_files,
            kept: summary.kept,
            deleted: summary.deleted,
            left_out: summary.omitted.map(|omitted| omitted.left_out),
            skipped: summary.omitted.map(|omitted| omitted.special),
            failed: summary.failed,
            corrupt: summary.corrupt,
            failures,
            troubles: Troubles::of(report),
            seconds: round(summary.seconds),
            data_seconds: round(summary.data_seconds),
            goodput_bps: summary.goodput_bps,
            udp_bytes: summary.udp_bytes,
            retransmitted_bytes: summary.retransmitted_bytes,
            loss: summary.loss,
            loss_floor: summary.loss_floor,
            rtt_ms: round(summary.rtt_ms),
            bandwidth_bps: summary.bandwidth_bps,
            min_rtt_ms: round(summary.min_rtt_ms),
            queue_ms: round((summary.rtt_ms - summary.min_rtt_ms).max(0.0)),
            jitter_ms: round(summary.jitter_ms),
            datagram_bytes: summary.segment_len,
            ends: Box::new(Ends {
                here: Host::of(&summary.here),
                there: Host::of(&summary.there),
                limited_by: bound::limit(summary, report.limits()),
                advice: bound::advice(summary),
            }),
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

fn millis(span: Duration) -> f64 {
    round(span.as_secs_f64() * 1e3)
}

/// Three decimals: what a clock can tell and a reader can use.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
pub(crate) mod tests;
