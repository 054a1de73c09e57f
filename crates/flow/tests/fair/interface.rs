//! The policy's interface: limits, silence, trace, and samples that make no sense.

use std::time::Duration;

use haul_flow::{Mode, RateConfig, RatePolicy, Sample, Time, Why, rate::Fair};
use haul_wire::PacketNo;

use crate::{
    bottleneck::{Path, SEGMENT, World},
    flow::FlowSpec,
    host::Random,
};

fn config(target_bps: Option<f64>, min_bps: f64) -> RateConfig {
    RateConfig {
        now: Time::ZERO,
        target_bps,
        min_bps,
        initial_rtt: Duration::from_millis(20),
        remembered: None,
        segment_len: SEGMENT,
        seed: 1,
    }
}

#[test]
fn begins_with_32_packets_per_round_trip() {
    let fair = Fair::new(config(None, 0.0));
    assert!((fair.rate_bps() - 32.0 * SEGMENT as f64 * 8.0 / 0.020).abs() < 1.0);
    assert_eq!(fair.mode(), Mode::Startup);
}

#[test]
fn target_is_a_ceiling_and_minimum_a_floor() {
    let mut fair = Fair::new(config(Some(2e6), 0.0));
    assert_eq!(fair.rate_bps(), 2e6);
    fair.set_limits(None, 50e6, Time(1));
    assert_eq!(fair.rate_bps(), 50e6);
    fair.set_limits(Some(10e6), 50e6, Time(2));
    assert_eq!(fair.rate_bps(), 10e6, "the ceiling wins");

    for target in [50e6, 200e6] {
        let spec = FlowSpec {
            target: Some(target),
            ..FlowSpec::default()
        };
        let world = World::new(Path::new(100e6, 0.050, 1.0, 0.01, 1), vec![spec]).run(15.0);
        let share = world.goodput(0, 4.0, 15.0) / (target.min(100e6) * 0.99);
        assert!(
            (0.97..1.005).contains(&share),
            "target {target}: {share:.3}"
        );
    }
}

#[test]
fn target_a_little_above_a_shallow_path_does_not_lose() {
    let spec = FlowSpec {
        target: Some(110e6),
        ..FlowSpec::default()
    };
    let world = World::new(Path::new(100e6, 0.050, 0.05, 0.0, 1), vec![spec]).run(20.0);
    let lost = 1.0 - world.goodput(0, 4.0, 20.0) / world.sent(0, 4.0, 20.0);
    assert!(lost < 0.01, "{lost:.3}");
}

#[test]
fn silence_halves_the_rate_and_a_report_restores_it() {
    let mut fair = Fair::new(config(None, 0.0));
    let before = fair.rate_bps();
    for step in 1..=2 {
        fair.on_silence(Time(step * 100_000_000));
    }
    assert!(
        (fair.rate_bps() - before / 4.0).abs() < 1.0,
        "{}",
        fair.rate_bps()
    );
    // Calls in quick succession, as on a path of microseconds, count once.
    fair.on_silence(Time(200_050_000));
    assert!((fair.rate_bps() - before / 4.0).abs() < 1.0);
    fair.on_sample(&sample(400_000_000, 10));
    assert!(fair.rate_bps() >= before);
}

fn sample(now: u64, packets: u64) -> Sample {
    Sample {
        now: Time(now),
        srtt: Duration::from_millis(20),
        min_rtt: Duration::from_millis(20),
        latest_rtt: Some(Duration::from_millis(20)),
        interval: Duration::from_micros(2_500),
        newest_at: Time(now),
        received_packets: packets,
        received_bytes: packets * SEGMENT as u64,
        largest: PacketNo(packets),
        largest_sent_at: Time(now.saturating_sub(20_000_000)),
        min_owd_ns: Some(10_000_000),
        next_packet: PacketNo(packets + 10),
        segment_len: SEGMENT,
        app_limited: false,
        ecn_ce: 0,
    }
}

#[test]
fn trace_tells_each_decision_and_is_bounded() {
    let world = World::single(Path::new(100e6, 0.050, 1.0, 0.05, 1)).run(10.0);
    let trace = &world.flows[0].trace;
    for why in [
        Why::StartupQueue,
        Why::Drained,
        Why::AuditBegins,
        Why::FloorStands,
    ] {
        assert!(trace.iter().any(|decision| decision.why == why), "{why:?}");
    }
    assert!(trace.iter().is_sorted_by_key(|decision| decision.at));

    let mut fair = Fair::new(config(None, 0.0));
    for step in 0..10_000 {
        fair.set_limits(None, 0.0, Time(step));
    }
    let mut lines = 0;
    while fair.poll_trace().is_some() {
        lines += 1;
    }
    assert!((1..1000).contains(&lines), "{lines}");
}

/// A number that is often an extreme one.
fn absurd(random: &mut Random) -> u64 {
    match random.next() % 8 {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX / 2,
        4 => random.next(),
        5 => random.next() >> 16,
        6 => random.next() % 1_000_000_000,
        _ => random.next() % 1_000,
    }
}

#[test]
fn absurd_samples_do_no_harm() {
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let mut fair = Fair::new(RateConfig {
            now: Time(absurd(&mut random)),
            target_bps: (seed % 3 == 0).then_some(1e6),
            min_bps: if seed % 5 == 0 { 1e12 } else { 0.0 },
            initial_rtt: Duration::from_nanos(absurd(&mut random)),
            remembered: None,
            segment_len: absurd(&mut random) as usize,
            seed: absurd(&mut random),
        });
        let mut honest = sample(0, 0);
        for step in 0..400_u64 {
            // Mostly plausible reports with one or two absurd fields; sometimes all absurd.
            honest.now += Duration::from_millis(2);
            let packets = honest.received_packets.saturating_add(random.next() % 50);
            let mut report = Sample {
                app_limited: step % 7 == 0,
                ..sample(honest.now.0, packets)
            };
            honest.received_packets = packets;
            let count = if step % 50 == 0 {
                15
            } else {
                random.next() % 3
            };
            for _ in 0..count {
                distort(&mut report, &mut random);
            }
            match random.next() % 20 {
                0 => fair.on_silence(report.now),
                2 => fair.on_path_change(report.now),
                1 => fair.set_limits(None, (absurd(&mut random) % 1_000_000) as f64, report.now),
                _ => fair.on_sample(&report),
            }
            let rate = fair.rate_bps();
            assert!(
                rate.is_finite() && rate > 0.0,
                "seed {seed}, step {step}: {rate}"
            );
            assert!(
                fair.burst_max() <= Duration::from_millis(1),
                "seed {seed}, step {step}"
            );
            let floor = fair.loss_floor();
            assert!(
                (0.0..=0.5).contains(&floor),
                "seed {seed}, step {step}: {floor}"
            );
            while fair.poll_trace().is_some() {}
        }
    }
}

fn distort(report: &mut Sample, random: &mut Random) {
    let value = absurd(random);
    match random.next() % 15 {
        0 => report.now = Time(value),
        1 => report.srtt = Duration::from_nanos(value),
        2 => report.min_rtt = Duration::from_nanos(value),
        3 => report.latest_rtt = Some(Duration::from_nanos(value)),
        4 => report.latest_rtt = None,
        5 => report.interval = Duration::from_nanos(value),
        6 => report.newest_at = Time(value),
        7 => report.received_packets = value,
        8 => report.largest = PacketNo(value),
        9 => report.largest_sent_at = Time(value),
        10 => report.min_owd_ns = Some(value as i64),
        11 => report.min_owd_ns = None,
        12 => report.next_packet = PacketNo(value),
        13 => report.ecn_ce = value,
        _ => report.segment_len = value as usize,
    }
}
