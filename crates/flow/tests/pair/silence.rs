use std::time::Duration;

use haul_flow::{FlowError, Mode, Policy, Time};
use haul_wire::Stream;

use crate::world::{Path, SEGMENT_LEN, World, config};

const RATE_BPS: u64 = 100_000_000;
const FOR_EVER: Time = Time::MAX;

fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

/// Bytes sent from one tenth of a second to before another.
fn sent(world: &World, from: u64, to: u64) -> u64 {
    world
        .tally
        .sent_bytes
        .range(from..to)
        .map(|(_, bytes)| bytes)
        .sum()
}

#[test]
fn w26_a_dead_path_halves_the_rate_stops_data_and_ends_the_session() {
    let path = Path {
        blackhole: Some((seconds(3), FOR_EVER)),
        ..Path::clean(50)
    };
    let mut world = World::fixed(path, RATE_BPS, 1 << 20, 1);
    assert_eq!(
        world.run(seconds(120)),
        Err(FlowError::PeerSilent(Duration::from_secs(30)))
    );
    assert!(
        (seconds(32)..seconds(34)).contains(&world.now),
        "{:?}",
        world.now
    );
    let full = sent(&world, 28, 30) / 2;
    assert!(full > 1_200_000);
    // Silence is noticed after two round trips and four intervals: 125 ms, then halved per 50 ms.
    assert!(sent(&world, 32, 33) < full / 2);
    assert!(sent(&world, 34, 35) < full / 20);
    for second in 6..33 {
        let probes = sent(&world, second * 10, second * 10 + 10) / SEGMENT_LEN as u64;
        assert!(probes <= 4, "{probes} packets in second {second}");
    }
}

#[test]
fn a_forward_path_that_dies_alone_stops_data_too() {
    let path = Path {
        deaf: Some((seconds(3), FOR_EVER)),
        ..Path::clean(50)
    };
    let mut world = World::fixed(path, RATE_BPS, 1 << 20, 1);
    assert_eq!(
        world.run(seconds(120)),
        Err(FlowError::PathBlocked(Duration::from_secs(30)))
    );
    assert!(sent(&world, 60, 330) <= 4 * 28 * SEGMENT_LEN as u64);
}

#[test]
fn a_peer_that_never_answers_gets_a_probe_per_second() {
    let path = Path {
        blackhole: Some((Time::ZERO, FOR_EVER)),
        ..Path::clean(50)
    };
    let mut world = World::fixed(path, RATE_BPS, 1 << 20, 1);
    assert!(world.run(seconds(120)).is_err());
    assert!(sent(&world, 30, 300) <= 3 * 28 * SEGMENT_LEN as u64);
}

#[test]
fn a_slow_source_is_not_silence() {
    let path = Path::clean(20);
    let mut world = World::new(
        path.clone(),
        config(Policy::Fixed, Some(RATE_BPS), path.delay * 2, 1),
        1,
    );
    for step in 0..40_u64 {
        world.sender.handle_available(Stream::Content, step);
        world.run(seconds(2 * step + 1)).unwrap();
        assert_eq!(world.sender.stats().mode, Mode::Steady, "step {step}");
    }
    let stats = world.sender.stats();
    assert_eq!(
        (stats.retransmitted_packets, stats.pto_count),
        (0, 0),
        "{stats:?}"
    );
    assert_eq!(world.tally.blocks.len(), 39);
    assert!(world.tally.reports < 1_500, "{}", world.tally.reports);
}

#[test]
fn a_full_receiver_holds_the_sender_back_and_lets_it_go_on() {
    let path = Path::clean(20);
    let mut world = World::fixed(path, RATE_BPS, 20_000, 1);
    world.free_bytes = 100_000;
    world.run(Time(500_000_000)).unwrap();
    world.free_bytes = 0;
    world.receiver.handle_free(0);
    world.run(Time(1_000_000_000)).unwrap();
    let before = world.sender.stats();
    // Longer than the patience with a peer that says nothing: this one says that its disk is slow.
    world.run(seconds(61)).unwrap();
    let after = world.sender.stats();
    assert_eq!(after.sent_packets, before.sent_packets, "no room, no data");
    assert_eq!(
        (after.pto_count, after.mode),
        (before.pto_count, Mode::Steady)
    );
    assert!(after.reports > before.reports + 50);
    world.free_bytes = 64 << 20;
    world.receiver.handle_free(world.free_bytes);
    world.run(seconds(64)).unwrap();
    assert!(world.sender.is_delivered());
    assert_eq!(world.sender.stats().lost_packets, 0);
}

#[test]
fn k114_nothing_collapses_when_the_host_stalls() {
    // A loopback path whose processes are kept from running for 10 ms again and again.
    let path = Path {
        delay: Duration::from_micros(20),
        ..Path::clean(0)
    };
    let mut world = World::fixed(path, 1_000_000_000, 1 << 20, 1);
    for step in 1..100_u64 {
        let until = Time(step * 20_000_000);
        if world.run(until).is_err() {
            break;
        }
        world.now = until + Duration::from_millis(10);
    }
    let stats = world.sender.stats();
    assert_eq!(
        (stats.mode, stats.lost_packets),
        (Mode::Steady, 0),
        "{stats:?}"
    );
    assert_eq!(stats.rate_bps, 1e9);
}

#[test]
fn a_path_that_comes_back_after_ten_seconds_is_used_again_at_once() {
    for (seed, came_back_ms) in [(1, 13_000), (2, 13_250), (3, 13_500)] {
        let came_back = Time(came_back_ms * 1_000_000);
        let path = Path {
            blackhole: Some((Time(3_100_000_000), came_back)),
            ..Path::clean(50)
        };
        let mut world = World::fixed(path, RATE_BPS, 1 << 20, seed);
        world.run(came_back + Duration::from_secs(4)).unwrap();
        let stats = world.sender.stats();
        assert_eq!(
            (stats.mode, stats.rate_bps),
            (Mode::Steady, 1e8),
            "{stats:?}"
        );
        let tenth = world.now.0 / 100_000_000;
        assert!(sent(&world, tenth - 20, tenth) > 24_000_000, "seed {seed}");
    }
}
