//! H: random paths, on which nothing may go badly wrong.

use std::time::Duration;

use haul_flow::Policy;

use super::{case, claim, ms};
use crate::{
    matrix::{
        Bound, Case,
        readings::Readings,
        world::{Setup, haul, simulate},
    },
    rng::Rng,
};

/// Paths of one seed: five seeds make a thousand.
const PATHS: u64 = 200;
const LENGTH: f64 = 30.0;

pub(super) fn cases() -> Vec<Case> {
    let claims = [
        "of 200 paths: hung or gave up",
        "of 200 paths: floor 2 points too high",
        "of 200 paths: own loss > 10 % for 2 s",
    ];
    let claims = claims.map(|metric| claim("H", metric, Bound::Most(0.0, 0.0)));
    vec![case("random paths".into(), false, claims.into(), |seed| {
        let mut counts = vec![0.0; 3];
        for path in 0..PATHS {
            let (setup, loss, settled) = random_path(seed * PATHS + path);
            let readings = simulate(&setup, seed * PATHS + path);
            for (count, is_bad) in counts.iter_mut().zip(complaints(&readings, loss, settled)) {
                *count += f64::from(u8::from(is_bad));
            }
        }
        counts
    })]
}

/// A path, its random loss, and when start-up is over on it.
fn random_path(seed: u64) -> (Setup, f64, f64) {
    let mut rng = Rng::new(seed).fork(77);
    let rate = rng.log_within(1_000_000..=200_000_000) as f64;
    let rtt = ms(rng.log_within(5..=300));
    let queue = rng.log_within(5..=400) as f64 / 100.0;
    let loss = match rng.chance(0.5) {
        true => 0.0,
        false => rng.unit() * 0.2,
    };
    let mut setup = Setup::path(rate, rtt, queue, loss);
    if rng.chance(0.3) {
        setup.link.jitter = Duration::from_secs_f64(rtt.as_secs_f64() * 0.2 * rng.unit());
    }
    let settled = (40.0 * rtt.as_secs_f64()).max(8.0);
    let setup = setup.with(haul(Policy::Fair), 0.0, rtt).lasting(LENGTH);
    (setup, loss, settled)
}

fn complaints(readings: &Readings, loss: f64, settled: f64) -> [bool; 3] {
    let flow = &readings.flows[0];
    let is_hung = flow.failed || flow.bps(LENGTH - 2.0, LENGTH) == 0.0;
    let is_crept = loss == 0.0 && flow.loss_floor > 0.02;
    let mut windows = (0..)
        .map(|n| settled + f64::from(n))
        .take_while(|at| at + 2.0 <= LENGTH);
    let is_wasteful = windows.any(|at| flow.own_loss(loss, at, at + 2.0) > 0.1);
    [is_hung, is_crept, is_wasteful]
}
