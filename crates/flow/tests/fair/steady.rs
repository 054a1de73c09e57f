//! One flow on an unchanging path: full use of it, a short queue.

use crate::bottleneck::{Path, World};

const SEEDS: [u64; 3] = [1, 2, 3];

/// The queue target that the design promises, seconds.
fn target(rate: f64, rtt: f64) -> f64 {
    (0.004 * (100e6 / rate).sqrt()).min((0.5 * rtt).max(0.001))
}

struct Result {
    use_of_path: f64,
    queue: f64,
}

fn run(path: &Path, seconds: f64) -> Result {
    // Start-up and what it leaves behind are over after 40 round trips.
    let from = (40.0 * path.rtt).max(3.0);
    let to = from + seconds;
    let world = World::single(path.clone()).run(to);
    Result {
        use_of_path: world.goodput(0, from, to) / (path.rate * (1.0 - path.loss)),
        queue: world.wait(from, to, 0.95),
    }
}

/// All losses and buffers for one rate and round trip.
fn fills(rate: f64, rtt: f64, seconds: f64) {
    let mut failures = Vec::new();
    for buffer in [0.05, 0.25, 1.0] {
        for loss in [0.0, 0.01, 0.05, 0.10, 0.30] {
            let mut results: Vec<Result> = SEEDS
                .iter()
                .map(|seed| run(&Path::new(rate, rtt, buffer, loss, *seed), seconds))
                .collect();
            results.sort_by(|a, b| a.use_of_path.total_cmp(&b.use_of_path));
            let (worst, median) = (results[0].use_of_path, results[1].use_of_path);
            let queue = results
                .iter()
                .map(|result| result.queue)
                .fold(0.0, f64::max);
            let queue_max = 1.5 * target(rate, rtt) + 0.001 + 0.015 * rtt;
            if median < 0.97 || worst < 0.94 || queue > queue_max {
                failures.push(format!(
                    "{:.0} Mbit/s, {:.0} ms, buffer {buffer} BDP, loss {loss}: median {median:.3}, \
                     worst {worst:.3}, queue {:.2} of {:.2} ms (seeds {SEEDS:?})",
                    rate / 1e6,
                    rtt * 1e3,
                    queue * 1e3,
                    queue_max * 1e3
                ));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn fills_10_mbit_50_ms() {
    fills(10e6, 0.050, 30.0);
}

#[test]
fn fills_100_mbit_10_ms() {
    fills(100e6, 0.010, 20.0);
}

#[test]
fn fills_100_mbit_50_ms() {
    fills(100e6, 0.050, 20.0);
}

#[test]
fn fills_100_mbit_100_ms() {
    fills(100e6, 0.100, 20.0);
}

#[test]
fn fills_100_mbit_200_ms() {
    fills(100e6, 0.200, 20.0);
}

#[test]
fn fills_1_gbit_10_ms() {
    fills(1e9, 0.010, 5.0);
}

#[test]
fn fills_1_gbit_50_ms() {
    fills(1e9, 0.050, 5.0);
}

#[test]
fn fills_1_gbit_100_ms() {
    fills(1e9, 0.100, 5.0);
}

#[test]
fn fills_1_gbit_200_ms() {
    fills(1e9, 0.200, 8.0);
}

#[test]
fn loss_before_the_bottleneck_is_made_good() {
    for loss in [0.05, 0.30] {
        let mut path = Path::new(100e6, 0.050, 0.5, loss, 1);
        path.loss_before = true;
        let world = World::single(path).run(20.0);
        // The bottleneck itself can be full: more than C·(1−p) arrives.
        let share = world.goodput(0, 4.0, 20.0) / 100e6;
        assert!(share > 0.97, "loss {loss}: {share:.3} of C");
    }
}

#[test]
fn bursts_of_the_allowed_length_do_no_harm() {
    for (rate, rtt, buffer) in [(10e6, 0.05, 0.5), (100e6, 0.05, 0.25), (1e9, 0.05, 0.1)] {
        let mut path = Path::new(rate, rtt, buffer, 0.01, 1);
        path.bursts = true;
        let result = run(&path, 8.0);
        assert!(
            result.use_of_path > 0.97,
            "{rate} {rtt}: {:.3}",
            result.use_of_path
        );
    }
}

#[test]
fn jitter_costs_little() {
    for jitter in [0.001, 0.005, 0.020] {
        for loss in [0.0, 0.05] {
            let mut path = Path::new(100e6, 0.050, 1.0, loss, 1);
            path.jitter = jitter;
            let result = run(&path, 20.0);
            assert!(
                result.use_of_path > 0.95 && result.queue < 0.015,
                "jitter {jitter}, loss {loss}: {:.3}, {:.1} ms",
                result.use_of_path,
                result.queue * 1e3
            );
        }
    }
}

#[test]
fn lost_reports_cost_little() {
    for (report_loss, least) in [(0.1, 0.98), (0.5, 0.98), (0.9, 0.85)] {
        let mut path = Path::new(100e6, 0.050, 1.0, 0.05, 1);
        path.report_loss = report_loss;
        let result = run(&path, 20.0);
        assert!(
            result.use_of_path > least,
            "{report_loss} of reports lost: {:.3}",
            result.use_of_path
        );
    }
}

#[test]
fn clocks_may_drift_apart() {
    for drift_ppm in [-100.0, 100.0] {
        let mut path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
        path.drift_ppm = drift_ppm;
        let result = run(&path, 60.0);
        assert!(
            result.use_of_path > 0.98 && result.queue < 0.007,
            "{drift_ppm} ppm: {:.3}, {:.1} ms",
            result.use_of_path,
            result.queue * 1e3
        );
    }
}
