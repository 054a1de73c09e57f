//! The loss floor: proven by experiment, never by one's own overload.

use crate::bottleneck::{Change, Path, World};

#[test]
fn floor_does_not_creep_in_shallow_buffers() {
    for milliseconds in [0.3, 1.0, 2.0] {
        for seed in 1..=2 {
            let mut path = Path::new(100e6, 0.050, 1.0, 0.0, seed);
            path.buffer = 100e6 / 8.0 * milliseconds * 1e-3;
            let world = World::single(path).run(60.0);
            let goodput = world.goodput(0, 5.0, 60.0);
            let lost = 1.0 - goodput / world.sent(0, 5.0, 60.0);
            let floor = world.flows[0].loss_floor();
            assert!(
                goodput > 0.96e8 && lost < 0.01 && floor < 0.005,
                "{milliseconds} ms, seed {seed}: {goodput:.3e}, lost {lost:.4}, floor {floor:.4}"
            );
        }
    }
}

#[test]
fn floor_does_not_creep_behind_a_policer() {
    for loss in [0.0, 0.05] {
        for bucket in [30e3, 150e3, 600e3] {
            for seed in 1..=2 {
                let mut path = Path::new(1e9, 0.050, 1.0, loss, seed);
                path.policer = Some((50e6, bucket));
                let world = World::single(path).run(60.0);
                let goodput = world.goodput(0, 5.0, 60.0);
                let share = goodput / (50e6 * (1.0 - loss));
                let excess = 1.0 - goodput / world.sent(0, 5.0, 60.0) - loss;
                let floor = world.flows[0].loss_floor();
                assert!(
                    share > 0.96 && excess < 0.03 && floor < loss + 0.02,
                    "bucket {bucket}, loss {loss}, seed {seed}: share {share:.3}, \
                     excess {excess:.4}, floor {floor:.4}"
                );
            }
        }
    }
}

#[test]
fn token_burst_during_start_up_does_not_set_the_floor_for_ever() {
    let mut path = Path::new(1e9, 0.050, 1.0, 0.0, 3);
    path.policer = Some((50e6, 2e6));
    let world = World::single(path).run(40.0);
    let floor = world.flows[0].loss_floor();
    let excess = 1.0 - world.goodput(0, 20.0, 40.0) / world.sent(0, 20.0, 40.0);
    assert!(
        floor < 0.01 && excess < 0.03,
        "floor {floor:.3}, excess {excess:.3}"
    );
}

#[test]
fn slightly_low_floor_does_not_shrink_the_rate() {
    // The loss rises by so little that no experiment is called for.
    for seed in 1..=2 {
        let mut path = Path::new(100e6, 0.050, 1.0, 0.100, seed);
        path.changes = vec![(10.0, Change::Loss(0.108)), (20.0, Change::Loss(0.116))];
        let world = World::single(path).run(40.0);
        let share = world.goodput(0, 21.0, 40.0) / (100e6 * (1.0 - 0.116));
        assert!(share > 0.97, "seed {seed}: {share:.3}");
    }
}

#[test]
fn heavy_overload_is_not_taken_for_random_loss() {
    for seed in 1..=2 {
        let mut path = Path::new(100e6, 0.050, 0.05, 0.0, seed);
        path.changes = vec![(10.0, Change::Rate(4e6))];
        path.buffer = 6_000.0;
        let world = World::single(path).run(25.0);
        let lost = 1.0 - world.goodput(0, 13.0, 25.0) / world.sent(0, 13.0, 25.0);
        let floor = world.flows[0].loss_floor();
        assert!(
            lost < 0.10 && floor < 0.05,
            "seed {seed}: lost {lost:.3}, floor {floor:.3}"
        );
        assert!(world.goodput(0, 13.0, 25.0) > 0.9 * 4e6);
    }
}

#[test]
fn loss_that_comes_is_learned_and_loss_that_goes_is_forgotten() {
    for buffer in [0.1, 1.0] {
        let mut path = Path::new(100e6, 0.060, buffer, 0.0, 1);
        path.changes = vec![(10.0, Change::Loss(0.10)), (25.0, Change::Loss(0.0))];
        let world = World::single(path).run(40.0);
        let least = (0..48)
            .map(|step| 10.1 + f64::from(step) * 0.1)
            .map(|at| world.goodput(0, at, at + 0.2) / 90e6)
            .fold(f64::MAX, f64::min);
        let lossy = world.goodput(0, 11.2, 25.0) / 90e6;
        let clean = world.goodput(0, 26.0, 40.0) / 100e6;
        let floor = world.flows[0].loss_floor();
        assert!(least > 0.70, "buffer {buffer}: fell to {least:.2}");
        assert!(
            lossy > 0.97 && clean > 0.97 && floor < 0.01,
            "buffer {buffer}: {lossy:.3}, {clean:.3}, floor {floor:.3}"
        );
    }
}

#[test]
fn one_burst_of_loss_does_not_cut_the_rate() {
    for seed in 1..=3 {
        let mut path = Path::new(100e6, 0.050, 1.0, 0.0, seed);
        path.changes = vec![(10.0, Change::Loss(0.5)), (10.03, Change::Loss(0.0))];
        let world = World::single(path).run(14.0);
        let share = world.goodput(0, 10.2, 12.0) / 100e6;
        assert!(share > 0.90, "seed {seed}: {share:.3}");
    }
}

#[test]
fn loss_above_the_cap_damps_and_then_breaks_the_circuit() {
    let mut path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    path.changes = vec![(5.0, Change::Loss(0.70))];
    let world = World::single(path).run(8.0);
    assert!(
        world.flows[0].failure().is_none(),
        "not before five seconds"
    );
    assert!(
        world.sent(0, 7.5, 8.0) < 20e6,
        "{:.3e}",
        world.sent(0, 7.5, 8.0)
    );
    let mut path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    path.changes = vec![(5.0, Change::Loss(0.70))];
    let world = World::single(path).run(14.0);
    assert!(world.flows[0].failure().is_some());
}
