//! Hosts that have something else to do: slow sources, full receivers, busy processors.

use haul_flow::Mode;

use crate::{
    bottleneck::{Path, World},
    flow::FlowSpec,
    host::Stalls,
};

fn with_source(source: Vec<(f64, f64)>) -> FlowSpec {
    FlowSpec {
        source,
        ..FlowSpec::default()
    }
}

/// A host that is away half of the time, a millisecond at a time.
const BUSY: Stalls = Stalls {
    every: 0.001,
    length: 0.001,
    long_every: 0.0,
};
/// Away a third of the time, and sometimes for 10 to 100 ms.
const STALLING: Stalls = Stalls {
    every: 0.001,
    length: 0.0005,
    long_every: 0.5,
};

#[test]
fn slow_source_does_not_lower_the_rate() {
    for seed in 1..=3 {
        let path = Path::new(100e6, 0.050, 1.0, 0.02, seed);
        let source = with_source(vec![(0.0, 1e12), (5.0, 30e6), (15.0, 1e12)]);
        let world = World::new(path, vec![source]).run(20.0);
        let flow = &world.flows[0];
        let least = flow.rates[600..1500]
            .iter()
            .copied()
            .fold(f64::MAX, f64::min);
        assert!(
            least > 90e6,
            "seed {seed}: fell to {least:.3e} while the source was slow"
        );
        let experiments = flow.trace.iter().filter(|decision| {
            let is_dip = matches!(
                decision.mode,
                Mode::DipLoss | Mode::DipQueue | Mode::DipAudit
            );
            is_dip && (5.5..15.0).contains(&(decision.at.0 as f64 / 1e9))
        });
        assert_eq!(
            experiments.count(),
            0,
            "seed {seed}: nothing can be learned from that"
        );
        let after = world.goodput(0, 15.2, 20.0) / 98e6;
        assert!(after > 0.95, "seed {seed}: {after:.3}");
    }
}

#[test]
fn full_receiver_does_not_lower_the_rate() {
    let spec = FlowSpec {
        credit: 100e6 / 8.0 * 0.050 * 0.5,
        ..FlowSpec::default()
    };
    let world = World::new(Path::new(100e6, 0.050, 1.0, 0.0, 1), vec![spec]).run(15.0);
    let goodput = world.goodput(0, 3.0, 15.0);
    assert!(
        goodput > 40e6,
        "half a window gives half the rate: {goodput:.3e}"
    );
    let least = world.flows[0].rates[300..]
        .iter()
        .copied()
        .fold(f64::MAX, f64::min);
    assert!(least > goodput, "{least:.3e}");
}

#[test]
fn short_path_follows_its_source() {
    let path = Path::new(1e9, 0.0005, 20.0, 0.0, 1);
    let source = vec![(0.0, 100e6), (4.0, 800e6), (8.0, 50e6), (12.0, 1e12)];
    let world = World::new(path, vec![with_source(source)]).run(16.0);
    for (from, to, expected) in [
        (1.0, 4.0, 100e6),
        (4.5, 8.0, 800e6),
        (8.5, 12.0, 50e6),
        (12.5, 16.0, 1e9),
    ] {
        let goodput = world.goodput(0, from, to);
        assert!(
            goodput > 0.97 * expected,
            "from {from} s: {goodput:.3e} of {expected:.0e}"
        );
    }
}

/// Runs a short path with such hosts at both ends: (goodput, rates after a second).
fn on_short_path(rate: f64, rtt: f64, hosts: Stalls, source: f64, seed: u64) -> (f64, Vec<f64>) {
    let mut path = Path::new(rate, rtt, 1.0, 0.0, seed);
    path.buffer = 4e6;
    path.socket = 20e6;
    path.receiver = hosts;
    path.sender = hosts;
    let world = World::new(path, vec![with_source(vec![(0.0, source)])]).run(3.0);
    let mut rates = world.flows[0].rates[100..].to_vec();
    rates.sort_by(f64::total_cmp);
    (world.goodput(0, 1.0, 3.0), rates)
}

#[test]
fn quiet_short_path_is_filled() {
    for (rate, rtt) in [
        (1e9, 0.000_1),
        (10e9, 0.000_1),
        (10e9, 0.001),
        (3e9, 0.000_05),
    ] {
        let (goodput, _) = on_short_path(rate, rtt, Stalls::default(), 1e12, 1);
        assert!(goodput > 0.97 * rate, "{rate} {rtt}: {goodput:.3e}");
    }
}

#[test]
fn busy_processors_do_not_lower_the_rate() {
    for (rate, rtt) in [
        (1e9, 0.000_1),
        (10e9, 0.000_1),
        (10e9, 0.001),
        (3e9, 0.000_05),
    ] {
        for (hosts, present) in [(BUSY, 0.5), (STALLING, 0.6)] {
            for source in [0.3 * rate, 1e12] {
                for seed in 1..=2 {
                    let (goodput, rates) = on_short_path(rate, rtt, hosts, source, seed);
                    let least = 0.85 * present * rate.min(source);
                    assert!(
                        goodput > least,
                        "{rate} {rtt} {hosts:?} {source}, seed {seed}: {goodput:.3e}"
                    );
                    // Silence may lower the rate for moments; it must come back at once.
                    let low = rates[rates.len() / 5];
                    assert!(
                        low > goodput,
                        "{rate} {rtt} {hosts:?} {source}, seed {seed}: {low:.3e} < {goodput:.3e}"
                    );
                }
            }
        }
    }
}

#[test]
fn small_socket_and_a_receiver_that_is_away_do_not_spiral_down() {
    for (socket, away) in [(208e3, 0.002), (1e6, 0.005)] {
        for seed in 1..=2 {
            let mut path = Path::new(1e9, 0.000_2, 1.0, 0.0, seed);
            path.buffer = 1e6;
            path.socket = socket;
            path.receiver = Stalls {
                every: 0.010,
                length: away,
                long_every: 1.0,
            };
            let world = World::single(path).run(10.0);
            let goodput = world.goodput(0, 1.0, 10.0);
            let late = world.goodput(0, 6.0, 10.0);
            assert!(
                goodput > 0.35e9 && late > 0.35e9,
                "socket {socket}, seed {seed}: {goodput:.3e}, at the end {late:.3e}"
            );
        }
    }
}

#[test]
fn receiver_that_stalls_does_not_slow_a_long_path() {
    for seed in 1..=2 {
        let mut path = Path::new(100e6, 0.050, 1.0, 0.01, seed);
        path.receiver = Stalls {
            every: 0.0,
            length: 0.0,
            long_every: 0.5,
        };
        let world = World::single(path).run(20.0);
        let share = world.goodput(0, 3.0, 20.0) / 99e6;
        assert!(share > 0.95, "seed {seed}: {share:.3}");
    }
}

#[test]
fn pacer_that_never_reaches_its_rate_neither_overflows_nor_starves() {
    for pacer in [0.6, 0.85, 0.95] {
        for buffer in [0.05, 1.0] {
            let mut path = Path::new(100e6, 0.050, buffer, 0.01, 1);
            path.pacer = pacer;
            let world = World::single(path).run(30.0);
            let goodput = world.goodput(0, 5.0, 30.0);
            let lost = 1.0 - goodput / world.sent(0, 5.0, 30.0) - 0.01;
            let queue = world.wait(5.0, 30.0, 0.95);
            assert!(
                goodput > 0.90 * 99e6 && lost < 0.03 && queue < 0.020,
                "{pacer}, buffer {buffer}: {goodput:.3e}, lost {lost:.3}, queue {queue:.4}"
            );
        }
    }
}
