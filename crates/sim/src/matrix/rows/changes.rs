//! C: the path changes.

use std::time::Duration;

use haul_flow::{Policy, Time};

use super::{MEGA, case, claim, ms, target_ms};
use crate::matrix::{
    Bound, Case, Claim,
    readings::Readings,
    world::{Change, Setup, haul, simulate},
};

/// When the change comes.
const AT: f64 = 20.0;
const RTT: Duration = Duration::from_millis(60);

fn changing(
    scenario: &str,
    claims: Vec<Claim>,
    rate_bps: f64,
    changes: Vec<(f64, Change)>,
    score: impl Fn(&Readings) -> Vec<f64> + Send + Sync + 'static,
) -> Case {
    case(scenario.to_owned(), true, claims, move |seed| {
        let mut setup = Setup::path(rate_bps, RTT, 1.0, 0.0);
        let timed = changes.iter();
        setup.changes = timed
            .map(|(at, change)| (Duration::from_secs_f64(*at), *change))
            .collect();
        let setup = setup.with(haul(Policy::Fair), 0.0, RTT).lasting(50.0);
        score(&simulate(&setup, seed))
    })
}

/// Round trips until 95 % of `full_bps` were reached, measured over two of them.
fn t95_rtts(readings: &Readings, full_bps: f64, from: f64) -> f64 {
    let rtt = RTT.as_secs_f64();
    readings.t95_s(full_bps, from, 2.0 * rtt) / rtt
}

pub(super) fn cases() -> Vec<Case> {
    let (slow, fast) = (30.0 * MEGA, 100.0 * MEGA);
    let t95 = |row, most| claim(row, "t95 in round trips", Bound::Most(most, most));
    let least = |row, least| claim(row, "least share", Bound::Least(least, least));
    let extra = |millis| Change::Delay(ms(millis));
    let back = claim("C1", "s until queue < 2·T", Bound::Most(2.0, 2.0));
    let mut cases = vec![
        changing(
            "100 → 30 Mbit/s",
            vec![back],
            fast,
            vec![(AT, Change::Rate(slow))],
            move |readings| vec![readings.queue_back_s(AT, 2.0 * target_ms(slow, RTT))],
        ),
        changing(
            "30 → 100 Mbit/s",
            vec![t95("C2", 20.0)],
            slow,
            vec![(AT, Change::Rate(fast))],
            move |readings| vec![t95_rtts(readings, fast, AT)],
        ),
        changing(
            "loss 0 → 10 %",
            vec![least("C3", 0.75), t95("C3", 20.0)],
            fast,
            vec![(AT, Change::Loss(0.1))],
            move |readings| {
                // A round trip after the change, when it shows, to ten seconds later.
                let least = readings.least(0.9 * fast, AT + 0.1, AT + 10.0, 0.2);
                vec![least, t95_rtts(readings, 0.9 * fast, AT + 0.1)]
            },
        ),
        changing(
            "one way 20 ms longer, and back",
            vec![least("C4", 0.6), t95("C4", 30.0)],
            fast,
            vec![(AT, extra(20)), (AT + 15.0, extra(0))],
            move |readings| {
                let [first, second] = [AT, AT + 15.0].map(|at| {
                    let least = readings.least(fast, at, at + 10.0, 0.2);
                    (least, t95_rtts(readings, fast, at + 0.1))
                });
                vec![first.0.min(second.0), first.1.max(second.1)]
            },
        ),
    ];
    let scenario = "one way 0 to 20 ms longer every 15 s, as LEO satellites hand over";
    let steps = [15.0, 30.0, 45.0].into_iter().zip([20, 5, 15]);
    cases.push(changing(
        scenario,
        vec![t95("C5", 10.0)],
        fast,
        steps.map(|(at, millis)| (at, extra(millis))).collect(),
        move |readings| {
            let all = [15.0, 30.0, 45.0].map(|at| t95_rtts(readings, fast, at + 0.1));
            vec![all.into_iter().fold(0.0, f64::max)]
        },
    ));
    cases.push(outage(fast));
    cases
}

fn outage(rate_bps: f64) -> Case {
    let claims = vec![claim("C5", "t95 in round trips", Bound::Most(10.0, 10.0))];
    case("outage of 1 s".into(), true, claims, move |seed| {
        let mut setup = Setup::path(rate_bps, RTT, 1.0, 0.0);
        let dark = Time::ZERO + Duration::from_secs(20)..Time::ZERO + Duration::from_secs(21);
        setup.link.holes = vec![dark.clone()];
        setup.deaf = vec![dark];
        let setup = setup.with(haul(Policy::Fair), 0.0, RTT).lasting(30.0);
        vec![t95_rtts(&simulate(&setup, seed), rate_bps, AT + 1.0)]
    })
}
