//! Scenarios by number: paths, faults and hosts nobody would have thought of.

use std::{ops::Range, time::Duration};

use haul_flow::{Policy, Time};

use crate::{
    clock::ClockConfig,
    content::Content,
    disk::DiskConfig,
    link::LinkConfig,
    loss::Loss,
    rng::Rng,
    scenario::{Expect, Scenario},
    source::SourceConfig,
};

/// Most blocks of a swarm's transfer: what keeps a run within a fraction of a second.
const BLOCKS_MAX: u64 = 12_000;

/// What the rate policies are made for; with more, delay tells them nothing of queues any more.
const JITTER_MAX: Duration = Duration::from_millis(20);

/// Longest time, beyond a round trip, that a datagram is held to be overtaken.
const REORDER_HOLD_MAX: Duration = Duration::from_millis(20);

/// The scenario that a seed stands for.
///
/// The seed also decides which faults there are at all ("swarm testing", Groce et al. 2012): a run
/// with a few faults, each strong, finds more than runs that all have a little of everything.
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::new(seed);
    let rtt = Duration::from_micros(rng.log_within(200..=300_000));
    let rate_bps = rng.log_within(1_000_000..=1_000_000_000);
    let policy = rng.pick(&[Policy::Fixed, Policy::Fair]);
    let datagram_len = rng.pick(&[1232, 1452, 1452, 8952]);
    let blocks = content_blocks(&mut rng, rate_bps);
    let base = Scenario::clean(policy, rate_bps, rtt, blocks);
    let forward = hostile(base.forward.clone(), &mut rng.fork(1), 0.3, datagram_len);
    let reverse = hostile(base.reverse.clone(), &mut rng.fork(2), 0.5, 300);
    let worst = base.rtt_max();
    Scenario {
        name: format!("swarm {seed}"),
        seed,
        datagram_len,
        content: Content {
            seed,
            list_blocks: rng.within(0..=3) * rng.within(0..=40),
            content_blocks: blocks,
        },
        rate_target_bps: target_bps(policy, rate_bps, &mut rng),
        disk: disk(&mut rng.fork(3), rate_bps, worst),
        source: source(&mut rng.fork(4)),
        lateness_max: Duration::from_micros(rng.pick(&[0, 60, 60, 500, 3000])),
        // A path is opened under whatever load there is: what was measured may be double.
        initial_rtt: rtt + Duration::from_nanos(rng.within(0..=rtt.as_nanos() as u64)),
        receiver_clock: ClockConfig {
            offset_ns: rng.within(0..=10_000_000_000),
            drift_ppm: rng.within(0..=200) as i32 - 100,
        },
        lose_last_block: rng.pick(&[0, 0, 0, 0, 1, 2, 4]),
        expect: Expect::Delivery,
        forward,
        reverse,
        ..base
    }
}

/// Enough to fill the path for some seconds, or far less.
fn content_blocks(rng: &mut Rng, rate_bps: u64) -> u64 {
    let seconds = (rate_bps / 8 / 1400 * rng.within(1..=8)).clamp(100, BLOCKS_MAX);
    match rng.within(0..=9) {
        0 => rng.within(0..=3),
        1 => rng.within(4..=100),
        _ => rng.within(100..=seconds),
    }
}

fn target_bps(policy: Policy, rate_bps: u64, rng: &mut Rng) -> Option<u64> {
    match policy {
        // Never more than the path carries: what `fixed` does then is its own scenario.
        Policy::Fixed => Some(rate_bps / 1000 * rng.within(200..=985)),
        Policy::High | Policy::Fair | Policy::Low => rng
            .chance(0.3)
            .then(|| rate_bps / 1000 * rng.within(300..=3000)),
    }
}

fn hostile(mut link: LinkConfig, rng: &mut Rng, loss_max: f64, datagram_len: usize) -> LinkConfig {
    let in_flight = link.rate_bps as f64 / 8.0 * link.delay.as_secs_f64() * 2.0;
    let queue = in_flight * (0.1 + 3.0 * rng.unit());
    link.queue_bytes = (queue as u64).max(64 << 10);
    if rng.chance(0.5) {
        let share = loss_max * rng.unit() * rng.unit();
        link.loss = match rng.chance(0.4) {
            true => {
                let leave = 1.0 / rng.log_within(2..=100) as f64;
                Loss::Bursty {
                    enter: leave * share / (1.0 - share),
                    leave,
                    in_bad: 0.5 + 0.5 * rng.unit(),
                }
            }
            false => Loss::Random(share),
        };
    }
    if rng.chance(0.3) {
        link.jitter = link.delay.mul_f64(rng.unit()).min(JITTER_MAX);
    }
    if rng.chance(0.2) {
        link.duplicate = 0.3 * rng.unit();
    }
    if rng.chance(0.2) {
        link.corrupt = 0.1 * rng.unit();
    }
    if rng.chance(0.2) {
        link.reorder = 0.2 * rng.unit() * rng.unit();
        // On slow paths a thousand datagrams last seconds: late like that is as good as lost.
        let held = link.delay * 2 + REORDER_HOLD_MAX;
        let most = (held.as_secs_f64() / link.airtime(datagram_len).as_secs_f64()) as u64;
        link.reorder_packets = rng.log_within(1..=most.clamp(2, 1000));
    }
    if rng.chance(0.15) {
        link.holes = vec![hole(rng)];
    }
    link
}

fn hole(rng: &mut Rng) -> Range<Time> {
    let start = Time(rng.within(0..=2_000_000_000));
    start..start + Duration::from_micros(rng.log_within(1_000..=3_000_000))
}

fn disk(rng: &mut Rng, rate_bps: u64, rtt: Duration) -> DiskConfig {
    let mut disk = DiskConfig::fast();
    if rng.chance(0.3) {
        let path = rate_bps / 8;
        disk.bytes_per_second = rng.log_within(path / 20..=path * 2);
        let in_flight = (path as f64 * rtt.as_secs_f64()) as u64;
        disk.buffer_bytes = rng.log_within(256 << 10..=(in_flight * 2).max(4 << 20));
        disk.write_bytes = rng.log_within(16 << 10..=1 << 20);
        if rng.chance(0.5) {
            disk.stall = Duration::from_millis(rng.log_within(1..=1000));
            disk.stall_every = Duration::from_millis(rng.within(200..=2000));
        }
    }
    disk
}

fn source(rng: &mut Rng) -> SourceConfig {
    if !rng.chance(0.3) {
        return SourceConfig::ready();
    }
    SourceConfig {
        steps: rng.within(2..=30),
        every: Duration::from_micros(rng.log_within(100..=500_000)),
    }
}
