//! Reports of a receiver that holds the keys but means no good.
//!
//! Input: policy (1 byte), then any number of: microseconds to wait (3), length (2), report.

use std::time::Duration;

use haul_flow::{Policy, Sender, SenderConfig, Time};
use haul_wire::{Report, Stream};

use super::bytes::Bytes;

/// Content blocks there are to send.
const BLOCKS: u64 = 300;
/// Most bytes a datagram can bring.
const BODY_LEN_MAX: usize = 65_536;

/// A report that decodes is what decoding its encoding gives; a sender survives it, whatever it
/// makes of it.
pub fn check(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let is_fixed = bytes.number(1) % 2 == 1;
    let mut now = Time::ZERO;
    let mut sender = sender(if is_fixed {
        Policy::Fixed
    } else {
        Policy::Fair
    });
    let mut all_decoded = !bytes.is_empty();
    let mut is_alive = true;
    while !bytes.is_empty() {
        now += Duration::from_micros(bytes.number(3));
        drive(&mut sender, now);
        let len = bytes.number(2) as usize;
        let Ok(report) = Report::decode(bytes.take(len)) else {
            all_decoded = false;
            continue;
        };
        survives(&report);
        is_alive = is_alive && sender.handle_report(&report, now).is_ok();
        if is_alive {
            drive(&mut sender, now);
        }
    }
    all_decoded
}

fn survives(report: &Report) {
    let mut out = [0; BODY_LEN_MAX];
    let len = report
        .encode(&mut out)
        .expect("no longer than what it was decoded from");
    assert_eq!(Report::decode(&out[..len]).as_ref(), Ok(report));
}

fn sender(policy: Policy) -> Sender {
    let config = SenderConfig {
        segment_len: 1_432,
        segments_per_batch_max: 16,
        policy,
        rate_target_bps: Some(100_000_000),
        rate_min_bps: 0,
        initial_rtt: Duration::from_millis(40),
        remembered: None,
        free_bytes_initial: 1 << 20,
        carried_bytes: None,
        waits_for_judgement: false,
        ecn: true,
        seed: 1,
    };
    let mut sender = Sender::new(config, Time::ZERO).expect("a sound configuration");
    sender.handle_available(Stream::List, 2);
    sender.handle_available(Stream::Content, BLOCKS);
    sender.handle_complete();
    sender
}

/// Does what is due and looks at the facts.
fn drive(sender: &mut Sender, now: Time) {
    if sender.poll_timeout().is_some_and(|due| due <= now) {
        sender.handle_timeout(now);
    }
    let mut plans = 0;
    while sender.poll_probe(now).is_some() {}
    while let Some(plan) = sender.poll_plan(now) {
        sender.handle_sent(plan.run.first(), plan.run.len(), now);
        plans += 1;
        assert!(plans < 10_000, "plans without end");
    }
    let mut syncs = 0;
    while sender.poll_sync(now).is_some() {
        syncs += 1;
        assert!(syncs < 100, "synchronisations without end");
    }
    let stats = sender.stats();
    assert!(
        stats.rate_bps.is_finite() && stats.rate_bps > 0.0,
        "{stats:?}"
    );
    assert!((0.0..=1.0).contains(&stats.loss), "{stats:?}");
    assert!(stats.delivered_blocks <= BLOCKS + 2, "{stats:?}");
    assert!(stats.in_flight_bytes <= stats.sent_bytes, "{stats:?}");
}
