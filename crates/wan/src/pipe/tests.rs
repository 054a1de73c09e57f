use std::collections::BTreeMap;

use super::*;
use crate::{Policer, Reorder};

const MS: Duration = Duration::from_millis(1);

type Flows = BTreeMap<Flow, FlowCounter>;

/// A UDP packet over IPv4 of this length.
fn packet(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut bytes, &vec![0; length - 28])
        .unwrap();
    bytes
}

fn at_8_mbit() -> Direction {
    Direction {
        rate_bps: Some(8_000_000),
        queue_bytes: 10_000,
        delay: MS * 50,
        ..Direction::default()
    }
}

fn only(flows: &Flows) -> &FlowCounter {
    flows.values().next().unwrap()
}

#[test]
fn packets_leave_at_the_rate_whenever_anybody_looks() {
    let mut flows = Flows::new();
    let mut pipe = Pipe::new(at_8_mbit(), 1);
    for _ in 0..5 {
        assert_eq!(pipe.enter(packet(1000), MS, &mut flows), None);
    }
    // Looked at a second later: the times are as if it had been looked at all along.
    pipe.advance(MS * 1000, &mut flows);
    let times: Vec<u128> = std::iter::from_fn(|| pipe.leave(MS * 1000))
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(times, [52, 53, 54, 55, 56]);
    assert_eq!(only(&flows).delivered_bytes, 5_000);
}

#[test]
fn a_full_queue_drops_the_newest() {
    let mut flows = Flows::new();
    let mut pipe = Pipe::new(at_8_mbit(), 1);
    let dropped = (0..20)
        .filter(|_| pipe.enter(packet(1000), MS, &mut flows).is_some())
        .count();
    assert_eq!(dropped, 10);
    assert_eq!(only(&flows).overflowed_packets, 10);
    // One left after a millisecond: room for one.
    assert_eq!(pipe.enter(packet(1000), MS * 2, &mut flows), None);
    assert!(pipe.enter(packet(1000), MS * 2, &mut flows).is_some());
}

#[test]
fn a_rate_step_applies_to_what_is_queued() {
    let mut flows = Flows::new();
    let mut pipe = Pipe::new(at_8_mbit(), 1);
    for _ in 0..4 {
        pipe.enter(packet(1000), Duration::ZERO, &mut flows);
    }
    let slower = Direction {
        rate_bps: Some(800_000),
        ..at_8_mbit()
    };
    pipe.set(slower, MS * 2, &mut flows);
    pipe.advance(MS * 100, &mut flows);
    let times: Vec<u128> = std::iter::from_fn(|| pipe.leave(MS * 100))
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(times, [51, 52, 53, 63]);
}

#[test]
fn random_loss_is_what_was_asked_for_and_seeded() {
    let run = |seed| {
        let mut flows = Flows::new();
        let lossy = Direction {
            loss: 0.05,
            ..Direction::default()
        };
        let mut pipe = Pipe::new(lossy, seed);
        for index in 0..20_000 {
            pipe.enter(packet(100), MS * index, &mut flows);
        }
        only(&flows).lost_packets
    };
    let lost = run(7);
    assert!((900..1_100).contains(&lost), "{lost} of 20,000, seed 7");
    assert_eq!(lost, run(7));
    assert_ne!(lost, run(8));
}

#[test]
fn bursts_lose_their_long_run_share_in_runs() {
    let mut flows = Flows::new();
    let bursty = Direction {
        burst: Some(crate::Burst {
            turns_bad: 0.01,
            turns_good: 0.1,
            loss_when_bad: 1.0,
        }),
        ..Direction::default()
    };
    let mut pipe = Pipe::new(bursty, 3);
    for index in 0..50_000 {
        pipe.enter(packet(100), MS * index, &mut flows);
    }
    // 0.01 / (0.01 + 0.1)
    let share = only(&flows).lost_packets as f64 / 50_000.0;
    assert!((share - 0.091).abs() < 0.02, "{share}, seed 3");
}

#[test]
fn a_policer_passes_its_bucket_and_its_rate() {
    let mut flows = Flows::new();
    let policed = Direction {
        policer: Some(Policer {
            rate_bps: 8_000_000,
            bucket_bytes: 5_000,
        }),
        ..Direction::default()
    };
    let mut pipe = Pipe::new(policed, 1);
    let passed = |pipe: &mut Pipe, flows: &mut Flows, at| {
        (0..20)
            .filter(|_| pipe.enter(packet(1000), at, flows).is_none())
            .count()
    };
    assert_eq!(passed(&mut pipe, &mut flows, Duration::ZERO), 5);
    assert_eq!(passed(&mut pipe, &mut flows, MS * 3), 3);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let order = |settings: Direction| {
        let mut flows = Flows::new();
        let mut pipe = Pipe::new(settings, 1);
        for length in 100..200 {
            pipe.enter(packet(length), MS * length as u32 / 10, &mut flows);
        }
        let lengths: Vec<usize> = std::iter::from_fn(|| pipe.leave(MS * 1000))
            .map(|(_, bytes)| bytes.len())
            .collect();
        assert_eq!(lengths.len(), 100);
        lengths.is_sorted()
    };
    assert!(order(Direction {
        jitter: MS * 20,
        ..Direction::default()
    }));
    assert!(!order(Direction {
        reorder: Some(Reorder {
            share: 0.1,
            late_by: MS * 5
        }),
        ..Direction::default()
    }));
}

#[test]
fn long_packets_and_a_link_that_is_down_are_told_apart() {
    let mut flows = Flows::new();
    let narrow = Direction {
        mtu: 1400,
        ..Direction::default()
    };
    let mut pipe = Pipe::new(narrow, 1);
    assert!(pipe.enter(packet(1401), MS, &mut flows).is_some());
    assert!(pipe.enter(packet(1400), MS, &mut flows).is_none());
    let down = Direction {
        is_down: true,
        ..Direction::default()
    };
    pipe.set(down, MS, &mut flows);
    assert!(pipe.enter(packet(1400), MS, &mut flows).is_some());
    let counter = only(&flows);
    assert_eq!((counter.oversized_packets, counter.lost_packets), (1, 1));
}

#[test]
fn a_sender_of_long_packets_is_told_the_mtu_where_the_link_tells() {
    let answer = |tells_mtu, dont_fragment: u8| {
        let mut flows = Flows::new();
        let narrow = Direction {
            mtu: 1280,
            tells_mtu,
            ..Direction::default()
        };
        let mut pipe = Pipe::new(narrow, 1);
        let mut bytes = packet(1400);
        bytes[6] = dont_fragment;
        assert!(pipe.enter(bytes, MS, &mut flows).is_some());
        pipe.answer()
    };
    assert_eq!(answer(false, 0x40), None);
    assert_eq!(answer(true, 0), None);
    let told = answer(true, 0x40).unwrap();
    let flow = Flow::of(&told).unwrap();
    assert_eq!(flow.to.ip(), std::net::IpAddr::from([10, 0, 0, 1]));
    assert_eq!(told[20..22], [3, 4], "type and code");
    assert_eq!(u16::from_be_bytes([told[26], told[27]]), 1280);
}

#[test]
fn jitter_uses_its_whole_range_and_stays_in_it() {
    let mut flows = Flows::new();
    let jittery = Direction {
        jitter: MS * 20,
        ..Direction::default()
    };
    let mut pipe = Pipe::new(jittery, 5);
    let delays: Vec<Duration> = (0..2_000)
        .filter_map(|index| {
            let now = MS * index * 3;
            pipe.enter(packet(100), now, &mut flows);
            let (at, _) = pipe.leave(now + MS * 30)?;
            Some(at - now)
        })
        .collect();
    let below = |limit| delays.iter().filter(|delay| **delay < limit).count();
    assert_eq!(below(MS * 21), 2_000);
    assert!((600..1_300).contains(&below(MS * 10)), "seed 5");
}

#[test]
fn only_capable_packets_are_marked() {
    let marked = |ecn: u8| {
        let mut flows = Flows::new();
        let marking = Direction {
            mark_above: Some(MS),
            ..at_8_mbit()
        };
        let mut pipe = Pipe::new(marking, 1);
        for _ in 0..5 {
            let mut bytes = packet(1000);
            bytes[1] = ecn;
            pipe.enter(bytes, Duration::ZERO, &mut flows);
        }
        let last = std::iter::from_fn(|| {
            pipe.advance(MS * 100, &mut flows);
            pipe.leave(MS * 100)
        })
        .last()
        .unwrap();
        (only(&flows).marked_packets, last.1[1] & 3)
    };
    assert_eq!(marked(0), (0, 0));
    assert_eq!(marked(2), (3, 3));
}

#[test]
fn a_marked_header_still_has_a_right_checksum() {
    let mut bytes = packet(100);
    bytes[1] = 2;
    assert!(mark(&mut bytes));
    let header = etherparse::Ipv4Header::from_slice(&bytes).unwrap().0;
    assert_eq!(header.calc_header_checksum(), header.header_checksum);
}
