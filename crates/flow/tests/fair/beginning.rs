//! What a cold start costs: capacity not used until it is over, and what it sends in vain.

use crate::bottleneck::{Path, World};

/// (seconds of capacity not used, bandwidth-delay products lost to a full buffer).
fn cost(rate: f64, rtt: f64, buffer_ms: f64, loss: f64, seed: u64) -> (f64, f64) {
    let until = 20.0 * rtt;
    let path = Path::new(rate, rtt, 1e-3 * buffer_ms / rtt, loss, seed);
    let world = World::single(path).run(until);
    let arrived = world.goodput(0, 0.0, until) * until;
    let sent = world.sent(0, 0.0, until) * until;
    let idle = until - 0.5 * rtt - arrived / (rate * (1.0 - loss));
    // One product is in flight at the end.
    let overshoot = (sent - arrived / (1.0 - loss)) / (rate * rtt) - 1.0;
    (idle, overshoot)
}

#[test]
fn a_cold_start_costs_six_round_trips_and_one_bandwidth_delay_product() {
    for (rtt, loss) in [(0.1, 0.0), (0.1, 0.1), (0.2, 0.0), (0.2, 0.1)] {
        for seed in 1..=3 {
            let (idle, overshoot) = cost(300e6, rtt, 50.0, loss, seed);
            let run = format!("{rtt} s, loss {loss}, seed {seed}: {idle:.3} s, {overshoot:.2} BDP");
            assert!(idle < 6.5 * rtt, "{run}");
            assert!(overshoot < 1.2, "{run}");
        }
    }
}

#[test]
fn dbg() {
    for seed in 1..=3 {
        for (rate, rtt) in [(1e9, 0.2), (1e9, 0.05)] {
            let path = Path::new(rate, rtt, 0.25, 0.3, seed);
            let world = World::single(path).run(6.0);
            println!("{rate} {rtt} {seed}");
            for line in world.flows[0].trace.iter().take(6) {
                println!(
                    "  {:.3} {} rate {:.1} bw {:.1} floor {:.3} q {:?} {}",
                    line.at.0 as f64 * 1e-9,
                    line.mode,
                    line.rate_bps / 1e6,
                    line.bandwidth_bps / 1e6,
                    line.loss_floor,
                    line.queue_delay,
                    line.why
                );
            }
        }
    }
}
