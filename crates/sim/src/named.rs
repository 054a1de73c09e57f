//! Scenarios with a name: what everybody asks of a transfer, one by one.

use std::time::Duration;

use haul_flow::{Policy, Time};

use crate::{
    link::LinkConfig,
    loss::Loss,
    scenario::{Expect, Scenario},
    source::SourceConfig,
};

const MEGABIT: u64 = 1_000_000;

/// The scenarios with a name, under the policy. Names are unique.
pub fn all(policy: Policy) -> Vec<Scenario> {
    let mut all = losses(policy);
    all.extend(disorder(policy));
    all.extend(silences(policy));
    all.extend(hosts(policy));
    all.extend(tiny(policy));
    all.extend(paths(policy));
    for scenario in &mut all {
        scenario.name = format!("{policy}/{}", scenario.name);
    }
    all
}

/// The path most scenarios share: 100 Mbit/s, 50 ms, three seconds of data.
fn usual(policy: Policy, name: &str) -> Scenario {
    let rtt = Duration::from_millis(50);
    Scenario {
        name: name.to_owned(),
        ..Scenario::clean(policy, 100 * MEGABIT, rtt, 26_000)
    }
}

fn forward(policy: Policy, name: &str, change: impl FnOnce(&mut LinkConfig)) -> Scenario {
    let mut scenario = usual(policy, name);
    change(&mut scenario.forward);
    scenario
}

fn losses(policy: Policy) -> Vec<Scenario> {
    let random = |name: &str, share: f64| {
        let mut scenario = forward(policy, name, |link| link.loss = Loss::Random(share));
        scenario.content.list_blocks = 100;
        scenario
    };
    let bursts = Loss::Bursty {
        enter: 0.001,
        leave: 0.02,
        in_bad: 1.0,
    };
    vec![
        random("loss 0 %", 0.0),
        random("loss 1 %", 0.01),
        random("loss 5 %", 0.05),
        random("loss 10 %", 0.1),
        random("loss 30 %", 0.3),
        forward(policy, "bursts of 50", |link| link.loss = bursts),
    ]
}

fn disorder(policy: Policy) -> Vec<Scenario> {
    let mut reports = usual(policy, "reports lost at 50 %");
    reports.reverse.loss = Loss::Random(0.5);
    vec![
        forward(policy, "duplication 30 %", |link| link.duplicate = 0.3),
        forward(policy, "reordering by 1000", |link| {
            link.reorder = 0.05;
            link.reorder_packets = 1000;
        }),
        forward(policy, "jitter 20 ms", |link| {
            link.jitter = Duration::from_millis(20)
        }),
        forward(policy, "everything at once", |link| {
            link.loss = Loss::Random(0.2);
            link.duplicate = 0.3;
            link.corrupt = 0.02;
            link.reorder = 0.05;
            link.reorder_packets = 200;
        }),
        reports,
    ]
}

fn silences(policy: Policy) -> Vec<Scenario> {
    let second = Time(1_000_000_000);
    let mut back = usual(policy, "black-hole 1 s back");
    back.reverse.holes = vec![second..second + Duration::from_secs(1)];
    let mut for_ever = forward(policy, "black-hole for ever", |link| {
        link.holes = vec![second..Time(u64::MAX)];
    });
    for_ever.reverse.holes = vec![second..Time(u64::MAX)];
    for_ever.expect = Expect::Silence;
    let mut from_the_start = usual(policy, "never heard");
    from_the_start.reverse.holes = vec![Time::ZERO..Time(u64::MAX)];
    from_the_start.expect = Expect::Silence;
    let mut unheard = forward(policy, "heard but not hearing", |link| {
        link.holes = vec![second..Time(u64::MAX)];
    });
    unheard.expect = Expect::Blocked;
    vec![
        unheard,
        forward(policy, "black-hole 1 s out", |link| {
            link.holes = vec![second..second + Duration::from_secs(1)];
        }),
        back,
        for_ever,
        from_the_start,
    ]
}

fn hosts(policy: Policy) -> Vec<Scenario> {
    let rtt = Duration::from_millis(20);
    let mut slow = Scenario::clean(policy, 1000 * MEGABIT, rtt, 6_000);
    slow.name = String::from("disk 1 MB/s behind 1 Gbit/s");
    slow.disk.bytes_per_second = MEGABIT;
    slow.disk.buffer_bytes = 4 << 20;
    slow.disk.write_bytes = 128 << 10;
    let mut stalling = usual(policy, "disk stalls");
    stalling.disk.buffer_bytes = 2 << 20;
    stalling.disk.stall = Duration::from_millis(400);
    stalling.disk.stall_every = Duration::from_millis(600);
    let mut late = usual(policy, "host late by 5 ms");
    late.lateness_max = Duration::from_millis(5);
    let mut steps = usual(policy, "source in steps");
    steps.content.content_blocks = 8_000;
    steps.source = SourceConfig {
        steps: 20,
        every: Duration::from_millis(150),
    };
    let mut all = vec![slow, stalling, late, steps];
    all.extend(small_buffers(policy));
    all
}

/// Receivers whose buffer holds a fiftieth of what the path does, 256 KiB of 12 MB: full rate needs
/// more in flight than would fit, which is fine only as long as the disk keeps up.
fn small_buffers(policy: Policy) -> Vec<Scenario> {
    let small = |disk: &str, bytes_per_second: u64, blocks: u64| {
        let rtt = Duration::from_millis(100);
        let mut scenario = Scenario::clean(policy, 1000 * MEGABIT, rtt, blocks);
        scenario.name = format!("small buffer, {disk}");
        scenario.disk.bytes_per_second = bytes_per_second;
        scenario.disk.buffer_bytes = 256 << 10;
        scenario.disk.write_bytes = 64 << 10;
        scenario
    };
    vec![
        small("instant disk", 4 << 30, 250_000),
        small("disk barely faster than the path", 130 * MEGABIT, 250_000),
        small("disk at 40 % of the path", 50 * MEGABIT, 60_000),
        small("disk at 4 % of the path", 5 * MEGABIT, 20_000),
    ]
}

fn tiny(policy: Policy) -> Vec<Scenario> {
    let sized = |name: &str, blocks: u64| {
        let mut scenario = usual(policy, name);
        scenario.content.content_blocks = blocks;
        scenario
    };
    let mut list_only = sized("list only", 0);
    list_only.content.list_blocks = 1;
    let mut all = vec![sized("no block", 0), sized("one block", 1), list_only];
    all.extend([1, 2, 5].map(|times| {
        let mut scenario = sized(&format!("last block lost {times} times"), 200);
        scenario.lose_last_block = times;
        scenario
    }));
    all
}

fn paths(policy: Policy) -> Vec<Scenario> {
    let path = |name: &str, rate_bps: u64, rtt_ms: u64, blocks: u64| Scenario {
        name: name.to_owned(),
        ..Scenario::clean(policy, rate_bps, Duration::from_millis(rtt_ms), blocks)
    };
    let mut shallow = path("shallow queue", 100 * MEGABIT, 50, 26_000);
    shallow.forward.queue_bytes = 64 << 10;
    let mut jumbo = path("jumbo 1 Gbit/s, 10 ms", 1000 * MEGABIT, 10, 20_000);
    jumbo.datagram_len = 8952;
    let mut lossy = path("satellite with 2 % loss", 10 * MEGABIT, 600, 6_000);
    lossy.forward.loss = Loss::Random(0.02);
    vec![
        path("long fat 1 Gbit/s, 200 ms", 1000 * MEGABIT, 200, 130_000),
        path("satellite 10 Mbit/s, 600 ms", 10 * MEGABIT, 600, 6_000),
        lossy,
        shallow,
        jumbo,
    ]
}
