//! In company with a flow that fills buffers.

use haul_flow::{Mode, RateConfig, Why, rate::Fair};

use crate::{
    bottleneck::{Path, World},
    flow::FlowSpec,
};

/// Seconds of a run; shares are taken after four tenths of it.
const UNTIL: f64 = 100.0;

/// (share of our flow, of the CUBIC flow), of the link. `starts` in seconds.
fn shares(path: &Path, starts: (f64, f64), make: fn(RateConfig) -> Fair) -> (f64, f64) {
    let spec = FlowSpec {
        start: starts.0,
        make,
        ..FlowSpec::default()
    };
    let world = World::new(path.clone(), vec![spec])
        .and_cubic(starts.1)
        .run(UNTIL);
    let from = 0.4 * UNTIL;
    (
        world.goodput(0, from, UNTIL) / path.rate,
        world.cubic_goodput(0, from, UNTIL) / path.rate,
    )
}

#[test]
fn a_cubic_flow_leaves_its_share_and_gets_it() {
    let mut runs = Vec::new();
    for (rate, rtt, buffers) in [
        (20e6, 0.1, &[0.25, 1.0][..]),
        (100e6, 0.1, &[0.5, 1.0, 2.0]),
        (100e6, 0.02, &[0.5, 1.0, 4.0]),
        (300e6, 0.1, &[0.25, 1.0]),
        (300e6, 0.02, &[0.25, 1.0, 2.0]),
    ] {
        for buffer in buffers {
            for starts in [(0.0, 5.0), (5.0, 0.0)] {
                let path = Path::new(rate, rtt, *buffer, 0.0, 1);
                let (ours, cubic) = shares(&path, starts, Fair::new);
                runs.push((ours, cubic, rate, rtt, *buffer, starts));
            }
        }
    }
    runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let even = runs
        .iter()
        .filter(|run| (0.25..=0.70).contains(&run.0))
        .count();
    assert!(even as f64 >= 0.85 * runs.len() as f64, "{runs:#.2?}");
    for run in &runs {
        assert!(run.0 > 0.1 && run.1 > 0.2, "{run:.2?}");
    }
}

#[test]
fn when_the_other_has_gone_the_queue_goes_and_the_link_is_filled() {
    let path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    let mut world = World::single(path).and_cubic(0.0);
    world.cubics[0].stop = 60.0;
    let world = world.run(130.0);
    assert!(
        world.flows[0].decided(Why::BufferFiller) || world.flows[0].decided(Why::OverflowByOthers)
    );
    let share = world.goodput(0, 100.0, 130.0) / 100e6;
    assert!(share > 0.97, "{share}");
    let queue = world.wait(100.0, 130.0, 0.95);
    assert!(queue < 0.008, "{queue} s");
}

#[test]
fn a_flow_that_yields_leaves_the_link_to_others_and_fills_it_alone() {
    for (rate, rtt, buffer) in [(100e6, 0.1, 1.0), (100e6, 0.02, 2.0), (300e6, 0.02, 1.0)] {
        let path = Path::new(rate, rtt, buffer, 0.0, 1);
        let (ours, _) = shares(&path, (0.0, 5.0), Fair::yielding);
        assert!(ours < 0.1, "{rate} {rtt} {buffer}: {ours:.2}");
        let spec = FlowSpec {
            make: Fair::yielding,
            ..FlowSpec::default()
        };
        let alone = World::new(path, vec![spec]).run(30.0);
        let share = alone.goodput(0, 10.0, 30.0) / rate;
        assert!(share > 0.97, "{rate} {rtt} {buffer}, alone: {share:.3}");
    }
}

#[test]
fn alone_with_rare_losses_in_a_shallow_buffer_it_does_not_compete() {
    for (rate, rtt, buffer, until) in [
        (100e6, 0.05, 0.05, 40.0),
        (100e6, 0.05, 0.1, 40.0),
        (100e6, 0.02, 0.25, 40.0),
        (300e6, 0.02, 0.15, 40.0),
        (1e9, 0.05, 0.03, 15.0),
    ] {
        for loss in [1e-4, 1e-3] {
            for seed in 1..=2 {
                let path = Path::new(rate, rtt, buffer, loss, seed);
                let world = World::single(path).run(until);
                let share = world.goodput(0, 5.0, until) / (rate * (1.0 - loss));
                let flow = &world.flows[0];
                let competed = flow.trace.iter().any(|line| line.mode == Mode::Compete);
                assert!(
                    share > 0.97 && !competed,
                    "{rate} {rtt} {buffer} {loss}, seed {seed}: {share:.3}, competed: {competed}"
                );
            }
        }
    }
}
