//! Receivers that have some of the content from an earlier run.

use std::time::Duration;

use haul_flow::{Policy, SenderConfig, Time};
use haul_wire::{BlockAddr, Stream};

use crate::world::{Dice, Path, SEGMENT_LEN, World, config};

const MS: Duration = Duration::from_millis(1);

fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

fn up_to(dice: &mut Dice, most: f64) -> f64 {
    dice.unit() * most
}

/// A transfer whose receiver says what it has. No content exists yet.
fn world(path: Path, rate_bps: u64, waits_for_judgement: bool, seed: u64) -> World {
    let rtt = path.delay * 2;
    let config = SenderConfig {
        waits_for_judgement,
        ..config(Policy::Fixed, Some(rate_bps), rtt, seed)
    };
    let mut world = World::new(path, config, seed);
    world.sender.handle_available(Stream::List, 2);
    world
}

/// What happens at one moment beside the path.
struct Step {
    at: Time,
    available: u64,
    ranges: Vec<(u64, u64)>,
    judged: u64,
}

/// Runs of blocks that the receiver has, told in pieces that overlap, in any order, at any time
/// while about half of the transfer lasts; in between more comes to exist and is judged.
fn script(dice: &mut Dice, blocks: u64, lasts: Duration) -> Vec<Step> {
    let mut pieces = Vec::new();
    let run_max = 1.0 + up_to(dice, 200.0);
    let mut block = up_to(dice, run_max) as u64;
    while block < blocks {
        let end = block + 1 + up_to(dice, run_max) as u64;
        let middle = block + up_to(dice, (end - block) as f64) as u64;
        // The last one may go beyond all there will ever be.
        pieces.extend([(block, middle + 1), (middle, end), (middle, block)]);
        block = end + 1 + up_to(dice, run_max) as u64;
    }
    for index in (1..pieces.len()).rev() {
        pieces.swap(index, up_to(dice, (index + 1) as f64) as usize);
    }
    let mut times: Vec<f64> = (0..20).map(|_| up_to(dice, 0.5)).collect();
    times.sort_by(f64::total_cmp);
    times[0] = if dice.hits(0.5) { 0.0 } else { times[0] };
    let mut steps = Vec::new();
    for share in times {
        let count = pieces
            .len()
            .min(up_to(dice, pieces.len() as f64 / 5.0) as usize);
        steps.push(Step {
            at: Time::ZERO + lasts.mul_f64(share),
            available: up_to(dice, blocks as f64 + 1.0) as u64,
            ranges: pieces.split_off(pieces.len() - count),
            judged: up_to(dice, blocks as f64) as u64,
        });
    }
    steps.push(Step {
        at: Time::ZERO + lasts.mul_f64(0.5),
        available: blocks,
        ranges: pieces,
        judged: blocks,
    });
    steps
}

fn play(world: &mut World, script: &[Step]) {
    for step in script {
        world.run(step.at).unwrap();
        world
            .sender
            .handle_available(Stream::Content, step.available);
        world.tell(&step.ranges, step.judged);
    }
    world.sender.handle_complete();
}

#[test]
fn what_is_there_is_left_out_and_the_rest_arrives() {
    let mut told_late = 0;
    for seed in 0..80 {
        let mut dice = Dice::new(seed);
        let is_narrow = seed % 4 == 0;
        let path = Path {
            loss: up_to(&mut dice, if is_narrow { 0.1 } else { 0.3 }),
            control_loss: up_to(&mut dice, 0.5),
            duplicate: up_to(&mut dice, 0.1),
            report_delay: Duration::from_secs_f64(up_to(&mut dice, 0.05)),
            host_jitter: Duration::from_secs_f64(up_to(&mut dice, 0.001)),
            narrow: is_narrow.then_some((seconds(2), seconds(9), 1_300)),
            ..Path::clean(up_to(&mut dice, 200.0) as u64)
        };
        let exponent = if is_narrow {
            0.5
        } else {
            up_to(&mut dice, 2.5)
        };
        let rate_bps = 1e6 * 10.0_f64.powf(exponent);
        let blocks = up_to(&mut dice, 4_000.0) as u64;
        let lasts = (blocks as usize * SEGMENT_LEN * 8) as f64 / rate_bps;
        let script = script(&mut dice, blocks, Duration::from_secs_f64(lasts));
        let mut world = world(path.clone(), rate_bps as u64, seed % 3 > 0, seed);
        play(&mut world, &script);
        assert_eq!(world.run(seconds(600)), Ok(()), "seed {seed}");
        let stats = world.sender.stats();
        assert!(world.sender.is_delivered(), "seed {seed}: {stats:?}");
        for block in 0..blocks {
            let has_arrived = world.tally.blocks.contains(&BlockAddr::content(block));
            assert!(has_arrived || world.told.contains(&block), "seed {seed}");
        }
        told_late += world.planned.intersection(&world.told).count();
        let planned = world.planned.len() as u64;
        assert_eq!(stats.had_blocks, blocks - planned, "seed {seed}");
        assert_eq!(stats.delivered_blocks, planned + 2, "seed {seed}");
        let rtt = (path.delay * 2 + path.report_delay).as_secs_f64();
        let bandwidth_delay = rate_bps / 8.0 * rtt / SEGMENT_LEN as f64;
        let allowed = stats.lost_packets / 100 + bandwidth_delay as u64 + 2 * stats.pto_count;
        let learning = 50;
        assert!(
            world.repeats() <= allowed + learning + stats.spurious_losses,
            "seed {seed}: {} of {allowed}, {stats:?}",
            world.repeats()
        );
    }
    assert!(told_late > 1_000, "{told_late}");
}

#[test]
fn a_receiver_may_take_its_time_to_judge() {
    let mut world = world(Path::clean(20), 100_000_000, true, 1);
    world.sender.handle_available(Stream::Content, 5_000);
    world.sender.handle_complete();
    // Longer than the patience with a peer that says nothing.
    world.run(seconds(100)).unwrap();
    let stats = world.sender.stats();
    assert_eq!((stats.sent_packets, stats.delivered_blocks), (2, 2));
    assert_eq!((stats.pto_count, stats.lost_packets), (0, 0));
    assert!(world.tally.reports < 300, "{}", world.tally.reports);
    world.tell(&[(1_000, 4_000)], 5_000);
    world.run(world.now + MS * 400).unwrap();
    let stats = world.sender.stats();
    assert!(world.sender.is_delivered(), "{stats:?}");
    assert_eq!((stats.had_blocks, stats.sent_packets), (3_000, 2_002));
}

/// All blocks under way are lost, and turn out to be there already: nothing is left to probe with.
#[test]
fn a_flight_that_is_lost_in_vain_stops_nothing() {
    for deaf_ms in [500, 3_000] {
        let path = Path {
            deaf: Some((Time(200_000_000), Time(deaf_ms * 1_000_000))),
            ..Path::clean(50)
        };
        let mut world = world(path, 100_000_000, false, 1);
        world.sender.handle_available(Stream::Content, 5_000);
        world.run(Time(400_000_000)).unwrap();
        world.tell(&[(0, 5_000)], 0);
        world.run(seconds(10)).unwrap();
        world.sender.handle_available(Stream::Content, 10_000);
        world.sender.handle_complete();
        world.run(seconds(12)).unwrap();
        let stats = world.sender.stats();
        assert!(world.sender.is_delivered(), "{deaf_ms} ms: {stats:?}");
    }
}

/// A rate is found from packets: it makes no difference which blocks they carry.
#[test]
fn what_is_there_says_nothing_about_the_path() {
    let path = Path {
        bottleneck: Some((50e6, 200_000)),
        ..Path::clean(40)
    };
    let config = config(Policy::Fair, None, path.delay * 2, 3);
    let mut worlds = [false, true].map(|is_told| {
        let mut world = World::new(path.clone(), config, 3);
        world.sender.handle_available(Stream::Content, 1 << 40);
        world.run(seconds(2)).unwrap();
        if is_told {
            let next = world.planned.iter().max().unwrap() + 1;
            let ranges = [(next, next + 500_000), (next + 500_100, next + 510_000)];
            world.tell(&ranges, 0);
        }
        world.run(seconds(6)).unwrap();
        world
    });
    let [plain, told] = worlds.each_mut().map(|world| world.sender.stats());
    assert_eq!(told.sent_packets, plain.sent_packets);
    assert_eq!((told.rate_bps, told.loss), (plain.rate_bps, plain.loss));
    assert_eq!(told.delivered_blocks, plain.delivered_blocks);
    assert!(told.had_blocks > 500_000 && plain.had_blocks == 0);
}
