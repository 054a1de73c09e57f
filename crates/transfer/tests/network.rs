//! Transfers over a network that misbehaves, or goes dead.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    time::{Duration, Instant},
};

use haul_transfer::{Direction, ErrorCode, Limits, Policy, TransferError, UdpDirection};
use pair::{
    BOTH, CALM, Case, place,
    proxy::{Proxy, Way, Weather},
};
use tokio::{io::duplex, sync::watch};

#[tokio::test(flavor = "multi_thread")]
async fn w30_a_bad_network_delays_but_alters_nothing() {
    let (_dir, source, destination) = place(6_000_000);
    let weather = Weather {
        loss: 20,
        repeat: 30,
        reorder: 20,
        damage: 2,
    };
    for (seed, direction) in BOTH.into_iter().enumerate() {
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(40_000_000);
        let _proxy = Proxy::between(&mut case, weather, seed as u64);
        let (summary, _) = case.run().await.succeeded();
        assert!(
            fs::read(&source).unwrap() == fs::read(&destination).unwrap(),
            "{direction:?}"
        );
        assert!(summary.retransmitted_bytes > 500_000, "{summary:?}");
        assert!((0.05..0.5).contains(&summary.loss), "{summary:?}");
        fs::remove_file(&destination).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w27_a_closed_direction_is_named_within_fifteen_seconds() {
    let (_dir, source, destination) = place(100);
    let began = Instant::now();
    let mut both = Vec::new();
    for (way, expected) in [
        (Way::Up, UdpDirection::ToServer),
        (Way::Down, UdpDirection::ToClient),
    ] {
        let mut case = Case::new(Direction::Upload, &source, &destination);
        case.job.options.fallback = false;
        let proxy = Proxy::between(&mut case, CALM, 1);
        proxy.kill(way);
        both.push((proxy, case.start(), expected));
    }
    for (_proxy, under, expected) in both {
        let (ours, theirs) = under.end().await.failed();
        let TransferError::UdpClosed { direction, .. } = ours else {
            panic!("{ours}");
        };
        assert_eq!(direction, expected);
        assert_eq!(theirs.code(), ErrorCode::UdpClosed, "{theirs}");
    }
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// The silences that end a running transfer, all at once because each takes its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_goes_dead_ends_with_its_direction() {
    let (dir, source, _) = place(64 << 20);
    let mut running = Vec::new();
    for (index, (direction, way)) in [
        (Direction::Upload, Way::Up),
        (Direction::Upload, Way::Down),
        (Direction::Download, Way::Up),
        (Direction::Download, Way::Down),
    ]
    .into_iter()
    .enumerate()
    {
        let mut case = Case::new(
            direction,
            &source,
            &dir.path().join(format!("landed-{index}")),
        );
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(8_000_000);
        let proxy = Proxy::between(&mut case, CALM, 1);
        let mut under = case.start();
        under.until_bytes(100_000).await;
        proxy.kill(way);
        running.push((proxy, under, direction, way));
    }
    for (_proxy, under, direction, way) in running {
        let (ours, theirs) = under.end().await.failed();
        let expected = match way {
            Way::Up => "client to server",
            Way::Down => "server to client",
        };
        for error in [ours, theirs] {
            assert_eq!(
                error.code(),
                ErrorCode::PathFailed,
                "{direction:?} {way:?}: {error}"
            );
            assert!(
                error.to_string().contains(expected),
                "{direction:?} {way:?}: {error}"
            );
        }
    }
}

/// Neither end of the control channel sees it close, and no datagram comes: only the clock tells.
#[tokio::test(flavor = "multi_thread")]
async fn silence_everywhere_counts_as_lost() {
    let (_dir, source, destination) = place(64 << 20);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.job.options.policy = Policy::Fixed;
    case.job.options.rate_target_bps = Some(8_000_000);
    let proxy = Proxy::between(&mut case, CALM, 1);
    let (near, mut near_middle) = duplex(64 * 1024);
    let (far, mut far_middle) = duplex(64 * 1024);
    let (cut, mut is_cut) = watch::channel(false);
    let wire = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near_middle, &mut far_middle) => {}
            _ = is_cut.changed() => {}
        }
        // Held open, silent, until the test is over.
        (near_middle, far_middle)
    });
    let mut under = case.start_over(near, far);
    under.until_bytes(100_000).await;
    proxy.kill(Way::Up);
    proxy.kill(Way::Down);
    cut.send(true).unwrap();
    let began = Instant::now();
    let (ours, theirs) = under.end().await.failed();
    for error in [ours, theirs] {
        assert_eq!(error.code(), ErrorCode::ConnectionLost, "{error}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    drop(wire.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_can_be_changed_while_data_flows() {
    let (_dir, source, destination) = place(16 << 20);
    for direction in BOTH {
        let slow = Limits {
            policy: Policy::Fixed,
            target_bps: Some(400_000),
            min_bps: 0,
        };
        let (limits, limit_changes) = watch::channel(slow);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = slow.target_bps;
        case.job.options.limit_changes = Some(limit_changes);
        let mut under = case.start();
        under.until_bytes(20_000).await;
        limits
            .send(Limits {
                policy: Policy::Fixed,
                target_bps: Some(400_000_000),
                min_bps: 0,
            })
            .unwrap();
        // At the first rate it would take five times as long as is waited for it.
        under.end().await.succeeded();
        fs::remove_file(&destination).unwrap();
    }
}
