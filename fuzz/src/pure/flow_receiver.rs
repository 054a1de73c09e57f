//! A peer that holds the keys and numbers its packets as it pleases.
//!
//! Input: any number of steps, each a byte for what happens and its numbers.

use std::time::Duration;

use haul_flow::{Receiver, ReceiverConfig, Time};
use haul_wire::{PacketNo, Report, path::Sync};

use super::bytes::Bytes;

/// A sealed report must fit the smallest path.
const REPORT_LEN_MAX: usize = 1_100;
/// Most reports one round may take.
const ROUND_MAX: usize = 24;

/// Steps after which an input is long enough: further ones cost more than they find.
const STEPS_MAX: usize = 80;

/// Every report that comes out is one that a sender can take in.
pub fn check(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut now = Time::ZERO;
    let config = ReceiverConfig {
        segment_len: 1_432,
        initial_rtt: Duration::from_millis(40),
        free_bytes_initial: 1 << 20,
    };
    let mut receiver = Receiver::new(config, now);
    let mut last = 0;
    let mut reports = 0;
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        step(&mut receiver, &mut bytes, &mut last, &mut now);
        receiver.handle_timeout(now);
        reports += polled(&mut receiver, now);
        assert!(receiver.silent_since() <= now);
    }
    reports > 0
}

fn step(receiver: &mut Receiver, bytes: &mut Bytes<'_>, last: &mut u64, now: &mut Time) {
    let before = *last;
    let mut arrive = |number: u64, at: Time| {
        *last = number.min(PacketNo::MAX.0);
        receiver.handle_packet(PacketNo(*last), 1_432, at);
    };
    match bytes.number(1) % 12 {
        0 => *now += Duration::from_micros(bytes.number(2)),
        1 => *now += Duration::from_millis(bytes.number(3)),
        2 => arrive(bytes.number(6), *now),
        3 => {
            // A run with or without gaps.
            let (first, count, gap) = (bytes.number(6), bytes.number(1), bytes.number(1) % 4);
            for index in 0..count {
                arrive(first + index * (gap + 1), *now);
            }
        }
        4 => arrive(before + bytes.number(1), *now),
        5 => arrive(
            bytes.number(2),
            *now - Duration::from_millis(bytes.number(1)),
        ),
        6 => {
            let sync = Sync {
                report_floor: PacketNo(bytes.number(8)),
                next_packet: PacketNo(bytes.number(8)),
            };
            receiver.handle_sync(&sync, *now);
        }
        7 => receiver.handle_written(bytes.number(3), bytes.number(1)),
        8 => receiver.handle_free(bytes.number(8)),
        9 => receiver.handle_ce(bytes.number(2)),
        10 => receiver.handle_epoch(bytes.number(1) as u8),
        _ => receiver.handle_rekey_wanted(bytes.number(1) % 2 == 1),
    }
}

/// How many reports came; each must fit, and mean to the sender what it means here.
fn polled(receiver: &mut Receiver, now: Time) -> usize {
    let mut count = 0;
    while let Some(report) = receiver.poll_report(now) {
        count += 1;
        assert!(count <= ROUND_MAX, "reports without end");
        let mut out = [0; REPORT_LEN_MAX];
        let len = report
            .encode(&mut out)
            .expect("a report fits the smallest path");
        assert_eq!(Report::decode(&out[..len]).as_ref(), Ok(&report));
    }
    count
}
