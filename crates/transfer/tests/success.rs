//! Transfers that succeed: every suite, both directions, both families.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use haul_transfer::{Direction, ErrorCode, Event, Measure, Policy, Resume, SuiteId};
use pair::{Case, Ended, LOCALHOST, LOCALHOST_6, tree};

const BOTH: [Direction; 2] = [Direction::Upload, Direction::Download];
const BIG: usize = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_nasty_tree_arrives_whole_with_every_suite_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    tree::make_nasty(&source);
    let expected = tree::describe(&source);
    for direction in BOTH {
        for suite in SuiteId::ALL {
            let destination = dir.path().join(format!("{direction:?}-{suite}"));
            fs::create_dir(&destination).unwrap();
            let mut case = Case::new(direction, &source, &destination);
            case.job.options.suites = vec![suite];
            let (ours, theirs) = case.run().await.succeeded();
            assert_eq!((ours.suite, theirs.suite), (suite, suite));
            assert_eq!((ours.files, ours.bytes), (theirs.files, theirs.bytes));
            assert_eq!(ours.files, 209, "{ours:?}");
            assert_eq!(
                tree::describe(&destination.join("source")),
                expected,
                "{direction:?} {suite}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_arrives_both_ways_over_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("big");
    let content = tree::noise(9, BIG);
    fs::write(&source, &content).unwrap();
    for direction in BOTH {
        for ip in [LOCALHOST, LOCALHOST_6] {
            let destination = dir.path().join(format!("{direction:?}"));
            let case = Case::new(direction, &source, &destination);
            let case = if ip == LOCALHOST_6 { case.ipv6() } else { case };
            let ended = case.run().await;
            check_events(&ended, direction);
            let (summary, _) = ended.succeeded();
            assert_eq!(
                (summary.bytes, summary.files, summary.failed),
                (BIG as u64, 1, 0)
            );
            assert!(summary.udp_bytes > BIG as u64, "{summary:?}");
            assert!(summary.goodput_bps > 0 && summary.data_seconds <= summary.seconds);
            assert!(
                summary.control_bytes > 200 && summary.control_bytes < 20_000,
                "{summary:?}"
            );
            assert!(
                fs::read(&destination).unwrap() == content,
                "{direction:?} {ip}"
            );
            fs::remove_file(&destination).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_goes_to_memory_for_a_time_or_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let size = 30_000_001;
    for direction in BOTH {
        for measure in [Measure::Bytes(size), Measure::Millis(700)] {
            let mut case = Case::new(direction, dir.path(), dir.path());
            case.job.sources.clear();
            case.job.destination.clear();
            case.job.measure = Some(measure);
            let ended = case.run().await;
            let last = ended.events.iter().rev().find_map(|event| match event {
                Event::Progress(progress) => Some(progress.clone()),
                _ => None,
            });
            let (ours, theirs) = ended.succeeded();
            assert!(ours.is_measurement && theirs.is_measurement);
            assert_eq!((ours.files, ours.failed), (0, 0));
            assert_eq!(ours.bytes, theirs.bytes);
            assert_eq!(last.unwrap().bytes, ours.bytes, "{direction:?} {measure:?}");
            match measure {
                Measure::Bytes(bytes) => assert_eq!(ours.bytes, bytes),
                Measure::Millis(_) => assert!(
                    (0.6..5.0).contains(&ours.data_seconds) && ours.bytes > 1 << 20,
                    "{ours:?}"
                ),
            }
            for host in [&ours.here, &ours.there] {
                assert!(
                    !host.cpu.is_zero() && host.recv_buffer_bytes > 0,
                    "{host:?}"
                );
                assert!(host.busiest.1 > 0.0 && host.busiest.1 <= 1.0, "{host:?}");
            }
            assert!(ours.min_rtt_ms > 0.0 && ours.min_rtt_ms <= ours.rtt_ms * 1.001);
        }
    }
    assert_eq!(
        dir.path().read_dir().unwrap().count(),
        0,
        "nothing is written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_and_their_directions_may_be_forbidden() {
    for (direction, forbid) in [
        (Direction::Upload, 0),
        (Direction::Upload, 1),
        (Direction::Download, 2),
    ] {
        let mut case = Case::new(direction, "/".as_ref(), "/".as_ref());
        case.job.sources.clear();
        case.job.destination.clear();
        case.job.measure = Some(Measure::Millis(100));
        case.setup.allow_measure = forbid != 0;
        case.setup.allow_upload = forbid != 1;
        case.setup.allow_download = forbid != 2;
        let (ours, _) = case.run().await.failed();
        assert_eq!(ours.code(), ErrorCode::NotPermitted, "{forbid}: {ours}");
    }
}

/// One session event first, then progress that never goes back and ends at the whole.
fn check_events(ended: &Ended, direction: Direction) {
    let Some(Event::Session(facts)) = ended.events.first() else {
        panic!("the session comes first: {:?}", ended.events.first());
    };
    assert_eq!(facts.direction, direction);
    assert!(
        facts.segment_len > 8000,
        "loopback carries jumbo datagrams: {facts:?}"
    );
    let progress: Vec<_> = ended
        .events
        .iter()
        .filter_map(|event| {
            if let Event::Progress(p) = event {
                Some(p)
            } else {
                None
            }
        })
        .collect();
    assert!(progress.is_sorted_by_key(|p| p.bytes), "{progress:?}");
    let last = progress.last().expect("there is progress");
    assert_eq!(
        (last.bytes, last.bytes_total, last.scanned),
        (BIG as u64, BIG as u64, true)
    );
    let line = ended.events.iter().find_map(|event| match event {
        Event::Line(line) => Some(line),
        _ => None,
    });
    let line = line.expect("how the line ran is told");
    assert_eq!(line.segment_len, facts.segment_len);
    assert!(line.packet_len > line.segment_len, "{line:?}");
    assert!(line.send_buffer_bytes > 0 && line.recv_buffer_bytes > 0);
    assert_eq!(line.stages.len(), 3, "{line:?}");
    let mut loads = line.stages.iter().map(|stage| stage.load());
    assert!(loads.all(|load| load > 0.0 && load <= 1.0), "{line:?}");
    let files = ended
        .events
        .iter()
        .filter(|event| matches!(event, Event::File(_)))
        .count();
    assert_eq!(files, usize::from(direction == Direction::Download));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_rate_and_a_ceiling_reach_the_flow() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("file");
    fs::write(&source, tree::noise(5, 400_000)).unwrap();
    let rate = 20_000_000;
    // Once asked for, once imposed by the responder.
    for (direction, asked, ceiling) in [
        (Direction::Upload, rate, None),
        (Direction::Upload, 900_000_000, Some(rate)),
        (Direction::Download, 900_000_000, Some(rate)),
    ] {
        let destination = dir.path().join("copy");
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(asked);
        case.job.options.resume = Resume::Never;
        case.setup.rate_max_bps = ceiling;
        let ended = case.run().await;
        let (mut in_force, mut rates) = (Vec::new(), Vec::new());
        for event in &ended.events {
            match event {
                Event::Limits(told) => in_force.push((told.asked.target_bps, told.ceiling_bps)),
                // A receiver shows none until the sender has told.
                Event::Progress(now) if now.rate_bps > 0 => rates.push(now.rate_bps),
                _ => {}
            }
        }
        assert_eq!(in_force, [(Some(asked), ceiling)], "{direction:?}");
        // Where a machine has no time for datagrams, the policy goes below the rate.
        assert_eq!(rates.iter().max(), Some(&rate), "{direction:?}: {rates:?}");
        ended.succeeded();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sources_and_patterns_land_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("in");
    let destination = dir.path().join("out/new");
    fs::create_dir(&source).unwrap();
    for name in ["a.txt", "b.txt", "c.bin"] {
        fs::write(source.join(name), name).unwrap();
    }
    let mut case = Case::new(Direction::Download, &source, &destination);
    case.setup.home = source.clone();
    case.job.sources = vec![b"*.txt".to_vec(), b"~/c.bin".to_vec()];
    case.job.options.placing.create_dir = true;
    let (summary, _) = case.run().await.succeeded();
    assert_eq!(summary.files, 3);
    assert_eq!(tree::names(&destination).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_an_empty_directory_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("in");
    fs::create_dir(&source).unwrap();
    for direction in BOTH {
        let destination = dir.path().join(format!("{direction:?}"));
        fs::create_dir(&destination).unwrap();
        let (summary, _) = Case::new(direction, &source, &destination)
            .run()
            .await
            .succeeded();
        assert_eq!((summary.files, summary.bytes), (0, 0));
        assert!(destination.join("in").is_dir());
    }
    fs::write(source.join("empty"), b"").unwrap();
    for direction in BOTH {
        let destination = dir.path().join(format!("{direction:?}/empty"));
        let source = source.join("empty");
        let (summary, _) = Case::new(direction, &source, &destination)
            .run()
            .await
            .succeeded();
        assert_eq!((summary.files, summary.bytes), (1, 0));
    }
}
