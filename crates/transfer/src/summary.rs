use std::time::Duration;

use haul_wire::control::{Host, escaped};

use crate::{
    Direction, FailedFile, HostFacts, Policy, SuiteId, Summary, TransferError, data::Account,
};

/// What was agreed, and how long all of it took.
pub(crate) struct Terms {
    pub(crate) direction: Direction,
    pub(crate) is_measurement: bool,
    pub(crate) is_rehearsal: bool,
    pub(crate) suite: SuiteId,
    pub(crate) policy: Policy,
    /// From the first hello to the end.
    pub(crate) time: Duration,
    pub(crate) control_bytes: u64,
}

/// The final account. Only the receiver's word makes a success.
///
/// # Errors
/// [`TransferError::Partial`] when the receiver misses some names.
pub(crate) fn conclude(account: Account, terms: Terms) -> Result<Summary, TransferError> {
    let summary = summarize(&account, &terms);
    if account.verdict.ok {
        return Ok(summary);
    }
    let failures = account
        .verdict
        .failures
        .into_iter()
        .map(|failure| FailedFile {
            path: escaped(&failure.path),
            why: failure.why.to_string(),
        });
    Err(TransferError::Partial {
        failures: failures.collect(),
        summary: Box::new(summary),
    })
}

fn summarize(account: &Account, terms: &Terms) -> Summary {
    let Account {
        verdict,
        status,
        here,
        there,
        omitted,
        segment_len,
        data_time,
    } = account;
    let data_seconds = data_time.as_secs_f64();
    // Too short a time says nothing.
    let sent_bytes = verdict.bytes.saturating_sub(verdict.there_bytes);
    let goodput_bps = sent_bytes as f64 * 8.0 / data_seconds.max(1e-6);
    Summary {
        direction: terms.direction,
        is_measurement: terms.is_measurement,
        is_rehearsal: terms.is_rehearsal,
        bytes: verdict.bytes,
        files: verdict.files,
        there_files: verdict.there_files,
        there_bytes: verdict.there_bytes,
        kept: verdict.kept,
        deleted: verdict.deleted,
        failed: verdict.failed,
        corrupt: verdict.corrupt,
        omitted: *omitted,
        seconds: terms.time.as_secs_f64(),
        data_seconds,
        goodput_bps: goodput_bps as u64,
        udp_bytes: status.sent_bytes,
        retransmitted_bytes: status.retransmitted_bytes,
        loss: f64::from(status.loss_ppm) / 1e6,
        loss_floor: f64::from(status.loss_floor_ppm) / 1e6,
        rtt_ms: f64::from(status.rtt_us) / 1e3,
        bandwidth_bps: status.bandwidth_bps,
        min_rtt_ms: f64::from(status.min_rtt_us) / 1e3,
        jitter_ms: f64::from(status.jitter_us) / 1e3,
        segment_len: *segment_len,
        here: host(here),
        there: host(there),
        control_bytes: terms.control_bytes,
        suite: terms.suite,
        policy: terms.policy,
    }
}

fn host(host: &Host) -> HostFacts {
    HostFacts {
        cpu: Duration::from_micros(host.cpu_us),
        send_buffer_bytes: host.send_buffer_bytes,
        recv_buffer_bytes: host.recv_buffer_bytes,
        dropped_datagrams: host.dropped_datagrams,
        busiest: (
            host.busiest_stage.to_string(),
            f64::from(host.busiest_ppm) / 1e6,
        ),
        machine_load: f64::from(host.machine_ppm) / 1e6,
    }
}
