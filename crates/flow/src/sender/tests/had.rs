//! A receiver that has some of the content already.

use super::*;

/// A sender whose receiver will say what it has.
fn waiting(list: u64, blocks: u64) -> (Sender, Shared<Sample>, Shared<Time>) {
    let waits = SenderConfig {
        waits_for_judgement: true,
        ..config()
    };
    let mut sender = Sender::new(waits, Time::ZERO).unwrap();
    let recorder = Recorder::default();
    let (samples, silences) = (recorder.samples.clone(), recorder.silences.clone());
    sender.policy = Box::new(recorder);
    sender.handle_available(Stream::List, list);
    sender.handle_available(Stream::Content, blocks);
    sender.handle_complete();
    (sender, samples, silences)
}

/// Sends all that is to be sent, at the rate; returns the blocks and when nothing was left.
fn send_all(sender: &mut Sender, mut now: Time) -> (Vec<BlockAddr>, Time) {
    let mut blocks = Vec::new();
    for _ in 0..20 {
        now += MS;
        while let Some(plan) = sender.poll_plan(now) {
            sender.handle_sent(plan.run.first(), plan.run.len(), now);
            blocks.extend(plan.blocks);
        }
    }
    (blocks, now)
}

/// Polls for everything while there is no block to be sent.
fn poll_idle(sender: &mut Sender, now: Time) {
    assert!(sender.poll_plan(now).is_none());
    while sender.poll_sync(now).is_some() {}
    while sender.poll_probe(now).is_some() {}
}

fn content(blocks: impl IntoIterator<Item = u64>) -> Vec<BlockAddr> {
    blocks.into_iter().map(BlockAddr::content).collect()
}

/// The receiver reads for minutes what it has, and says meanwhile that it lives.
#[test]
fn waiting_for_judgement_is_neither_silence_nor_a_spinning_timer() {
    let (mut sender, samples, silences) = waiting(3, 100);
    let (list, mut now) = send_all(&mut sender, Time::ZERO);
    assert_eq!(list, [0, 1, 2].map(BlockAddr::list));
    sender.handle_report(&report(1, 2, now), now).unwrap();
    assert!(sender.poll_sync(now).is_some(), "the run has ended");
    let mut wakes = 0;
    for second in 1..300 {
        let told_at = now + MS * 1_000;
        while let Some(wake) = sender.poll_timeout().filter(|wake| *wake < told_at) {
            assert!(wake > now, "spins at {now:?}");
            now = wake;
            sender.handle_timeout(now);
            poll_idle(&mut sender, now);
            wakes += 1;
        }
        now = told_at;
        let keep_alive = report(1 + second, 2, at(10));
        sender.handle_report(&keep_alive, now).unwrap();
        poll_idle(&mut sender, now);
    }
    assert!(wakes < 600, "{wakes}");
    assert_eq!((sender.failure(), sender.stats().pto_count), (None, 0));
    assert!(silences.lock().unwrap().is_empty());
    samples.lock().unwrap().clear();

    sender.handle_had(&[(10, 90)], 95, now);
    assert!(sender.poll_timeout().unwrap() <= now, "there is work");
    let (blocks, now) = send_all(&mut sender, now);
    assert_eq!(blocks, content((0..10).chain(90..95)));
    let late = report(1_000, 17, now);
    sender.handle_report(&late, now).unwrap();
    let samples = samples.lock().unwrap();
    assert!(samples.len() == 1 && samples[0].app_limited);
    assert_eq!(
        samples[0].received_packets, 18,
        "what came, not what was had"
    );
}

#[test]
fn what_was_had_is_no_delivery() {
    let (mut sender, _, _) = waiting(1, 50);
    sender.handle_had(&[(0, 20), (40, 60)], 50, at(5));
    let (blocks, now) = send_all(&mut sender, at(5));
    assert_eq!(blocks.len(), 1 + 20);
    sender.handle_had(&[(20, 25)], 0, now);
    let stats = sender.stats();
    assert_eq!((stats.had_blocks, stats.delivered_blocks), (30, 5));
    assert_eq!(stats.in_flight_bytes, 21 * SEGMENT_LEN as u64);
    sender.handle_report(&report(1, 20, now), now).unwrap();
    let stats = sender.stats();
    assert_eq!((stats.had_blocks, stats.delivered_blocks), (30, 21));
    assert_eq!(stats.had_bytes * 21, stats.delivered_bytes * 30);
    assert_eq!((stats.lost_packets, stats.spurious_losses), (0, 0));
    assert!(sender.is_delivered());
}

#[test]
fn a_receiver_that_has_everything_gets_the_list_alone() {
    let (mut sender, _, _) = waiting(2, 600_000_000);
    let (list, now) = send_all(&mut sender, Time::ZERO);
    assert_eq!(list.len(), 2);
    sender.handle_had(&[(0, 600_000_000)], 600_000_000, now);
    assert_eq!(sender.delivered_floor(Stream::Content).0, 600_000_000);
    assert!(!sender.is_delivered(), "of the list nothing is known");
    assert!(sender.poll_plan(now).is_none());
    sender.handle_report(&report(1, 1, now), now).unwrap();
    assert!(sender.is_delivered());
    let stats = sender.stats();
    assert_eq!((stats.had_blocks, stats.delivered_blocks), (600_000_000, 2));
}

#[test]
fn without_the_flag_nothing_is_held_back() {
    let (mut sender, _, _) = sender(30);
    sender.handle_had(&[(5, 25)], 0, at(1));
    let (blocks, _) = send_all(&mut sender, at(1));
    assert_eq!(blocks, content((0..5).chain(25..30)));
}

/// The report that two packets of three are lost, and their blocks turn out to be there.
#[test]
fn what_is_queued_or_a_probe_is_not_sent_once_it_is_known_to_be_there() {
    let (mut sender, _, _) = sender(30);
    let (_, now) = send_all(&mut sender, at(1));
    let now = now + MS * 100;
    let gaps = Report {
        ranges: vec![20..=29, 0..=9],
        largest_hold_us: 90_000,
        ..report(1, 29, now)
    };
    sender.handle_report(&gaps, now).unwrap();
    assert_eq!(sender.stats().lost_packets, 10);
    sender.handle_had(&[(10, 19)], 0, now);
    let plan = sender.poll_plan(now).unwrap();
    assert_eq!(plan.blocks[..], [BlockAddr::content(19)]);
    sender.handle_sent(plan.run.first(), 1, now);
    // Nothing comes of it: probes are chosen, and then not needed.
    let now = now + MS * 1_500;
    sender.handle_timeout(now);
    assert_eq!(sender.stats().pto_count, 1);
    sender.handle_had(&[(19, 20)], 0, now);
    assert!(sender.poll_plan(now).is_none());
    sender.handle_available(Stream::Content, 31);
    let plan = sender.poll_plan(now).unwrap();
    assert_eq!(plan.blocks[..], [BlockAddr::content(30)]);
}

/// No packet arrives, and none need arrive: the next blocks are sent all the same.
#[test]
fn what_is_there_anyway_is_not_waited_for() {
    let (mut sender, _, silences) = sender(25);
    let (_, mut now) = send_all(&mut sender, at(1));
    sender.handle_available(Stream::Content, 30);
    let last = sender.poll_plan(now).unwrap();
    sender.handle_had(&[(0, 30)], 0, now);
    sender.handle_sent(last.run.first(), last.run.len(), now);
    let told_at = now;
    while now < told_at + MS * 20_000 {
        now += MS * 100;
        sender.handle_timeout(now);
        assert!(sender.poll_plan(now).is_none());
    }
    assert_eq!((sender.failure(), sender.stats().pto_count), (None, 0));
    assert!(silences.lock().unwrap().is_empty());
    sender.handle_available(Stream::Content, 60);
    let (blocks, _) = send_all(&mut sender, now);
    assert_eq!(blocks, content(30..60));
}

/// The packets of missing blocks are among those of blocks that are there.
#[test]
fn probes_are_of_what_is_missing() {
    let (mut sender, _, _) = sender(30);
    let (_, now) = send_all(&mut sender, at(1));
    sender.handle_had(&[(0, 10), (11, 20), (21, 30)], 0, now);
    let now = now + MS * 1_500;
    sender.handle_timeout(now);
    let plan = sender.poll_plan(now).unwrap();
    assert_eq!(plan.blocks[..], content([10, 20]));
}
