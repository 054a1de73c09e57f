use std::time::Duration;

use haul_flow::Time;

use crate::world::{Dice, Path, SEGMENT_LEN, World};

const RATE_BPS: u64 = 100_000_000;
const BLOCKS: u64 = 20_000;
const MS: Duration = Duration::from_millis(1);

fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

/// Packets of one bandwidth-delay product at the tests' rate.
fn bandwidth_delay(path: &Path) -> u64 {
    (RATE_BPS as f64 / 8.0 * path.delay.as_secs_f64() * 2.0 / SEGMENT_LEN as f64) as u64
}

/// Runs a whole transfer and checks what holds on every path.
fn transfer(path: Path, seed: u64) -> World {
    let mut world = World::fixed(path.clone(), RATE_BPS, BLOCKS, seed);
    let result = world.run(seconds(120));
    assert_eq!(result, Ok(()), "seed {seed}");
    let stats = world.sender.stats();
    assert!(world.sender.is_delivered(), "seed {seed}: {stats:?}");
    assert_eq!(world.tally.blocks.len() as u64, BLOCKS + 2);
    assert_eq!(stats.delivered_blocks, BLOCKS + 2);
    let allowed = stats.lost_packets.div_ceil(100) + bandwidth_delay(&path);
    assert!(world.repeats() <= allowed, "seed {seed}: {stats:?}");
    world
}

#[test]
fn a_clean_path_repeats_nothing_and_runs_at_the_rate() {
    for rtt_ms in [1, 20, 200] {
        let world = transfer(Path::clean(rtt_ms), 1);
        let stats = world.sender.stats();
        assert_eq!(stats.retransmitted_packets, 0, "{rtt_ms} ms");
        assert_eq!((stats.lost_packets, stats.pto_count), (0, 0), "{rtt_ms} ms");
        let seconds = world.tally.last_first_sent_at.0 as f64 / 1e9;
        let rate = stats.sent_bytes as f64 * 8.0 / seconds;
        assert!(
            (rate / RATE_BPS as f64 - 1.0).abs() < 0.005,
            "{rtt_ms} ms: {rate}"
        );
        let share = world.tally.report_bytes as f64 / stats.sent_bytes as f64;
        // Reports come every 2, 2.5 and 20 ms, whatever the rate.
        let most = if rtt_ms < 100 { 0.002 } else { 0.0005 };
        assert!(share < most, "{rtt_ms} ms: reports are {share} of the data");
        let rtt = Duration::from_millis(rtt_ms);
        assert!(stats.srtt.abs_diff(rtt) < rtt / 100, "{:?}", stats.srtt);
    }
}

#[test]
fn what_is_lost_is_sent_again_once() {
    for percent in [1, 5, 10, 30] {
        for seed in 0..4 {
            let path = Path {
                loss: f64::from(percent) / 100.0,
                ..Path::clean(50)
            };
            let world = transfer(path, seed);
            let stats = world.sender.stats();
            assert_eq!(stats.spurious_losses, 0, "{percent} %, seed {seed}");
            let wanted = 1.0 + world.tally.lost as f64 / (BLOCKS + 2) as f64;
            let excess = world.transmissions() - wanted;
            assert!(
                excess < 0.02,
                "{percent} %, seed {seed}: {excess} per block"
            );
            let expected = 100.0 / (100.0 - f64::from(percent));
            let off = (wanted / expected - 1.0).abs();
            assert!(
                off < 0.02,
                "{percent} %, seed {seed}: {wanted} for {expected}"
            );
            assert!(
                (stats.loss - path_loss(percent)).abs() < 0.05,
                "{}",
                stats.loss
            );
        }
    }
}

fn path_loss(percent: i32) -> f64 {
    f64::from(percent) / 100.0
}

#[test]
fn losing_half_of_the_reports_duplicates_nothing() {
    for percent in [0, 5] {
        for seed in 0..4 {
            let path = Path {
                loss: f64::from(percent) / 100.0,
                control_loss: 0.5,
                ..Path::clean(50)
            };
            let world = transfer(path, seed);
            let stats = world.sender.stats();
            assert_eq!(stats.spurious_losses, 0, "seed {seed}");
            let unresolved = world.tally.lost - stats.lost_packets;
            assert!(unresolved < 10, "seed {seed}: {stats:?}");
            let seconds = world.tally.last_first_sent_at.0 as f64 / 1e9;
            let rate = stats.sent_bytes as f64 * 8.0 / seconds;
            assert!(rate > 0.97 * RATE_BPS as f64, "seed {seed}: {rate}");
        }
    }
}

#[test]
fn the_end_comes_soon_after_the_last_first_chance() {
    for percent in [0, 1, 10] {
        let mut worst = 0.0_f64;
        let mut sum = 0.0;
        for seed in 0..20 {
            let path = Path {
                loss: path_loss(percent),
                ..Path::clean(100)
            };
            let world = transfer(path, seed);
            let complete_at = world.tally.complete_at.unwrap();
            let rtts = (complete_at - world.tally.last_first_sent_at).as_secs_f64() / 0.1;
            worst = worst.max(rtts);
            sum += rtts;
        }
        let mean = sum / 20.0;
        println!("{percent} %: mean {mean:.2}, worst {worst:.2} round trips");
        let (mean_max, worst_max) = if percent == 0 {
            (0.52, 0.53)
        } else {
            (1.85, 2.9)
        };
        assert!(
            mean < mean_max && worst < worst_max,
            "{percent} %: {mean}, {worst}"
        );
    }
}

#[test]
fn w30_overtaking_by_a_thousand_packets_is_learned() {
    for seed in 0..3 {
        // 8,680 packets per second: 115 ms are a thousand packets.
        let path = Path {
            late: 0.01,
            late_by: MS * 115,
            ..Path::clean(50)
        };
        let world = transfer(path, seed);
        let stats = world.sender.stats();
        assert!(stats.spurious_losses < 120, "seed {seed}: {stats:?}");
        let duplicates = world.tally.duplicate_blocks;
        assert!(duplicates < 120, "seed {seed}: {duplicates}, {stats:?}");
    }
}

#[test]
fn duplicated_packets_change_nothing() {
    let path = Path {
        duplicate: 0.2,
        loss: 0.02,
        ..Path::clean(50)
    };
    let world = transfer(path, 3);
    assert_eq!(world.sender.stats().lost_packets, world.tally.lost);
    assert_eq!(world.tally.duplicate_blocks, world.repeats());
}

#[test]
fn a_second_without_path_is_survived() {
    for seed in 0..3 {
        let path = Path {
            blackhole: Some((Time(1_000_000_000), Time(2_000_000_000))),
            ..Path::clean(50)
        };
        let world = transfer(path, seed);
        let stats = world.sender.stats();
        assert_eq!(stats.spurious_losses, 0, "seed {seed}: {stats:?}");
        let complete_at = world.tally.complete_at.unwrap();
        assert!(complete_at < seconds(5), "seed {seed}: {complete_at:?}");
    }
}

#[test]
fn a_path_with_dying_reports_and_heavy_loss_still_ends() {
    for seed in 0..4 {
        let path = Path {
            loss: 0.3,
            control_loss: 0.3,
            late: 0.05,
            late_by: MS * 10,
            duplicate: 0.05,
            ..Path::clean(80)
        };
        transfer(path, seed);
    }
}

#[test]
fn a_host_that_sends_batches_out_of_order_costs_little() {
    for (rtt_ms, rate_bps) in [(0, 1_000_000_000), (20, 1_000_000_000), (50, RATE_BPS)] {
        let path = Path {
            delay: Duration::from_micros(20).max(MS * rtt_ms / 2),
            host_jitter: MS * 4,
            ..Path::clean(0)
        };
        let mut world = World::fixed(path, rate_bps, 200_000, 1);
        world.run(seconds(60)).unwrap();
        let stats = world.sender.stats();
        assert!(world.sender.is_delivered(), "{stats:?}");
        let share = world.tally.duplicate_blocks as f64 / 200_000.0;
        assert!(share < 0.005, "{rtt_ms} ms: {share}, {stats:?}");
    }
}

#[test]
fn random_paths_deliver_everything_and_waste_little() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut up_to = |most: f64| dice.unit() * most;
        let path = Path {
            loss: up_to(0.3),
            control_loss: up_to(0.5),
            duplicate: up_to(0.1),
            report_delay: Duration::from_secs_f64(up_to(0.05)),
            host_jitter: Duration::from_secs_f64(up_to(0.001)),
            ..Path::clean(up_to(200.0) as u64)
        };
        let rate_bps = 1e6 * 10.0_f64.powf(up_to(2.5));
        let blocks = up_to(4_000.0) as u64;
        let mut world = World::fixed(path.clone(), rate_bps as u64, blocks, seed);
        world.run(seconds(600)).unwrap();
        let stats = world.sender.stats();
        assert!(world.sender.is_delivered(), "seed {seed}: {stats:?}");
        assert_eq!(world.tally.blocks.len() as u64, blocks + 2, "seed {seed}");
        let rtt = (path.delay * 2 + path.report_delay).as_secs_f64();
        let bandwidth_delay = rate_bps / 8.0 * rtt / SEGMENT_LEN as f64;
        let allowed = stats.lost_packets / 100 + bandwidth_delay as u64 + 2 * stats.pto_count;
        let repeats = world.repeats();
        let learning = 50;
        assert!(
            repeats <= allowed + learning + stats.spurious_losses,
            "seed {seed}: {repeats} of {allowed}, {stats:?}"
        );
        assert!(
            stats.spurious_losses <= stats.sent_packets / 50 + 60,
            "seed {seed}: {stats:?}"
        );
    }
}

/// Longest time without an arrival.
fn longest_gap(world: &World) -> Duration {
    let arrivals = world.tally.arrived_at.windows(2);
    arrivals.map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[test]
fn a_path_that_shrinks_is_gone_on_with_in_parts_and_used_in_full_when_it_grows_again() {
    for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.1)] {
        let path = Path {
            loss,
            control_loss: loss,
            narrow: Some((seconds(2), seconds(20), 1_300)),
            ..Path::clean(100)
        };
        let mut world = World::fixed(path, 4_000_000, 24_000, seed);
        assert_eq!(world.run(seconds(30)), Ok(()), "seed {seed}");
        let stats = world.sender.stats();
        assert_eq!(stats.path_falls, 1, "seed {seed}");
        assert_eq!(stats.datagram_len, 752, "half a block, seed {seed}");
        let gap = longest_gap(&world);
        assert!(gap < MS * 2_500, "seed {seed}: {gap:?}");
        assert_eq!(world.run(seconds(120)), Ok(()), "seed {seed}");
        let stats = world.sender.stats();
        assert!(world.sender.is_delivered(), "seed {seed}: {stats:?}");
        assert_eq!(
            (stats.path_falls, stats.datagram_len),
            (1, SEGMENT_LEN),
            "seed {seed}"
        );
        assert_eq!(world.tally.blocks.len(), 24_002);
        assert_eq!(stats.delivered_blocks, 24_002);
        let parts = world.repeats() as f64 / stats.sent_packets as f64;
        assert!(
            parts < 0.01,
            "seed {seed}: {parts} sent needlessly, {stats:?}"
        );
    }
}

#[test]
fn loss_and_outages_are_not_taken_for_a_path_that_shrank() {
    for seed in 0..4 {
        let path = Path {
            loss: 0.3,
            control_loss: 0.3,
            blackhole: Some((seconds(3), seconds(8))),
            ..Path::clean(100)
        };
        let mut world = World::fixed(path, 4_000_000, 4_000, seed);
        assert_eq!(world.run(seconds(120)), Ok(()), "seed {seed}");
        let stats = world.sender.stats();
        assert!(
            world.sender.is_delivered() && stats.pto_count > 0,
            "seed {seed}"
        );
        assert_eq!(stats.path_falls, 0, "seed {seed}: {stats:?}");
    }
}
