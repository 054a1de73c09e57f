//! A path that changes under one flow.

use haul_flow::Why;

use crate::bottleneck::{Change, Path, World};

/// Seconds after `at` until the flow gets `share` of `rate` over 0.2 s.
fn reaches(world: &World, at: f64, rate: f64, share: f64) -> f64 {
    (0..200)
        .map(|step| f64::from(step) * 0.1)
        .find(|after| world.goodput(0, at + after, at + after + 0.2) > share * rate)
        .unwrap_or(f64::MAX)
}

#[test]
fn rate_step_down_drains_within_two_seconds() {
    for buffer in [0.05, 1.0] {
        for seed in 1..=3 {
            let mut path = Path::new(100e6, 0.060, buffer, 0.0, seed);
            path.changes = vec![(10.0, Change::Rate(30e6))];
            let world = World::single(path).run(25.0);
            let target = 0.004 * (100.0_f64 / 30.0).sqrt();
            let queue = world.wait(12.0, 25.0, 0.95);
            assert!(
                queue < 2.0 * target,
                "buffer {buffer}, seed {seed}: {queue}"
            );
            let share = world.goodput(0, 11.0, 25.0) / 30e6;
            assert!(share > 0.97, "buffer {buffer}, seed {seed}: {share:.3}");
            assert!(
                !world.flows[0].decided(Why::BufferFiller),
                "the path slowed, nobody came"
            );
        }
    }
}

#[test]
fn rate_step_up_is_found() {
    // Where a ceiling was found without any queue, the rest below it comes first.
    for (buffer, most) in [(0.05, 8.0), (1.0, 20.0 * 0.060)] {
        for seed in 1..=3 {
            let mut path = Path::new(30e6, 0.060, buffer, 0.0, seed);
            path.changes = vec![(20.0, Change::Rate(100e6))];
            let world = World::single(path).run(32.0);
            let after = reaches(&world, 20.0, 100e6, 0.95);
            assert!(after <= most, "buffer {buffer}, seed {seed}: {after} s");
        }
    }
}

#[test]
fn route_change_is_not_taken_for_a_queue() {
    for longer in [0.020, 0.100] {
        for seed in 1..=2 {
            let mut path = Path::new(100e6, 0.060, 1.0, 0.0, seed);
            path.changes = vec![(10.0, Change::Delay(longer)), (20.0, Change::Delay(0.0))];
            let world = World::single(path).run(30.0);
            let share = world.goodput(0, 13.0, 20.0) / 100e6;
            let back = world.goodput(0, 21.0, 30.0) / 100e6;
            assert!(
                share > 0.97 && back > 0.97,
                "+{longer} s, seed {seed}: {share:.3}, back {back:.3}"
            );
            let queue = world.wait(24.0, 30.0, 0.95);
            assert!(queue < 0.007, "+{longer} s, seed {seed}: {queue}");
            assert!(!world.flows[0].decided(Why::BufferFiller));
        }
    }
}

#[test]
fn outage_of_a_second_is_survived() {
    for seed in 1..=3 {
        let mut path = Path::new(100e6, 0.060, 1.0, 0.0, seed);
        path.changes = vec![(10.0, Change::Loss(1.0)), (11.0, Change::Loss(0.0))];
        let world = World::single(path).run(16.0);
        let after = reaches(&world, 11.0, 100e6, 0.95);
        assert!(after <= 10.0 * 0.060, "seed {seed}: {after} s");
        assert!(
            world.sent(0, 10.7, 11.0) < 10e6,
            "sends on into silence: {:.3e}",
            world.sent(0, 10.7, 11.0)
        );
    }
}

/// Seconds after the move until the flow gets 95 % of what the new path carries.
fn after_move(changes: Vec<Change>, rate: f64, seed: u64) -> (World, f64) {
    let mut path = Path::new(100e6, 0.060, 1.0, 0.0, seed);
    path.changes = changes.into_iter().map(|change| (10.0, change)).collect();
    let world = World::single(path).run(25.0);
    let after = reaches(&world, 10.0, rate, 0.95);
    (world, after)
}

#[test]
fn another_path_like_the_old_one_is_filled_at_once() {
    for seed in 1..=3 {
        let (world, after) = after_move(vec![Change::Moved], 100e6, seed);
        assert!(after <= 0.6, "seed {seed}: {after} s");
        assert!(world.flows[0].decided(Why::AnotherPath));
    }
}

#[test]
fn another_path_is_learned_afresh() {
    for (rate, longer) in [(10e6, 0.0), (10e6, 0.200), (300e6, 0.0), (300e6, 0.200)] {
        for seed in 1..=3 {
            let changes = vec![Change::Rate(rate), Change::Delay(longer), Change::Moved];
            let (world, after) = after_move(changes, rate, seed);
            let round_trip = 0.060 + longer;
            assert!(
                after <= 20.0 * round_trip,
                "{rate} +{longer}, seed {seed}: {after} s"
            );
            let queue = world.wait(15.0, 25.0, 0.95);
            let target = 0.004 * (100e6 / rate).sqrt();
            assert!(
                queue < 1.5 * target + 0.004 + 0.05 * round_trip,
                "{rate} +{longer}, seed {seed}: {queue} s"
            );
        }
    }
}
