//! Queues that mark instead of dropping (ECN).

use haul_flow::Why;

use crate::{
    bottleneck::{Path, World},
    flow::FlowSpec,
};

/// A queue that marks whatever waited longer than this, seconds.
fn marking(rate: f64, rtt: f64, above: f64, seed: u64) -> Path {
    let mut path = Path::new(rate, rtt, 1.0, 0.0, seed);
    path.marks_above = above;
    path
}

#[test]
fn marks_keep_the_queue_shorter_than_the_target() {
    for (rate, rtt, above) in [
        (10e6, 0.050, 0.005),
        (100e6, 0.050, 0.001),
        (100e6, 0.050, 0.002),
        (100e6, 0.010, 0.002),
    ] {
        let world = World::single(marking(rate, rtt, above, 1)).run(60.0);
        let share = world.goodput(0, 5.0, 60.0) / rate;
        let queue = world.wait(5.0, 60.0, 0.95);
        let receiver = &world.flows[0].receiver;
        let marked = receiver.marked as f64 / receiver.received as f64;
        assert!(
            share > 0.90 && queue < 1.8 * above && marked < 0.2,
            "{rate} {rtt} {above}: {share:.3}, {queue:.4} s, marked {marked:.4}"
        );
    }
}

#[test]
fn flows_that_share_a_marking_queue_become_about_equal() {
    let late = FlowSpec {
        start: 10.0,
        ..FlowSpec::default()
    };
    let path = marking(100e6, 0.050, 0.002, 1);
    let world = World::new(path, vec![FlowSpec::default(), late]).run(90.0);
    let rates = [0, 1].map(|flow| world.goodput(flow, 50.0, 90.0) / 100e6);
    assert!(
        rates.iter().all(|rate| *rate > 0.33) && rates[0] + rates[1] > 0.88,
        "{rates:?}"
    );
}

#[test]
fn a_mark_ends_start_up() {
    let world = World::single(marking(100e6, 0.050, 0.001, 1)).run(2.0);
    let flow = &world.flows[0];
    assert!(flow.decided(Why::StartupMarks), "{:?}", flow.trace.first());
}
