//! The whole line on loopback, memory to memory: `cargo bench -p haul-benches --bench pipeline`.
//! `SIZE_MIB` (1024) sets the size, `RUNS` (3) the number of runs of which the best counts.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, io::Write, time::Instant};

use haul_benches::{Pair, Setup};
use haul_engine::StageTimes;
use haul_flow::Policy;
use haul_wire::SuiteId;

fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (size, runs) = (number("SIZE_MIB", 1024) << 20, number("RUNS", 3));
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let source = folder.path().join("file");
    fill(&source, size)?;
    println!("{size} bytes from tmpfs to tmpfs, both ends on this machine, best of {runs}");
    for suite in SuiteId::ALL {
        for datagram_len in [1452, 8952] {
            let mut best: Option<(f64, Vec<StageTimes>, f64)> = None;
            for _ in 0..runs {
                let destination = tempfile::tempdir_in("/dev/shm")?;
                let start = Instant::now();
                let pair = Pair::start(&Setup {
                    source: &source,
                    destination: destination.path(),
                    suite,
                    datagram_len,
                    policy: Policy::Fair,
                    rate_target_bps: None,
                })?;
                let (sent, received) = pair.finish()?;
                let seconds = start.elapsed().as_secs_f64();
                if best.as_ref().is_none_or(|(fastest, ..)| seconds < *fastest) {
                    let loss = sent.sender.map_or(0.0, |stats| {
                        stats.retransmitted_packets as f64 / stats.sent_packets.max(1) as f64
                    });
                    let stages = [sent.stages, received.stages].concat();
                    best = Some((seconds, stages, loss));
                }
            }
            let Some((seconds, stages, loss)) = best else {
                continue;
            };
            println!(
                "{suite:<18} {datagram_len:>5}  {:6.2} Gbit/s  {:.3} % repeated",
                size as f64 * 8e-9 / seconds,
                loss * 100.0
            );
            for stage in stages {
                println!(
                    "    {:<8} busy {:3.0} %, waiting for input {:3.0} %, for output {:3.0} %",
                    stage.stage.to_string(),
                    stage.busy.as_secs_f64() / seconds * 100.0,
                    stage.waiting_for_input.as_secs_f64() / seconds * 100.0,
                    stage.waiting_for_output.as_secs_f64() / seconds * 100.0,
                );
            }
        }
    }
    Ok(())
}

fn fill(path: &std::path::Path, size: u64) -> Result<(), Box<dyn Error>> {
    let chunk: Vec<u8> = (0..1u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut file = fs::File::create(path)?;
    for _ in 0..size >> 20 {
        file.write_all(&chunk)?;
    }
    Ok(())
}
