use std::time::Duration;

use haul_flow::{FlowError, Policy, Receiver, Sender, Time};
use haul_wire::{PacketNo, Report, Stream, path::Sync};

use crate::world::{Dice, Path, World, config};

const RTT: Duration = Duration::from_millis(20);

/// A sender with 100 packets in flight.
fn sender(policy: Policy) -> Sender {
    let mut sender = Sender::new(config(policy, Some(1_000_000_000), RTT, 1), Time::ZERO).unwrap();
    sender.handle_available(Stream::Content, 100);
    let mut now = Time::ZERO;
    while sender.stats().sent_packets < 100 {
        while let Some(plan) = sender.poll_plan(now) {
            sender.handle_sent(plan.run.first(), plan.run.len(), now);
        }
        now += Duration::from_millis(1);
    }
    sender
}

fn report() -> Report {
    Report {
        seq: 1,
        largest: PacketNo(9),
        received_packets: 10,
        received_bytes: 14_400,
        newest_at_us: 20_000,
        free_bytes: 1 << 20,
        span_high: PacketNo(9),
        ranges: vec![0..=9],
        ..Report::default()
    }
}

#[test]
fn w23_acknowledging_what_was_never_sent_ends_the_session() {
    let beyond = PacketNo(100);
    let lies = [
        Report {
            largest: beyond,
            ..report()
        },
        Report {
            span_high: beyond,
            ..report()
        },
        Report {
            span_high: beyond,
            ranges: vec![0..=100],
            ..report()
        },
        Report {
            ranges: vec![5..=u64::MAX],
            ..report()
        },
    ];
    for lie in lies {
        let error = sender(Policy::Fixed).handle_report(&lie, Time(50_000_000));
        assert!(
            matches!(error, Err(FlowError::AcknowledgedUnsent { .. })),
            "{lie:?}"
        );
    }
    let honest = sender(Policy::Fixed).handle_report(&report(), Time(50_000_000));
    assert_eq!(honest, Ok(()));
}

#[test]
fn w24_absurd_values_are_clamped() {
    let absurd = Report {
        seq: 2,
        largest: PacketNo(50),
        largest_hold_us: u32::MAX,
        newest_at_us: u64::MAX,
        received_packets: u64::MAX,
        received_bytes: u64::MAX,
        duplicate_blocks: u64::MAX,
        written_bytes: u64::MAX,
        free_bytes: u64::MAX,
        ecn_ce: u64::MAX,
        span_low: PacketNo(99),
        span_high: PacketNo(3),
        // Overlapping, inverted, outside the span: decoding refuses them, the sender survives them.
        ranges: vec![50..=50, 40..=60, inverted(30, 20), 0..=0],
        samples: vec![(PacketNo(50), u64::MAX), (PacketNo(u64::MAX), 0)],
        ..report()
    };
    for policy in [Policy::Fixed, Policy::Fair] {
        let mut sender = sender(policy);
        let mut now = Time(50_000_000);
        for seq in 1..200 {
            let report = Report {
                seq,
                ..absurd.clone()
            };
            assert_eq!(sender.handle_report(&report, now), Ok(()));
            sender.handle_timeout(now);
            while let Some(plan) = sender.poll_plan(now) {
                sender.handle_sent(plan.run.first(), plan.run.len(), now);
            }
            let stats = sender.stats();
            assert!(
                stats.rate_bps.is_finite() && stats.rate_bps > 0.0,
                "{stats:?}"
            );
            assert!((0.0..=1.0).contains(&stats.loss), "{stats:?}");
            assert!(stats.srtt >= Duration::from_micros(1), "{stats:?}");
            now += Duration::from_millis(10);
        }
    }
}

fn inverted(start: u64, end: u64) -> std::ops::RangeInclusive<u64> {
    start..=end
}

/// A receiver that claims to have waited for ever gets nothing a second time.
#[test]
fn a_claimed_wait_longer_than_the_path_allows_declares_nothing_lost() {
    let mut sender = sender(Policy::Fixed);
    let impatient = Report {
        largest_hold_us: u32::MAX,
        span_high: PacketNo(99),
        ..report()
    };
    sender.handle_report(&impatient, Time(21_000_000)).unwrap();
    let stats = sender.stats();
    assert_eq!(
        (stats.delivered_blocks, stats.lost_packets),
        (10, 0),
        "{stats:?}"
    );
    assert_eq!(stats.srtt, RTT);
}

#[test]
fn w24_w25_random_reports_never_panic_and_never_grow_without_bound() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut number = |end: u64| (dice.unit() * end as f64) as u64;
        let mut sender = sender(Policy::Fixed);
        for step in 0..100 {
            let high = number(110);
            let low = number(110);
            let ranges = (0..number(6)).map(|_| number(110)..=number(110)).collect();
            let report = Report {
                seq: number(20) as u32,
                largest: PacketNo(number(105)),
                largest_hold_us: number(1 << 20) as u32,
                newest_at_us: number(1 << 40),
                received_packets: number(200),
                received_bytes: number(1 << 30),
                written_bytes: number(1 << 30),
                free_bytes: number(1 << 20),
                span_low: PacketNo(low),
                span_high: PacketNo(high),
                ranges,
                samples: vec![(PacketNo(number(200)), number(1 << 40))],
                ..Report::default()
            };
            let now = Time(step * 3_000_000);
            // An error is an answer, too; the caller ends the session then.
            let _ = sender.handle_report(&report, now);
            sender.handle_timeout(now);
            let mut plans = 0;
            while let Some(plan) = sender.poll_plan(now) {
                sender.handle_sent(plan.run.first(), plan.run.len(), now);
                plans += 1;
                assert!(plans < 1_000, "seed {seed}");
            }
            assert!(sender.stats().delivered_blocks <= 100, "seed {seed}");
        }
    }
}

/// Numbers that no header can carry must not come back in reports: a sender would refuse those.
#[test]
fn an_absurd_synchronisation_does_not_spoil_the_reports() {
    for (floor, next) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (0, u64::MAX)] {
        let mut world = World::fixed(Path::clean(20), 10_000_000, 1_000, 1);
        world.run(Time(300_000_000)).unwrap();
        let sync = Sync {
            report_floor: PacketNo(floor),
            next_packet: PacketNo(next),
        };
        let receiver = &mut world.receiver;
        receiver.handle_sync(&sync, world.now);
        let now = world.now + Duration::from_secs(1);
        let mut made = 0;
        while let Some(report) = receiver.poll_report(now) {
            made += 1;
            let mut out = [0; 1_100];
            let len = report.encode(&mut out).expect("fits");
            assert_eq!(Report::decode(&out[..len]), Ok(report), "{sync:?}");
            assert!(made < 100);
        }
        assert!(made > 0);
    }
}

/// Under a flood of forged datagrams the wish for new keys must survive lost reports.
#[test]
fn a_wish_for_new_keys_is_told_soon_and_repeated_until_taken_back() {
    let mut world = World::fixed(Path::clean(20), 10_000_000, 0, 1);
    world.run(Time(9_000_000_000)).unwrap();
    let receiver = &mut world.receiver;
    let mut now = world.now;
    let mut hear = |receiver: &mut Receiver| {
        now = receiver.poll_timeout().unwrap().max(now);
        receiver.poll_report(now).unwrap().rekey
    };
    // Until keep-alives have become rare.
    for _ in 0..20 {
        assert!(!hear(receiver));
    }
    let before = receiver.poll_timeout();
    receiver.handle_rekey_wanted(true);
    assert!(receiver.poll_timeout() < before, "no keep-alive's wait");
    assert!(hear(receiver) && hear(receiver));
    receiver.handle_rekey_wanted(false);
    assert!(!hear(receiver));
}
