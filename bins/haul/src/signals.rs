//! Ctrl-C and its kin: the first asks for an orderly end, the second ends at once.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    process,
    time::{Duration, Instant},
};

use haul_transfer::ErrorCode;
use rustix::process::Signal as Number;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{ask, failure::Failure, hooks, keys, socket};

/// A wish often comes twice: timeout(1) signals its child and then its group, and a parent passes
/// on what the terminal has sent already. Signals this close to the first are that wish again.
const SAME_WISH: Duration = Duration::from_millis(250);

/// Turns true at the first signal that asks this process to end, or when others say so; a second
/// signal ends it. A signal
/// that was ignored when the program began (`nohup`, a background job) stays ignored.
///
/// Must be called within a runtime.
pub(crate) fn cancellation() -> Result<watch::Sender<bool>, Failure> {
    let ignored = ignored();
    let listen = |kind: SignalKind| {
        let bit = 1_u64 << (kind.as_raw_value() - 1);
        (ignored & bit == 0).then(|| signal(kind)).transpose()
    };
    let refuse = Failure::system("listening for signals");
    let signals = (|| {
        // A file that grows beyond what this user may have fails with EFBIG then, and haul lives to
        // tell.
        let _ = signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?;
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    })();
    let mut signals = signals.map_err(refuse)?;
    let cancel = watch::Sender::new(false);
    let told = cancel.clone();
    tokio::spawn(async move {
        signals.any().await;
        // Before anybody hears of it: on a busy machine much may happen until this goes on.
        let first = Instant::now();
        told.send_replace(true);
        loop {
            signals.any().await;
            if first.elapsed() >= SAME_WISH {
                end_at_once();
            }
        }
    });
    Ok(cancel)
}

/// Ends without unwinding: the user has asked twice, and whatever is stuck may stay stuck.
#[expect(
    clippy::disallowed_methods,
    reason = "the terminal is put right here; partial files are meant to stay"
)]
fn end_at_once() -> ! {
    ask::restore_terminal();
    keys::restore();
    socket::remove();
    hooks::end();
    let over = if io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    let _ = writeln!(
        io::stderr(),
        "{over}haul: error: cancelled; partial files are kept"
    );
    process::exit(ErrorCode::Cancelled as i32)
}

/// Completes once the first signal has come.
pub(crate) async fn cancelled(mut cancellation: watch::Receiver<bool>) {
    if cancellation.wait_for(|cancelled| *cancelled).await.is_err() {
        // The listener is gone, so no signal will ever be told.
        std::future::pending().await
    }
}

struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            () = next(&mut self.terminate) => {}
            () = next(&mut self.hangup) => {}
        }
    }
}

/// Completes when the signal comes; never without one.
pub(crate) async fn next(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending().await
    }
}

/// The signals this process was started to ignore, signal N as bit N-1 (proc(5), `SigIgn`).
pub(crate) fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
