//! Faults that designs of this kind have had, each as a test named for what broke.

use std::time::Duration;

use haul_flow::Time;
use haul_wire::{BlockAddr, PacketNo};

use crate::world::{Path, World};

const RATE_BPS: u64 = 100_000_000;
const MS: Duration = Duration::from_millis(1);

fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

/// Gap-only loss detection never hears of a tail that was lost: nothing later arrives.
#[test]
fn a_lost_tail_does_not_hang() {
    for lost_times in 1..=4 {
        let mut world = World::fixed(Path::clean(50), RATE_BPS, 998, 1);
        // The last ten packets, and then whatever repeats them, again and again.
        world.doomed = (990..1_000).collect();
        for round in 1..lost_times {
            world
                .doomed
                .extend(1_000 + 10 * (round - 1)..1_000 + 10 * round);
        }
        world.run(seconds(60)).unwrap();
        assert!(world.sender.is_delivered(), "lost {lost_times} times");
        let took = world.tally.complete_at.unwrap() - world.tally.last_first_sent_at;
        let most = MS * (100 + 110 * lost_times as u32);
        assert!(took < most, "lost {lost_times} times: {took:?}");
    }
}

/// The only packet is lost, and the only thing that could tell of it, too.
#[test]
fn a_lost_only_packet_does_not_hang() {
    for lost_times in 0..8 {
        let mut world = World::fixed(Path::clean(50), RATE_BPS, 0, 1);
        world.doomed = (0..2 * lost_times).collect();
        world.run(seconds(60)).unwrap();
        assert!(world.sender.is_delivered(), "lost {lost_times} times");
    }
}

/// A burst saved up during a stall makes the path look faster than it is, and hurts it.
#[test]
fn a_stall_saves_up_no_burst() {
    let mut world = World::fixed(Path::clean(50), RATE_BPS, 1 << 20, 1);
    world.run(seconds(1)).unwrap();
    // The caller sleeps for 300 ms.
    world.now += MS * 300;
    let before = world.sender.stats().sent_bytes;
    world.run(world.now + MS * 5).unwrap();
    let burst = (world.sender.stats().sent_bytes - before) as f64 * 8.0 / RATE_BPS as f64;
    // Five milliseconds, the burst, and what had been planned ahead.
    assert!(burst < 0.009, "{burst} s worth of data in 5 ms");
}

/// A loss that is seen in two reports must be one loss, and one retransmission.
#[test]
fn a_loss_that_many_reports_repeat_is_one_loss() {
    let mut world = World::fixed(Path::clean(50), RATE_BPS, 10_000, 1);
    world.doomed = (3_000..3_100).collect();
    world.run(seconds(60)).unwrap();
    let stats = world.sender.stats();
    assert_eq!(
        (stats.lost_packets, stats.retransmitted_packets),
        (100, 100)
    );
    assert_eq!(world.tally.sent[&BlockAddr::content(2_998)], 2);
}

/// A retransmission that is lost, too, must be seen by its own number.
#[test]
fn a_lost_retransmission_is_found_by_its_own_number() {
    let mut world = World::fixed(Path::clean(50), RATE_BPS, 20_000, 1);
    world.doomed = (3_000..3_010).collect();
    while world.sender.stats().retransmitted_packets < 10 {
        let until = world.now + MS;
        if world.sender.stats().lost_packets == 10 && world.doomed.is_empty() {
            let next = world.sender.stats().sent_packets;
            world.doomed = (next..next + 20).collect();
        }
        world.run(until).unwrap();
    }
    world.run(seconds(60)).unwrap();
    assert!(world.sender.is_delivered());
    assert_eq!(world.sender.stats().lost_packets, world.tally.lost);
    assert_eq!(world.tally.duplicate_blocks, 0);
}

/// Reports delayed on the way back must not turn packets that are still under way into losses.
#[test]
fn late_reports_declare_nothing_lost() {
    let mut world = World::fixed(Path::clean(50), RATE_BPS, 20_000, 1);
    for step in 1..400_u64 {
        // The way back lengthens and shortens by 80 ms, so that reports overtake one another.
        world.path.report_delay = MS * if step % 2 == 0 { 80 } else { 0 };
        world.run(Time(step * 10_000_000)).unwrap();
    }
    world.path.report_delay = Duration::ZERO;
    world.run(seconds(60)).unwrap();
    let stats = world.sender.stats();
    assert_eq!(
        (stats.lost_packets, world.tally.duplicate_blocks),
        (0, 0),
        "{stats:?}"
    );
}

/// One missing packet must not make reports, ledgers or lists of runs grow for ever.
#[test]
fn memory_of_arrivals_is_released_as_the_session_goes_on() {
    let path = Path {
        loss: 0.1,
        ..Path::clean(50)
    };
    let mut world = World::fixed(path, RATE_BPS, 1 << 20, 1);
    let mut most = 0;
    for step in 1..80_u64 {
        world.run(Time(step * 100_000_000)).unwrap();
        most = most.max(world.receiver.stats().ranges);
    }
    // Lost packets are watched for two round trips and 100 ms, synchronisations come once per round
    // trip, half a round trip late: half a second of one gap in eleven packets.
    assert!(most < 500, "{most}");
}

/// A report must not be taken for one about later packets when numbers are spoken of in parts.
#[test]
fn a_report_in_parts_is_one_report() {
    let path = Path {
        loss: 0.3,
        ..Path::clean(200)
    };
    let mut world = World::fixed(path, 1_000_000_000, 100_000, 5);
    world.run(seconds(60)).unwrap();
    let stats = world.sender.stats();
    assert!(world.sender.is_delivered(), "{stats:?}");
    assert_eq!(stats.spurious_losses, 0, "{stats:?}");
    let seconds = world.tally.last_first_sent_at.0 as f64 / 1e9;
    assert!(
        seconds < 100_002.0 / 0.7 * 1_440.0 * 8.0 / 1e9 * 1.05,
        "{seconds}"
    );
}

/// The sender says a packet left only after a report named it.
#[test]
fn the_word_that_a_packet_left_may_come_last() {
    let mut world = World::fixed(Path::clean(0), RATE_BPS, 10, 1);
    let mut now = Time::ZERO;
    let plan = loop {
        now += MS;
        if let Some(plan) = world.sender.poll_plan(now) {
            break plan;
        }
    };
    for offset in 0..plan.run.len() as u64 {
        let packet = PacketNo(plan.run.first().0 + offset);
        world.receiver.handle_packet(packet, 1_440, now);
    }
    let report = world.receiver.poll_report(now).unwrap();
    world.sender.handle_report(&report, now).unwrap();
    assert_eq!(world.sender.stats().delivered_blocks, plan.run.len() as u64);
    world
        .sender
        .handle_sent(plan.run.first(), plan.run.len(), now + MS);
    assert_eq!(world.sender.stats().in_flight_bytes, 0);
}
