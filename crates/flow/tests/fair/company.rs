//! Several flows in one bottleneck.

use haul_flow::{Why, rate::Fair};

use crate::{
    bottleneck::{Path, World},
    flow::FlowSpec,
};

/// Jain's fairness index (Jain, Chiu, Hawe 1984).
pub fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares)
}

fn starting_at(start: f64) -> FlowSpec {
    FlowSpec {
        start,
        ..FlowSpec::default()
    }
}

#[test]
fn two_flows_converge() {
    for (rate, rtt, loss, start, seeds) in [
        (100e6, 0.050, 0.00, 0.01, 1..=1),
        (100e6, 0.050, 0.00, 10.0, 1..=1),
        (100e6, 0.050, 0.05, 5.0, 1..=4),
        (1e9, 0.020, 0.00, 3.0, 1..=1),
    ] {
        for seed in seeds {
            let path = Path::new(rate, rtt, 1.0, loss, seed);
            let world = World::new(path, vec![FlowSpec::default(), starting_at(start)]).run(40.0);
            let rates = [0, 1].map(|flow| world.goodput(flow, 25.0, 40.0));
            let share = (rates[0] + rates[1]) / (rate * (1.0 - loss));
            assert!(
                jain(&rates) > 0.97 && share > 0.97,
                "{rate} {rtt} {loss} {start}, seed {seed}: {rates:?}"
            );
            for flow in &world.flows {
                assert!(
                    !flow.decided(Why::BufferFiller),
                    "a newcomer is no buffer filler"
                );
            }
        }
    }
}

#[test]
fn two_flows_converge_where_the_buffer_ends_before_the_target() {
    let mut runs = (1..=5).map(|seed| {
        let path = Path::new(100e6, 0.050, 0.1, 0.0, seed);
        let world = World::new(path, vec![FlowSpec::default(), starting_at(10.0)]).run(100.0);
        jain(&[0, 1].map(|flow| world.goodput(flow, 60.0, 100.0)))
    });
    let mut runs: [f64; 5] = std::array::from_fn(|_| runs.next().unwrap());
    runs.sort_by(f64::total_cmp);
    assert!(runs[2] > 0.95 && runs[0] > 0.7, "{runs:.3?}");
}

#[test]
fn four_flows_converge_and_no_newcomer_starves_an_incumbent() {
    for seed in 1..=2 {
        let path = Path::new(100e6, 0.050, 1.0, 0.0, seed);
        let flows = (0..4)
            .map(|index| starting_at(f64::from(index) * 5.0))
            .collect();
        let world = World::new(path, flows).run(70.0);
        let rates = [0, 1, 2, 3].map(|flow| world.goodput(flow, 40.0, 70.0));
        assert!(jain(&rates) > 0.97, "seed {seed}: {rates:?}");
        let queue = world.wait(40.0, 70.0, 0.95);
        assert!(
            queue < 0.016,
            "the queue grows with the square root of the flows: {queue}"
        );
    }
}

#[test]
fn round_trip_time_does_not_matter() {
    let with_rtt = |rtt, start| FlowSpec {
        rtt: Some(rtt),
        start,
        ..FlowSpec::default()
    };
    let path = Path::new(100e6, 0.050, 2.0, 0.0, 1);
    let world = World::new(path, vec![with_rtt(0.020, 0.0), with_rtt(0.100, 5.0)]).run(60.0);
    let rates = [0, 1].map(|flow| world.goodput(flow, 40.0, 60.0));
    assert!(jain(&rates) > 0.97, "{rates:?}");
}

#[test]
fn weight_two_is_twice_the_share() {
    let heavy = FlowSpec {
        make: |config| Fair::with_weight(config, 2.0),
        ..FlowSpec::default()
    };
    let path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    let world = World::new(path, vec![heavy, starting_at(5.0)]).run(60.0);
    let ratio = world.goodput(0, 40.0, 60.0) / world.goodput(1, 40.0, 60.0);
    assert!((1.7..2.3).contains(&ratio), "{ratio:.2}");
}

#[test]
fn who_leaves_leaves_the_path_to_the_other() {
    let short = FlowSpec {
        stop: 15.0,
        ..FlowSpec::default()
    };
    let path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    let world = World::new(path, vec![short, starting_at(3.0)]).run(25.0);
    let share = world.goodput(1, 16.5, 25.0) / 100e6;
    assert!(share > 0.97, "{share:.3}");
}
