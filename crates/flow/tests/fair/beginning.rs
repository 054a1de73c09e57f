//! What a cold start costs: capacity not used until it is over, and what it sends in vain.

use std::time::Duration;

use haul_flow::Remembered;

use crate::{
    bottleneck::{Path, World},
    flow::FlowSpec,
};

/// (seconds of capacity not used, bandwidth-delay products lost to a full buffer).
fn cost(path: Path, remembered: Option<Remembered>) -> (f64, f64) {
    let Path {
        rate, rtt, loss, ..
    } = path;
    let until = 20.0 * rtt;
    let spec = FlowSpec {
        remembered,
        ..FlowSpec::default()
    };
    let world = World::new(path, vec![spec]).run(until);
    let arrived = world.goodput(0, 0.0, until) * until;
    let sent = world.sent(0, 0.0, until) * until;
    let idle = until - 0.5 * rtt - arrived / (rate * (1.0 - loss));
    // One product is in flight at the end.
    let overshoot = (sent - arrived / (1.0 - loss)) / (rate * rtt) - 1.0;
    (idle, overshoot)
}

#[test]
fn a_cold_start_costs_five_round_trips_and_one_bandwidth_delay_product() {
    for (rtt, loss) in [(0.1, 0.0), (0.1, 0.1), (0.2, 0.0), (0.2, 0.1)] {
        for seed in 1..=3 {
            let (idle, overshoot) = cost(Path::new(300e6, rtt, 0.05 / rtt, loss, seed), None);
            let run = format!("{rtt} s, loss {loss}, seed {seed}: {idle:.3} s, {overshoot:.2} BDP");
            assert!(idle < 5.6 * rtt, "{run}");
            assert!(overshoot < 1.3, "{run}");
        }
    }
}

#[test]
fn a_memory_saves_most_of_it_and_a_wrong_one_does_no_harm() {
    let rtt = 0.1;
    for loss in [0.0, 0.05] {
        let run = |rate_bps: f64, then: f64| {
            let path = Path::new(300e6, rtt, 0.5, loss, 1);
            let min_rtt = Duration::from_secs_f64(then);
            cost(path, Some(Remembered { rate_bps, min_rtt }))
        };
        let (idle, overshoot) = run(290e6, rtt);
        assert!(
            idle < 2.0 * rtt && overshoot < 0.1,
            "{idle} {overshoot}, loss {loss}"
        );
        // Ten times too much costs a round trip of it; too little, or another path's,
        // a few more.
        let (idle, overshoot) = run(3e9, rtt);
        assert!(
            idle < 5.0 * rtt && overshoot < 9.0,
            "{idle} {overshoot}, loss {loss}"
        );
        for (rate_bps, then) in [(3e6, rtt), (30e6, rtt), (3e9, 4.0 * rtt)] {
            let (idle, overshoot) = run(rate_bps, then);
            assert!(
                idle < 9.0 * rtt && overshoot < 1.5,
                "{idle} {overshoot}, loss {loss}"
            );
        }
    }
}
