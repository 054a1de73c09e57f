mod had;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use haul_wire::{BlockAddr, PacketNo, Report, Stream};

use super::Sender;
use crate::{FlowError, Mode, Plan, Policy, RatePolicy, Sample, SenderConfig, Time};

const SEGMENT_LEN: usize = 1_440;
const RATE_BPS: f64 = 1e8;
const MS: Duration = Duration::from_millis(1);

/// A policy that never changes its mind and writes down what it is told.
#[derive(Debug, Default)]
struct Recorder {
    samples: Shared<Sample>,
    silences: Shared<Time>,
}

impl RatePolicy for Recorder {
    fn on_path_change(&mut self, _now: Time) {}

    fn estimates(&self) -> crate::Estimates {
        crate::Estimates::default()
    }

    fn on_sample(&mut self, sample: &Sample) {
        self.samples.lock().unwrap().push(*sample);
    }

    fn on_silence(&mut self, now: Time) {
        self.silences.lock().unwrap().push(now);
    }

    fn rate_bps(&self) -> f64 {
        RATE_BPS
    }

    fn burst_max(&self) -> Duration {
        MS
    }

    fn set_limits(&mut self, _target_bps: Option<f64>, _min_bps: f64, _now: Time) {}

    fn mode(&self) -> Mode {
        Mode::Steady
    }
}

fn config() -> SenderConfig {
    SenderConfig {
        segment_len: SEGMENT_LEN,
        segments_per_batch_max: 45,
        policy: Policy::Fixed,
        rate_target_bps: Some(RATE_BPS as u64),
        rate_min_bps: 0,
        initial_rtt: MS * 10,
        remembered: None,
        free_bytes_initial: 1 << 26,
        carried_bytes: None,
        waits_for_judgement: false,
        ecn: false,
        seed: 7,
    }
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

fn sender(blocks: u64) -> (Sender, Shared<Sample>, Shared<Time>) {
    let mut sender = Sender::new(config(), Time::ZERO).unwrap();
    let recorder = Recorder::default();
    let (samples, silences) = (recorder.samples.clone(), recorder.silences.clone());
    sender.policy = Box::new(recorder);
    sender.handle_available(Stream::Content, blocks);
    (sender, samples, silences)
}

fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

/// Sends all that may be sent now; returns how many packets.
fn send(sender: &mut Sender, now: Time) -> usize {
    let mut packets = 0;
    while let Some(plan) = sender.poll_plan(now) {
        sender.handle_sent(plan.run.first(), plan.run.len(), now);
        packets += plan.run.len();
    }
    packets
}

/// A report that all packets up to `largest` have arrived, that one 10 ms after its sending.
fn report(seq: u32, largest: u64, now: Time) -> Report {
    let arrived_at = now - MS * 5;
    Report {
        seq,
        largest: PacketNo(largest),
        largest_hold_us: 0,
        newest_at_us: arrived_at.as_micros(),
        received_packets: largest + 1,
        received_bytes: (largest + 1) * SEGMENT_LEN as u64,
        free_bytes: 1 << 26,
        span_high: PacketNo(largest),
        ranges: vec![0..=largest],
        samples: vec![(PacketNo(largest), arrived_at.as_micros())],
        ..Report::default()
    }
}

/// The thread that sends lost its processor before it could say so, and a report overtook its word.
#[test]
fn a_packet_left_when_it_left_however_late_that_is_told() {
    let (mut sender, samples, _) = sender(1 << 30);
    let before = sender.poll_plan(at(0)).unwrap().run;
    let told_late = sender.poll_plan(at(1)).unwrap().run;
    sender.handle_sent(before.first(), before.len(), at(0));
    let largest = told_late.first().0 - 1;
    let early = report(1, largest, at(10));
    sender.handle_report(&early, at(10)).unwrap();
    sender.handle_sent(told_late.first(), told_late.len(), at(1));
    let largest = largest + told_late.len() as u64;
    let late = report(2, largest, at(21));
    sender.handle_report(&late, at(21)).unwrap();
    let last = *samples.lock().unwrap().last().unwrap();
    assert_eq!(last.latest_rtt, Some(MS * 20));
    assert_eq!(last.min_owd_ns, Some(15_000_000));
}

#[test]
fn a_sample_tells_whether_the_rate_was_the_limit() {
    let (mut sender, samples, _) = sender(1 << 30);
    let mut sent = 0;
    for ms in 0..200 {
        sent += send(&mut sender, at(ms)) as u64;
        if ms % 10 == 9 {
            let report = report(ms as u32, sent - 1, at(ms));
            sender.handle_report(&report, at(ms)).unwrap();
        }
    }
    let samples = samples.lock().unwrap();
    assert_eq!(samples.len(), 20);
    assert!(samples.iter().all(|sample| !sample.app_limited));
    let last = samples.last().unwrap();
    assert_eq!(last.received_packets, sent);
    assert_eq!(
        (last.largest, last.next_packet),
        (PacketNo(sent - 1), PacketNo(sent))
    );
    assert!(last.min_owd_ns.is_some());
}

#[test]
fn a_sample_tells_whether_the_source_was_the_limit() {
    let (mut sender, samples, _) = sender(0);
    for ms in 1..100 {
        // Half of what the rate would allow.
        sender.handle_available(Stream::Content, ms * 4);
        let sent = send(&mut sender, at(ms));
        if ms % 10 == 9 && sent > 0 {
            let largest = sender.ledger.next() - 1;
            let report = report(ms as u32, largest, at(ms));
            sender.handle_report(&report, at(ms)).unwrap();
        }
    }
    let samples = samples.lock().unwrap();
    assert!(samples.len() > 5);
    assert!(samples.iter().all(|sample| sample.app_limited));
}

#[test]
fn a_sample_tells_whether_credit_was_the_limit() {
    let (mut sender, samples, _) = sender(1 << 30);
    for ms in 0..100 {
        send(&mut sender, at(ms));
        if ms % 10 == 9 {
            let largest = sender.ledger.next() - 1;
            let report = Report {
                free_bytes: 30_000,
                ..report(ms as u32, largest, at(ms))
            };
            sender.handle_report(&report, at(ms)).unwrap();
        }
        let stats = sender.stats();
        if ms > 10 {
            assert!(stats.in_flight_bytes <= stats.credit_bytes, "{stats:?}");
        }
    }
    assert!(
        samples.lock().unwrap()[2..]
            .iter()
            .all(|sample| sample.app_limited)
    );
}

#[test]
fn silence_is_told_to_the_policy_again_and_again_until_sending_stops() {
    let (mut sender, _, silences) = sender(1 << 30);
    let mut now = Time::ZERO;
    while now < at(5_000) {
        sender.handle_timeout(now);
        send(&mut sender, now);
        now += MS;
    }
    let silences = silences.lock().unwrap();
    assert!((at(50)..at(54)).contains(&silences[0]), "{silences:?}");
    assert!(silences.windows(2).all(|two| two[1] - two[0] >= MS * 24));
    assert!(*silences.last().unwrap() <= at(2_010));
}

/// Everything a plan may hold, most urgent first.
#[test]
fn losses_go_before_fresh_blocks_and_the_list_before_content() {
    let (mut sender, _, _) = sender(40);
    send(&mut sender, at(10));
    let mut now = at(10);
    while sender.stats().sent_packets < 40 {
        now += MS;
        send(&mut sender, now);
    }
    sender.handle_available(Stream::List, 5);
    sender.handle_available(Stream::Content, 50);
    let report = Report {
        ranges: vec![35..=39, 0..=9],
        largest_hold_us: 90_000,
        ..report(1, 39, now)
    };
    now += MS * 100;
    sender.handle_report(&report, now).unwrap();
    assert_eq!(sender.stats().lost_packets, 25);
    let mut blocks = Vec::new();
    for _ in 0..10 {
        while let Some(Plan {
            blocks: planned, ..
        }) = sender.poll_plan(now)
        {
            blocks.extend(planned);
        }
        now += MS;
    }
    let mut wanted: Vec<BlockAddr> = (10..35).map(BlockAddr::content).collect();
    wanted.extend((0..5).map(BlockAddr::list));
    wanted.extend((40..50).map(BlockAddr::content));
    assert_eq!(blocks, wanted);
}

#[test]
fn plans_are_handed_out_two_milliseconds_ahead_and_no_further() {
    let (mut sender, _, _) = sender(1 << 30);
    let now = at(100);
    let mut last = Time::ZERO;
    let mut airtime = Duration::ZERO;
    while let Some(plan) = sender.poll_plan(now) {
        assert!(plan.release_at >= last && plan.release_at <= now + MS * 2);
        assert!(plan.gap <= MS, "bursts are bounded by time");
        last = plan.release_at;
        airtime += plan.gap;
    }
    // One burst to make up for the wait, two milliseconds ahead, and the last begun.
    assert!((MS * 3..=MS * 4).contains(&airtime), "{airtime:?}");
    let wake = sender.poll_timeout().unwrap();
    assert!(wake > now && wake <= now + MS * 2, "{wake:?}");
    assert!(sender.poll_plan(wake).is_some());
}

#[test]
fn plans_that_never_leave_hold_back_further_ones() {
    let (mut sender, _, _) = sender(1 << 30);
    let mut planned = Duration::ZERO;
    for ms in 0..1_000 {
        while let Some(plan) = sender.poll_plan(at(ms)) {
            planned += plan.gap;
        }
    }
    assert!(planned <= MS * 22, "{planned:?}");
}

#[test]
fn limits_and_policy_change_while_it_runs() {
    let mut sender = Sender::new(config(), Time::ZERO).unwrap();
    sender.set_rate(Some(5_000_000), 0, at(1));
    assert_eq!(sender.stats().rate_bps, 5e6);
    sender.set_rate(None, 0, at(2));
    assert_eq!(sender.stats().rate_bps, 5e6, "fixed keeps its rate");
    sender.set_policy(Policy::High, at(3)).unwrap();
    assert_eq!(sender.stats().policy, Policy::High);
    assert_eq!(sender.stats().rate_bps, 5e6, "begins with what is known");
    sender.set_policy(Policy::Fair, at(4)).unwrap();
    assert_eq!(sender.stats().policy, Policy::Fair);
    sender.set_rate(None, 0, at(5));
    let refused = sender.set_policy(Policy::Fixed, at(6));
    assert_eq!(refused, Err(FlowError::RateRequired));
}

#[test]
fn impossible_configurations_are_refused() {
    let broken = [
        SenderConfig {
            segment_len: 40,
            ..config()
        },
        SenderConfig {
            segments_per_batch_max: 0,
            ..config()
        },
        SenderConfig {
            segments_per_batch_max: 65,
            ..config()
        },
        SenderConfig {
            rate_target_bps: Some(0),
            ..config()
        },
    ];
    for config in broken {
        let made = Sender::new(config, Time::ZERO);
        assert!(matches!(made, Err(FlowError::Config(_))), "{config:?}");
    }
}

/// A rate that was low for a moment must not hold up what leaves once it has risen again.
#[test]
fn a_slow_moment_leaves_no_long_gap() {
    let rates = [10_000, 100_000_000];
    let mut now = Time::ZERO;
    let mut sender = Sender::new(config(), now).unwrap();
    sender.handle_available(Stream::Content, 1 << 30);
    for rate in rates.iter().cycle().take(20) {
        sender.set_rate(Some(*rate), 0, now);
        for _ in 0..200 {
            sender.handle_timeout(now);
            while let Some(plan) = sender.poll_plan(now) {
                assert!(plan.gap <= MS * 2, "{:?} at {now:?}", plan.gap);
                sender.handle_sent(plan.run.first(), plan.run.len(), now);
            }
            now += MS;
        }
    }
    assert!(sender.stats().pto_count > 0, "probes were among them");
}

/// A sending stage that sleeps finds the same two probes when it wakes, not two more per time-out.
#[test]
fn no_further_probes_are_planned_before_the_planned_packets_have_left() {
    let (mut sender, _, _) = sender(100);
    let mut now = at(10);
    while send(&mut sender, now) > 0 || sender.stats().sent_packets < 100 {
        now += MS;
    }
    let mut planned = Vec::new();
    while now < at(1_500) {
        sender.handle_timeout(now);
        while let Some(plan) = sender.poll_plan(now) {
            planned.push(plan);
        }
        while sender.poll_sync(now).is_some() {}
        while sender.poll_probe(now).is_some() {}
        assert!(sender.poll_timeout().unwrap() > now, "no timer spins");
        now += MS;
    }
    assert_eq!((planned.len(), planned[0].run.len()), (1, 2));
    sender.handle_sent(planned[0].run.first(), 2, now);
    let before = sender.stats().pto_count;
    while now < at(2_900) {
        sender.handle_timeout(now);
        send(&mut sender, now);
        now += MS;
    }
    assert!(sender.stats().pto_count > before);
}

#[test]
fn what_a_connection_carries_is_bounded_and_unpaced_until_the_path_changes() {
    let carried = SenderConfig {
        policy: Policy::Fair,
        rate_target_bps: None,
        carried_bytes: Some(200_000),
        ..config()
    };
    let mut sender = Sender::new(carried, Time::ZERO).unwrap();
    sender.handle_available(Stream::Content, 1 << 30);
    for ms in 0..10 {
        send(&mut sender, at(ms));
    }
    let stats = sender.stats();
    let segment_len = SEGMENT_LEN as u64;
    assert!(stats.in_flight_bytes <= 200_000, "{stats:?}");
    assert!(
        stats.in_flight_bytes + segment_len > 200_000,
        "the window is not used: {stats:?}"
    );
    assert!(sender.rate_bps() > 1e10);
    // A target of the user's is kept to, and a policy asked for waits for its time.
    sender.set_rate(Some(50_000_000), 0, at(10));
    assert!((sender.rate_bps() - 5e7).abs() < 1.0);
    sender.set_rate(None, 0, at(10));
    sender.set_policy(Policy::Low, at(10)).unwrap();
    assert!(sender.rate_bps() > 1e10);

    sender.handle_path_change(at(11));
    assert!(sender.rate_bps() < 1e10, "{}", sender.rate_bps());
    assert!(sender.stats().credit_bytes > 200_000);
}
