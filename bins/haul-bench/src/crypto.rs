//! How fast this machine seals and opens, by suite and back end.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use haul_batch::{MAX_BATCH_BYTES, MAX_SEGMENTS, Pool};
use haul_seal::{
    Backend, Direction, KeyInput, OpenOptions, Opener, SealOptions, Sealer, SessionSecrets,
    TrafficSecret,
};
use haul_wire::{Kind, Lane, PacketCounter, SessionId, SuiteId, block_len, segment_len};

use crate::{
    amount::Span,
    report::{Report, Run},
};

/// Rounds of which the best counts: what else the machine does only makes it slower.
const ROUNDS: u32 = 3;

/// `haul-bench crypto`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this suite
    #[arg(long, value_name = "CIPHER")]
    suite: Option<SuiteId>,
    /// Bytes of UDP payload in a datagram: 1452 on Ethernet, 8952 with jumbo frames
    #[arg(long, default_value_t = 1452, value_name = "BYTES",
          value_parser = clap::value_parser!(u16).range(1232..=8952))]
    datagram: u16,
    /// How long to measure each
    #[arg(long, default_value = "300ms", value_name = "TIME")]
    time: Span,
}

/// GB/s, of whole datagrams.
#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    seal: f64,
    open: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("sealing and opening on this machine");
    let stride = segment_len(block_len(args.datagram.into()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let suites = SuiteId::ALL
        .into_iter()
        .filter(|suite| args.suite.is_none_or(|wanted| wanted == *suite));
    for suite in suites {
        for (number, backend) in backends(suite).into_iter().enumerate() {
            let group = if number == 0 { suite.name() } else { "" };
            let one = best(suite, backend, stride, 1, args.time.0)?;
            let all = best(suite, backend, stride, cores, args.time.0)?;
            let mut row = Run::new(group, backend.name());
            row.figure("seal, 1 core", one.seal, "GB/s");
            row.figure("open, 1 core", one.open, "GB/s");
            row.figure("seal, all cores", all.seal, "GB/s");
            row.figure("open, all cores", all.open, "GB/s");
            row.figure("CPU per Gbit to seal", cpu_per_gbit(one.seal), "ms");
            row.figure("CPU per Gbit to open", cpu_per_gbit(one.open), "ms");
            report.runs.push(row);
        }
    }
    report.notes.push(format!(
        "{cores} cores; datagrams of {stride} bytes, a batch at a time, as haul does it; the best \
         of {ROUNDS} rounds"
    ));
    if cfg!(debug_assertions) {
        report.notes.push(
            "this is a debug build: build with --release for figures that mean something".into(),
        );
    }
    Ok(report)
}

/// Back ends make a difference for the suites that haul builds from AES itself.
fn backends(suite: SuiteId) -> Vec<Backend> {
    match suite {
        SuiteId::Aes128Cfb | SuiteId::Aes256Cfb | SuiteId::NoneCmac => {
            Backend::available().collect()
        }
        _ => vec![Backend::Portable],
    }
}

fn cpu_per_gbit(gb_per_second: f64) -> f64 {
    1e3 / 8.0 / gb_per_second
}

/// The best of several rounds of `threads` at once.
fn best(
    suite: SuiteId,
    backend: Backend,
    stride: usize,
    threads: usize,
    time: Duration,
) -> anyhow::Result<Speed> {
    let mut best = Speed::default();
    for _ in 0..ROUNDS {
        let speeds: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| round(suite, backend, stride, time / ROUNDS)))
                .collect();
            running
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect()
        });
        let mut sum = Speed::default();
        for speed in speeds {
            let Ok(speed) = speed else {
                bail!("a thread ended early");
            };
            let speed = speed?;
            sum.seal += speed.seal;
            sum.open += speed.open;
        }
        best.seal = best.seal.max(sum.seal);
        best.open = best.open.max(sum.open);
    }
    Ok(best)
}

/// Seals and opens one batch after the other on this thread: all seal, then all open, so that with
/// several threads both figures are of cores that are busy with the same.
fn round(suite: SuiteId, backend: Backend, stride: usize, time: Duration) -> anyhow::Result<Speed> {
    /// Batches that are sealed before they are opened.
    const BATCHES: usize = 16;
    let count = (MAX_BATCH_BYTES / stride).min(MAX_SEGMENTS);
    let (sealer, opener) = pair(suite, backend)?;
    let pool = Pool::new(BATCHES);
    let mut numbers = PacketCounter::new();
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut batches = 0;
    let began = Instant::now();
    while began.elapsed() < time {
        let mut sealed = Vec::with_capacity(BATCHES);
        let start = Instant::now();
        while let Some(mut batch) = pool.try_take() {
            batch.shape(stride, count);
            let run = numbers.take(count).context("packet numbers")?;
            sealed.push(sealer.seal_batch(Kind::Data, Lane::DATA, run, batch)?);
        }
        let sealed_at = Instant::now();
        batches += sealed.len();
        for batch in sealed {
            let opened = opener.open_batch(batch.into_batch(), 0);
            if opened.segments().len() != count {
                bail!("what was sealed did not open");
            }
        }
        sealing += sealed_at - start;
        opening += sealed_at.elapsed();
    }
    let bytes = (batches * count * stride) as f64;
    Ok(Speed {
        seal: bytes / sealing.as_secs_f64() / 1e9,
        open: bytes / opening.as_secs_f64() / 1e9,
    })
}

fn pair(suite: SuiteId, backend: Backend) -> anyhow::Result<(Sealer, Opener)> {
    let session = SessionId(1);
    let seal = SealOptions {
        backend,
        ..SealOptions::default()
    };
    let open = OpenOptions {
        backend,
        ..OpenOptions::default()
    };
    Ok((
        Sealer::with_options(suite, secret()?, session, seal),
        Opener::with_options(suite, secret()?, session, open),
    ))
}

/// Any secret does: nothing leaves this process.
fn secret() -> anyhow::Result<TrafficSecret> {
    let input = KeyInput {
        shared_x25519: &[1; 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"",
        server_hello: b"",
    };
    Ok(SessionSecrets::derive(&input)?.traffic(Direction::ClientToServer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_gets_its_figures() {
        let args = Args {
            suite: None,
            datagram: 1452,
            time: Span(Duration::from_millis(6)),
        };
        let report = run(&args).unwrap();
        assert!(report.runs.len() >= SuiteId::ALL.len());
        for row in &report.runs {
            assert!(
                row.figures.iter().all(|figure| figure.value > 0.0),
                "{row:?}"
            );
        }
    }
}
