//! Reports to a sender, and arrivals at a receiver.

use std::ops::RangeInclusive;

use haul_wire::{PacketNo, Report};

use super::{Seeds, hostile, valid};

fn made(seq: u32, received: u64, high: u64, ranges: Vec<RangeInclusive<u64>>) -> Report {
    Report {
        seq,
        largest: PacketNo(ranges.first().map_or(0, |range| *range.end())),
        largest_hold_us: 300,
        newest_at_us: 45_000 + u64::from(seq) * 5_000,
        received_packets: received,
        received_bytes: received * 1_432,
        written_bytes: received * 1_000,
        free_bytes: 1 << 20,
        span_high: PacketNo(high),
        samples: vec![(PacketNo(high), 45_000)],
        ranges,
        ..Report::default()
    }
}

/// Encodes reports that come 45 ms after the beginning and then every 5 ms.
fn script(policy: u8, reports: &[Report]) -> Vec<u8> {
    let mut script = vec![policy];
    for (index, report) in reports.iter().enumerate() {
        let mut body = [0; 2_048];
        let len = report.encode(&mut body).expect("room");
        let wait_us: u32 = if index == 0 { 45_000 } else { 5_000 };
        script.extend_from_slice(&wait_us.to_be_bytes()[1..]);
        script.extend_from_slice(&(len as u16).to_be_bytes());
        script.extend_from_slice(&body[..len]);
    }
    script
}

fn honest() -> Vec<Report> {
    vec![
        made(1, 8, 7, vec![0..=7]),
        made(2, 14, 15, vec![10..=15, 0..=7]),
        made(3, 16, 15, vec![0..=15]),
        made(4, 30, 31, vec![18..=31, 0..=15]),
    ]
}

fn lie(name: &str, change: impl Fn(&mut Report)) -> (String, Vec<u8>) {
    let mut one = made(1, 14, 15, vec![10..=15, 0..=7]);
    change(&mut one);
    hostile(name, script(0, &[one]))
}

pub fn report() -> Seeds {
    let honest = honest();
    let mut repeated = honest.clone();
    repeated.extend(honest.clone());
    let backwards: Vec<_> = honest.iter().rev().cloned().collect();
    let comb: Vec<_> = (0..16).rev().map(|n| 2 * n..=2 * n).collect();
    vec![
        valid("fair", script(0, &honest)),
        valid("fixed", script(1, &honest)),
        valid("repeated", script(0, &repeated)),
        valid("backwards", script(0, &backwards)),
        valid("comb", script(0, &[made(1, 16, 31, comb)])),
        valid(
            "nothing-yet",
            script(
                0,
                &[Report {
                    free_bytes: 1 << 20,
                    ..Report::default()
                }],
            ),
        ),
        lie("unsent", |r| r.ranges = vec![0..=15]),
        lie("far-span", |r| r.span_high = PacketNo(PacketNo::MAX.0)),
        lie("far-largest", |r| r.largest = PacketNo(PacketNo::MAX.0)),
        lie("counters", |r| {
            (r.received_packets, r.received_bytes) = (u64::MAX, u64::MAX);
            (r.written_bytes, r.free_bytes, r.ecn_ce) = (u64::MAX, u64::MAX, u64::MAX);
        }),
        lie("times", |r| {
            (r.newest_at_us, r.largest_hold_us) = (u64::MAX, u32::MAX);
        }),
        lie("no-room", |r| r.free_bytes = 0),
        lie("rekey", |r| (r.epoch, r.rekey) = (255, true)),
        hostile("cut", script(0, &honest)[..40].to_vec()),
        hostile(
            "many-ranges",
            [&[0, 0, 0, 0, 4, 0][..], &[1; 1_024]].concat(),
        ),
    ]
}

pub fn flow_receiver() -> Seeds {
    let arrive = |first: u64, count: u8, gap: u8| {
        [&[3][..], &first.to_be_bytes()[2..], &[count, gap]].concat()
    };
    let wait_ms = |ms: u32| [&[1][..], &ms.to_be_bytes()[1..]].concat();
    let sync =
        |floor: u64, next: u64| [&[6][..], &floor.to_be_bytes(), &next.to_be_bytes()].concat();
    let most = (1 << 48) - 256;
    let mut long = Vec::new();
    for step in 0..40_u64 {
        long.extend([arrive(step * 510, 255, 1), wait_ms(10)].concat());
    }
    vec![
        valid(
            "in-order",
            [arrive(0, 100, 0), wait_ms(20), arrive(100, 100, 0)].concat(),
        ),
        valid(
            "gaps",
            [arrive(0, 200, 1), wait_ms(20), arrive(1, 100, 3)].concat(),
        ),
        valid(
            "released",
            [
                arrive(0, 99, 2),
                sync(300, 310),
                wait_ms(30),
                arrive(310, 9, 0),
            ]
            .concat(),
        ),
        valid(
            "idle",
            [arrive(0, 9, 0), wait_ms(5_000), wait_ms(90_000)].concat(),
        ),
        valid(
            "facts",
            [
                &[7, 1, 2, 3, 9, 8][..],
                &[1; 8],
                &[9, 0, 7, 10, 3, 11, 1, 0, 9, 9],
            ]
            .concat(),
        ),
        valid(
            "late",
            vec![5, 0, 9, 200, 5, 0, 3, 1, 4, 1, 4, 0, 0, 255, 255],
        ),
        valid("many-gaps", long),
        valid(
            "largest-numbers",
            [arrive(most, 255, 1), wait_ms(20), arrive(0, 9, 1)].concat(),
        ),
        valid(
            "far-sync",
            [sync(0, (1 << 48) - 1), wait_ms(20), arrive(3, 9, 1)].concat(),
        ),
        valid(
            "sync-beyond-all-numbers",
            [sync(9, u64::MAX), wait_ms(20), arrive(3, 9, 1)].concat(),
        ),
        valid(
            "floor-beyond-all-numbers",
            [sync(u64::MAX, 0), wait_ms(20), arrive(3, 9, 1)].concat(),
        ),
    ]
}
