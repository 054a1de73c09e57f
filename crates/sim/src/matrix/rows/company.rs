//! E: haul beside haul. F: haul beside CUBIC and BBR. K: those among themselves.

use std::time::Duration;

use haul_flow::Policy;

use super::{MEGA, case, claim, ms};
use crate::matrix::{
    Bound, Case, Claim,
    readings::Readings,
    tcp::Kind,
    world::{Setup, Who, haul, simulate},
};

const RATE: f64 = 100.0 * MEGA;
const CUBIC: Who = Who::Tcp(Kind::Cubic);
const BBR: Who = Who::Tcp(Kind::Bbr);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = kin();
    cases.extend(weights());
    cases.extend(cubic());
    cases.extend(bbr());
    cases.extend(low());
    cases.extend(controls());
    cases
}

fn kin() -> Vec<Case> {
    let rtt = ms(50);
    let mut cases = Vec::new();
    for (flows, least) in [(2, 0.99), (4, 0.97), (8, 0.95)] {
        let scenario = format!("{flows} fair flows, 5 s apart");
        let claims = vec![claim("E1", "Jain after 30 s", Bound::Least(least, least))];
        cases.push(case(scenario, flows < 8, claims, move |seed| {
            let begin = f64::from(flows - 1) * 5.0 + 30.0;
            let mut setup = Setup::path(RATE, rtt, 1.0, 0.0);
            for n in 0..flows {
                setup = setup.with(haul(Policy::Fair), f64::from(n) * 5.0, rtt);
            }
            vec![simulate(&setup.lasting(begin + 30.0), seed).jain(begin, begin + 30.0)]
        }));
    }
    let claims = vec![claim("E2", "Jain", Bound::Least(0.97, 0.97))];
    cases.push(case("20 ms beside 100 ms".into(), true, claims, |seed| {
        let setup = Setup::path(RATE, ms(50), 1.0, 0.0)
            .with(haul(Policy::Fair), 0.0, ms(20))
            .with(haul(Policy::Fair), 5.0, ms(100))
            .lasting(65.0);
        vec![simulate(&setup, seed).jain(35.0, 65.0)]
    }));
    let claims = vec![claim(
        "E3",
        "round trips to 45 : 55",
        Bound::Most(200.0, 200.0),
    )];
    cases.push(case(
        "newcomer after 20 s".into(),
        true,
        claims,
        move |seed| {
            let setup = Setup::path(RATE, rtt, 1.0, 0.0)
                .with(haul(Policy::Fair), 0.0, rtt)
                .with(haul(Policy::Fair), 20.0, rtt)
                .lasting(50.0);
            let readings = simulate(&setup, seed);
            let is_even = |at: &f64| (0.45..=0.55).contains(&readings.share(*at, at + 1.0));
            let even = (0..290).map(|n| 20.0 + f64::from(n) / 10.0).find(is_even);
            vec![even.map_or(f64::INFINITY, |at| (at - 20.0) / rtt.as_secs_f64())]
        },
    ));
    cases
}

fn weights() -> Vec<Case> {
    let both = |bounds| Bound::Within(bounds, bounds);
    let of = [
        (Policy::High, both((1.8, 2.2))),
        (Policy::Low, Bound::Most(0.25, 0.25)),
    ];
    let cases = of.map(|(policy, bound)| {
        let claims = vec![claim("E4", "ratio to fair", bound)];
        case(format!("{policy} beside fair"), true, claims, move |seed| {
            let setup = Setup::path(RATE, ms(50), 1.0, 0.0)
                .with(haul(policy), 0.0, ms(50))
                .with(haul(Policy::Fair), 5.0, ms(50))
                .lasting(90.0);
            let readings = simulate(&setup, seed);
            let [ours, theirs] = [0, 1].map(|n| readings.flows[n].bps(45.0, 90.0));
            vec![ours / theirs]
        })
    });
    cases.into()
}

/// The window in which shares are judged, and the end.
const FROM: f64 = 60.0;
const TO: f64 = 120.0;

/// Two flows, the first starting at `first` seconds, the other at `second`.
fn pair(
    who: [Who; 2],
    rtt: Duration,
    queue_bdp: f64,
    (first, second): (f64, f64),
    seed: u64,
) -> Readings {
    let setup = Setup::path(RATE, rtt, queue_bdp, 0.0)
        .with(who[0], first, rtt)
        .with(who[1], second, rtt)
        .lasting(TO);
    simulate(&setup, seed)
}

fn solo(who: Who, rtt: Duration, queue_bdp: f64, loss: f64, seed: u64) -> f64 {
    let setup = Setup::path(RATE, rtt, queue_bdp, loss)
        .with(who, 0.0, rtt)
        .lasting(TO);
    simulate(&setup, seed).flows[0].bps(FROM, TO) / RATE
}

fn cubic() -> Vec<Case> {
    let mut cases = Vec::new();
    let orders = [
        ("together", (0.0, 0.0)),
        ("CUBIC first", (20.0, 0.0)),
        ("haul first", (0.0, 20.0)),
    ];
    for rtt in [20, 50, 100].map(ms) {
        for queue in [0.1, 0.25, 0.5, 1.0, 2.0, 4.0] {
            for (order, starts) in orders {
                let is_together = order == "together";
                let name = format!(
                    "fair beside CUBIC, {} ms, {queue} BDP, {order}",
                    rtt.as_millis()
                );
                let is_quick = is_together && queue == 1.0 && rtt == ms(100);
                cases.push(case(
                    name,
                    is_quick,
                    cubic_claims(is_together),
                    move |seed| {
                        let fair = haul(Policy::Fair);
                        let readings = pair([fair, CUBIC], rtt, queue, starts, seed);
                        let theirs = readings.flows[1].bps(FROM, TO) / RATE;
                        let mut figures = vec![
                            readings.share(FROM, TO),
                            readings.jain(FROM, TO),
                            theirs / 0.5,
                        ];
                        if is_together {
                            let alone = solo(CUBIC, rtt, queue, 0.0, seed);
                            let kin = pair([CUBIC, CUBIC], rtt, queue, starts, seed);
                            let beside_kin = kin.flows[1].bps(FROM, TO) / RATE;
                            // A CUBIC flow that does no harm would divide by nothing.
                            figures
                                .push((alone - theirs).max(0.0) / (alone - beside_kin).max(0.05));
                        }
                        figures
                    },
                ));
            }
        }
    }
    cases
}

fn cubic_claims(is_together: bool) -> Vec<Claim> {
    let share = Bound::Within((0.3, 0.6), (0.2, 0.7));
    let mut claims = vec![
        claim("F1", "share", share),
        claim("F1", "Jain", Bound::Least(0.95, 0.0)),
        claim(
            "F5",
            "CUBIC's part of its fair share",
            Bound::Least(0.1, 0.1),
        ),
    ];
    if is_together {
        claims.push(claim("F2", "harm ÷ harm by CUBIC", Bound::Most(1.25, 1.25)));
    }
    claims
}

fn bbr() -> Vec<Case> {
    let cases = [0.1, 0.5, 1.0, 2.0, 4.0].map(|queue| {
        let claims = vec![claim(
            "F3",
            "share ÷ CUBIC's in that seat",
            Bound::Least(0.8, 0.8),
        )];
        case(
            format!("fair beside BBR, 100 ms, {queue} BDP"),
            false,
            claims,
            move |seed| {
                let beside =
                    |who| pair([who, BBR], ms(100), queue, (0.0, 10.0), seed).share(FROM, TO);
                vec![beside(haul(Policy::Fair)) / beside(CUBIC)]
            },
        )
    });
    cases.into()
}

fn low() -> Vec<Case> {
    let cases = [0.5, 1.0, 2.0].map(|queue| {
        let claims = vec![claim("F4", "share", Bound::Most(0.08, 0.08))];
        case(
            format!("low beside CUBIC, 50 ms, {queue} BDP"),
            queue == 1.0,
            claims,
            move |seed| {
                let readings = pair([haul(Policy::Low), CUBIC], ms(50), queue, (0.0, 5.0), seed);
                vec![readings.share(FROM, TO)]
            },
        )
    });
    cases.into()
}

/// Models are no use unless they behave as what they model.
fn controls() -> Vec<Case> {
    let both = |low: f64, high: f64| Bound::Within((low, high), (low, high));
    let mut cases = Vec::new();
    for queue in [0.5, 1.0, 2.0] {
        let claims = vec![claim("K1", "share", both(0.35, 0.65))];
        cases.push(case(
            format!("CUBIC beside CUBIC, {queue} BDP"),
            true,
            claims,
            move |seed| {
                vec![pair([CUBIC, CUBIC], ms(100), queue, (0.0, 5.0), seed).share(FROM, TO)]
            },
        ));
    }
    let alone = [
        ("K2", "CUBIC alone, p 1 %", CUBIC, 0.01, both(0.01, 0.022)),
        (
            "K3",
            "CUBIC alone, p 0 %",
            CUBIC,
            0.0,
            Bound::Least(0.95, 0.95),
        ),
        ("K4", "BBR alone, p 5 %", BBR, 0.05, Bound::Least(0.9, 0.9)),
    ];
    for (row, scenario, who, loss, bound) in alone {
        let claims = vec![claim(row, "share of C·(1−p)", bound)];
        cases.push(case(scenario.into(), true, claims, move |seed| {
            vec![solo(who, ms(100), 1.0, loss, seed) / (1.0 - loss)]
        }));
    }
    let shares = [
        (0.1, 0.97),
        (0.5, 0.9),
        (1.0, 0.86),
        (2.0, 0.44),
        (4.0, 0.45),
    ];
    cases.extend(shares.map(|(queue, share)| {
        let claims = vec![claim("K5", "share", both(share - 0.15, share + 0.15))];
        case(
            format!("BBR beside CUBIC, {queue} BDP"),
            true,
            claims,
            move |seed| vec![pair([BBR, CUBIC], ms(100), queue, (0.0, 10.0), seed).share(FROM, TO)],
        )
    }));
    cases
}
