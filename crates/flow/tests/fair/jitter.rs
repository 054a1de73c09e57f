//! Delays that jump about although there is no queue.

use crate::{
    bottleneck::{Path, World},
    company::jain,
    flow::FlowSpec,
};

const PATHS: [(f64, f64); 4] = [(20e6, 0.05), (100e6, 0.05), (100e6, 0.1), (300e6, 0.1)];
/// A draw for each packet, which in order of arrival is mostly the longest there can be, and delays
/// that wander from draw to draw, as radio links have them.
const PERIODS: [f64; 2] = [0.0, 0.020];

fn jittery(rate: f64, rtt: f64, jitter: f64, period: f64, seed: u64) -> Path {
    let mut path = Path::new(rate, rtt, 1.0, 0.0, seed);
    path.jitter = jitter;
    path.jitter_period = period;
    path
}

#[test]
fn jitter_far_above_the_queue_target_leaves_most_of_the_path() {
    let mut failures = Vec::new();
    for (rate, rtt) in PATHS {
        for (jitter, least) in [(0.005, 0.98), (0.020, 0.95), (0.050, 0.75)] {
            for period in PERIODS {
                for (loss, seed) in [(0.0, 1), (0.0, 2), (0.01, 1), (0.01, 2)] {
                    let mut path = jittery(rate, rtt, jitter, period, seed);
                    path.loss = loss;
                    let world = World::single(path).run(20.0);
                    let share = world.goodput(0, 4.0, 20.0) / (rate * (1.0 - loss));
                    if share < least {
                        failures.push(format!(
                            "{:.0} Mbit/s, {rtt} s, jitter {jitter} s, drawn every {period} s, \
                             loss {loss}, seed {seed}: {share:.3}",
                            rate / 1e6
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn flows_converge_in_spite_of_jitter() {
    for period in PERIODS {
        for jitter in [0.005, 0.020, 0.050] {
            for seed in 1..=2 {
                let path = jittery(100e6, 0.05, jitter, period, seed);
                let late = FlowSpec {
                    start: 5.0,
                    ..FlowSpec::default()
                };
                let world = World::new(path, vec![FlowSpec::default(), late]).run(60.0);
                let rates = [0, 1].map(|flow| world.goodput(flow, 30.0, 60.0));
                println!(
                    "jitter {jitter}, period {period}, seed {seed}: {:.3} {:?}",
                    jain(&rates),
                    rates.map(|rate| rate / 1e8)
                );
            }
        }
    }
}
