//! A: the path to oneself. B: shallow buffers, policers, bloat. D: jitter, disorder, lost reports.
//! X: very fast paths.

use std::time::Duration;

use haul_flow::Policy;

use super::{MEGA, case, claim, ms, path_name, settled_s, target_ms};
use crate::{
    link::Policer,
    matrix::{
        Bound, Case, Claim,
        world::{Setup, Who, haul, simulate},
    },
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(buffers());
    cases.extend(policers());
    cases.extend(noise());
    cases.extend(fast());
    cases
}

/// One fair flow on a path, its share of C·(1−p) and its queue against 1.5·T + 0.5 ms.
fn path(row: &'static str, bound: Bound, rate_bps: f64, rtt: Duration, loss: f64) -> Case {
    let scenario = format!("{}, p {} %, ½ BDP", path_name(rate_bps, rtt), loss * 100.0);
    let claims = vec![
        claim(row, "share of C·(1−p)", bound),
        claim("A5", "q95 ÷ (1.5·T + 0.5 ms)", Bound::Most(1.0, 1.0)),
    ];
    let is_quick = rate_bps <= 100.0 * MEGA && rtt == ms(100);
    case(scenario, is_quick, claims, move |seed| {
        let from = settled_s(rtt);
        let to = from + if rate_bps >= 1e9 { 8.0 } else { 20.0 };
        let setup = Setup::path(rate_bps, rtt, 0.5, loss)
            .with(haul(Policy::Fair), 0.0, rtt)
            .lasting(to);
        let readings = simulate(&setup, seed);
        let share = readings.flows[0].bps(from, to) / (rate_bps * (1.0 - loss));
        let queue = readings.queue_p95_ms(from, to);
        vec![share, queue / (1.5 * target_ms(rate_bps, rtt) + 0.5)]
    })
}

fn paths() -> Vec<Case> {
    let mut cases = Vec::new();
    let rows = [
        ("A1", Bound::Least(0.985, 0.97), [0.0, 0.01]),
        ("A2", Bound::Least(0.98, 0.96), [0.05, 0.1]),
        ("A3", Bound::Least(0.97, 0.94), [0.2, 0.3]),
    ];
    for (row, bound, losses) in rows {
        for rate in [10.0, 100.0, 1000.0] {
            for rtt in [10, 50, 100, 200].map(ms) {
                cases.extend(losses.map(|loss| path(row, bound, rate * MEGA, rtt, loss)));
            }
        }
    }
    let bound = Bound::Least(0.985, 0.985);
    cases.push(path("A4", bound, 1e10, ms(50), 0.001));
    cases.push(path("A4", bound, 2.0 * MEGA, ms(600), 0.05));
    cases
}

fn buffers() -> Vec<Case> {
    let (rate, rtt) = (100.0 * MEGA, ms(100));
    let run = move |queue_bdp: f64, loss: f64, seed: u64| {
        let setup = Setup::path(rate, rtt, queue_bdp, loss)
            .with(haul(Policy::Fair), 0.0, rtt)
            .lasting(40.0);
        simulate(&setup, seed)
    };
    let mut cases = Vec::new();
    for queue in [0.01, 0.02, 0.05, 0.1] {
        for loss in [0.0, 0.05] {
            let name = path_name(rate, rtt);
            let scenario = format!("{name}, p {} %, {queue} BDP", loss * 100.0);
            let claims = vec![claim("B1", "share of C·(1−p)", Bound::Least(0.97, 0.92))];
            cases.push(case(scenario, queue >= 0.05, claims, move |seed| {
                let flow = &run(queue, loss, seed).flows[0];
                vec![flow.bps(10.0, 40.0) / (rate * (1.0 - loss))]
            }));
        }
    }
    let claims = vec![claim("B3", "q95 ÷ T", Bound::Most(2.0, 2.0))];
    let scenario = format!("{}, 20 BDP", path_name(rate, rtt));
    cases.push(case(scenario, true, claims, move |seed| {
        vec![run(20.0, 0.0, seed).queue_p95_ms(10.0, 40.0) / target_ms(rate, rtt)]
    }));
    cases
}

fn policers() -> Vec<Case> {
    let (rate, rtt, policed) = (1e9, ms(50), 50.0 * MEGA);
    let mut cases = Vec::new();
    for loss in [0.0, 0.05] {
        for bucket_bytes in [30_000, 150_000, 600_000] {
            let kilo = bucket_bytes / 1000;
            let scenario = format!("policer 50 Mbit/s, {kilo} kB, p {} %", loss * 100.0);
            let mut claims = vec![claim("B2", "share of C·(1−p)", Bound::Least(0.96, 0.96))];
            if loss == 0.0 {
                claims.push(claim("B2", "own loss", Bound::Most(0.02, 0.02)));
            }
            cases.push(case(scenario, true, claims, move |seed| {
                let mut setup = Setup::path(rate, rtt, 1.0, loss);
                setup.link.policer = Some(Policer {
                    rate_bps: policed as u64,
                    bucket_bytes,
                });
                let setup = setup.with(haul(Policy::Fair), 0.0, rtt).lasting(60.0);
                let flow = &simulate(&setup, seed).flows[0];
                let share = flow.bps(10.0, 60.0) / (policed * (1.0 - loss));
                vec![share, flow.own_loss(loss, 10.0, 60.0)]
            }));
        }
    }
    cases
}

/// 100 Mbit/s × 100 ms with ½ BDP and something that disturbs.
fn noisy(
    scenario: String,
    claims: Vec<Claim>,
    loss: f64,
    disturb: impl Fn(&mut Setup) + Send + Sync + 'static,
) -> Case {
    let (rate, rtt) = (100.0 * MEGA, ms(100));
    case(scenario, true, claims, move |seed| {
        let mut setup = Setup::path(rate, rtt, 0.5, loss);
        disturb(&mut setup);
        let setup = setup.with(haul(Policy::Fair), 0.0, rtt).lasting(40.0);
        let flow = &simulate(&setup, seed).flows[0];
        let share = flow.bps(10.0, 40.0) / (rate * (1.0 - loss));
        vec![share, flow.duplicates as f64 / flow.sent.max(1) as f64]
    })
}

fn noise() -> Vec<Case> {
    let mut cases = Vec::new();
    for (millis, row, bound) in [
        (1, "D1", Bound::Least(0.97, 0.95)),
        (5, "D1", Bound::Least(0.97, 0.95)),
        (20, "D1", Bound::Least(0.97, 0.95)),
        (50, "D2", Bound::Least(0.5, 0.5)),
    ] {
        for loss in [0.0, 0.05] {
            let scenario = format!("jitter {millis} ms, p {} %", loss * 100.0);
            let claims = vec![claim(row, "share of C·(1−p)", bound)];
            cases.push(noisy(scenario, claims, loss, move |setup| {
                setup.link.jitter = ms(millis);
            }));
        }
    }
    let claims = || {
        vec![
            claim("D3", "share of C·(1−p)", Bound::Least(0.97, 0.97)),
            claim("D3", "arrived for nothing", Bound::Most(0.005, 0.005)),
        ]
    };
    cases.push(noisy(
        "1 % held up to 10 ms".into(),
        claims(),
        0.0,
        |setup| {
            setup.link.reorder = 0.01;
            setup.link.reorder_packets = 83;
        },
    ));
    for share in [0.1, 0.5, 0.9] {
        let scenario = format!("{} % of the reports lost", share * 100.0);
        cases.push(noisy(scenario, claims(), 0.0, move |setup| {
            setup.report_loss = share;
        }));
    }
    cases
}

fn fast() -> Vec<Case> {
    let long = [
        ("X10G", 1e10, ms(100), 0.01, 1472),
        ("X100G", 1e11, ms(200), 0.001, 8952),
    ];
    let cases = long.map(|(row, rate, rtt, loss, datagram_len)| {
        let scenario = format!("{}, p {} %, ½ BDP", path_name(rate, rtt), loss * 100.0);
        let claims = vec![claim(row, "share of C·(1−p)", Bound::Least(0.95, 0.9))];
        case(scenario, false, claims, move |seed| {
            let who = Who::Haul {
                policy: Policy::Fair,
                target_bps: None,
                datagram_len,
                blocks: None,
            };
            let setup = Setup::path(rate, rtt, 0.5, loss)
                .with(who, 0.0, rtt)
                .lasting(10.0);
            let flow = &simulate(&setup, seed).flows[0];
            vec![flow.bps(6.0, 10.0) / (rate * (1.0 - loss))]
        })
    });
    cases.into()
}
