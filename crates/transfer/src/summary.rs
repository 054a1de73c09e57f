use std::time::Duration;

use haul_wire::control::escaped;

use crate::{Direction, FailedFile, Policy, SuiteId, Summary, TransferError, data::Account};

/// What was agreed, and how long all of it took.
pub(crate) struct Terms {
    pub(crate) direction: Direction,
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
        data_time,
    } = account;
    let data_seconds = data_time.as_secs_f64();
    // Too short a time says nothing.
    let goodput_bps = verdict.bytes as f64 * 8.0 / data_seconds.max(1e-6);
    Summary {
        direction: terms.direction,
        bytes: verdict.bytes,
        files: verdict.files,
        failed: verdict.failed,
        seconds: terms.time.as_secs_f64(),
        data_seconds,
        goodput_bps: goodput_bps as u64,
        udp_bytes: status.sent_bytes,
        retransmitted_bytes: status.retransmitted_bytes,
        loss: f64::from(status.loss_ppm) / 1e6,
        rtt_ms: f64::from(status.rtt_us) / 1e3,
        bandwidth_bps: status.bandwidth_bps,
        min_rtt_ms: f64::from(status.min_rtt_us) / 1e3,
        control_bytes: terms.control_bytes,
        suite: terms.suite,
        policy: terms.policy,
    }
}
