//! What the line could do and what it does, on loopback: first every stage alone on one thread, then
//! all of them together, for every suite and two lengths of datagram, with files in memory at both
//! ends and without.
//!
//! `cargo bench -p haul-benches --bench pipeline [-- SUITE]`. `SIZE_MIB` (1024) sets the size, `RUNS`
//! (3) the number of runs of which the best counts.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::Path, thread, time::Instant};

use haul_benches::{Costs, Ends, Pair, Setup, fill, measure_alone};
use haul_engine::StageTimes;
use haul_flow::Policy;
use haul_wire::SuiteId;

/// What is moved, and how.
struct Case<'a> {
    source: &'a Path,
    size: u64,
    /// From memory to nowhere, no file touched.
    is_memory: bool,
    suite: SuiteId,
    datagram_len: usize,
}

/// All stages at work.
struct Together {
    seconds: f64,
    stages: Vec<StageTimes>,
    /// Share of packets that were sent again.
    repeated: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (size, runs) = (number("SIZE_MIB", 1024) << 20, number("RUNS", 3));
    let wanted = std::env::args().nth(1).filter(|arg| !arg.starts_with("--"));
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let source = folder.path().join("file");
    fill(&source, size)?;
    println!(
        "{size} bytes, both ends on this machine, best of {runs}; figures of stages are nanoseconds \
         of processor time for a byte"
    );
    for suite in SuiteId::ALL {
        if wanted.as_ref().is_some_and(|name| name != suite.name()) {
            continue;
        }
        for datagram_len in [1452, 8952] {
            for is_memory in [false, true] {
                let case = Case {
                    source: &source,
                    size,
                    is_memory,
                    suite,
                    datagram_len,
                };
                case.print(&case.alone(runs)?, &case.together(runs)?);
            }
        }
    }
    Ok(())
}

impl Case<'_> {
    /// The cheapest run of each stage by itself: what else the machine does only adds to it.
    fn alone(&self, runs: u64) -> Result<Costs, Box<dyn Error>> {
        let mut best: Option<Costs> = None;
        for _ in 0..runs {
            let destination = self.destination()?;
            let ends = self.ends(destination.path());
            let costs = measure_alone(&ends, self.suite, self.datagram_len)?;
            if best.is_none_or(|best| costs.sum() < best.sum()) {
                best = Some(costs);
            }
        }
        best.ok_or_else(|| "no run".into())
    }

    /// The fastest run of all together.
    fn together(&self, runs: u64) -> Result<Together, Box<dyn Error>> {
        let mut best: Option<Together> = None;
        for _ in 0..runs {
            let destination = self.destination()?;
            let start = Instant::now();
            let pair = Pair::start(&Setup {
                ends: self.ends(destination.path()),
                suite: self.suite,
                datagram_len: self.datagram_len,
                policy: Policy::Fair,
                rate_target_bps: None,
            })?;
            let (sent, received) = pair.finish()?;
            let seconds = start.elapsed().as_secs_f64();
            if best.as_ref().is_none_or(|best| seconds < best.seconds) {
                best = Some(Together {
                    seconds,
                    stages: [sent.stages, received.stages].concat(),
                    repeated: sent.sender.map_or(0.0, |stats| {
                        stats.retransmitted_packets as f64 / stats.sent_packets.max(1) as f64
                    }),
                });
            }
        }
        best.ok_or_else(|| "no run".into())
    }

    /// A folder in memory that the machine has at hand: a virtual one is slow to get back from its
    /// host what it has not used for a while.
    fn destination(&self) -> Result<tempfile::TempDir, Box<dyn Error>> {
        let folder = tempfile::tempdir_in("/dev/shm")?;
        if !self.is_memory {
            let file = folder.path().join("warm");
            fill(&file, self.size)?;
            fs::remove_file(&file)?;
        }
        Ok(folder)
    }

    fn ends<'a>(&'a self, destination: &'a Path) -> Ends<'a> {
        if self.is_memory {
            Ends::Memory(self.size)
        } else {
            Ends::Files {
                source: self.source,
                destination,
            }
        }
    }

    fn print(&self, alone: &Costs, together: &Together) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let ends = if self.is_memory { "memory" } else { "files" };
        let gbps = self.size as f64 * 8e-9 / together.seconds;
        let limit = alone.limit_gbps(cores);
        println!(
            "{:<18} {:>5} {ends:<6}  {gbps:6.2} Gbit/s, {:.2} of the {limit:.2} that the stages \
             allow on {cores} cores; {:.3} % repeated",
            self.suite.name(),
            self.datagram_len,
            gbps / limit,
            together.repeated * 100.0
        );
        let figures = |name: &str, figures: &[f64]| {
            let sum: f64 = figures.iter().sum();
            let each: Vec<String> = figures.iter().map(|ns| format!("{ns:8.3}")).collect();
            println!("    {name:<14} {} {sum:8.3}", each.join(" "));
        };
        let names: Vec<String> = together
            .stages
            .iter()
            .map(|stage| format!("{:>8}", stage.stage.to_string()))
            .collect();
        println!("    {:<14} {}      sum", "", names.join(" "));
        figures("alone", &alone.stages().map(|(_, cost)| cost));
        let cpu = |stage: &StageTimes| stage.cpu.as_secs_f64() * 1e9 / self.size as f64;
        let cpu: Vec<f64> = together.stages.iter().map(cpu).collect();
        figures("together", &cpu);
        let busy = |stage: &StageTimes| stage.busy.as_secs_f64() / together.seconds * 100.0;
        let busy: Vec<f64> = together.stages.iter().map(busy).collect();
        figures("busy, %", &busy);
    }
}
