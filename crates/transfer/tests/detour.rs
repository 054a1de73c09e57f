//! UDP does not get through: everything goes over the control channel.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use haul_transfer::{Direction, Event};
use pair::{
    BOTH, CALM, Case, LOCALHOST_6, place,
    proxy::{Proxy, Way},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_udp_does_not_carry_goes_over_the_control_channel() {
    let mut running = Vec::new();
    for direction in BOTH {
        for way in [Way::Up, Way::Down] {
            let (dir, source, destination) = place(20_000_000);
            let mut case = Case::new(direction, &source, &destination);
            let proxy = Proxy::between(&mut case, CALM, 1);
            proxy.kill(way);
            running.push((dir, source, destination, proxy, case.start()));
        }
    }
    for (_dir, source, destination, _proxy, mut under) in running {
        let warning = loop {
            if let Event::Warning(warning) = under.events.recv().await.expect("a warning") {
                break warning.text;
            }
        };
        assert!(warning.contains("over SSH"), "{warning}");
        let (summary, _) = under.end().await.succeeded();
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
        assert!(summary.control_bytes > 20_000_000, "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_its_own_way_once_udp_gets_through() {
    let returns = BOTH.map(|direction| tokio::spawn(returns_to_udp(direction)));
    for run in returns {
        run.await.unwrap();
    }
}

async fn returns_to_udp(direction: Direction) {
    let (_dir, source, destination) = place(20_000_000);
    let mut case = Case::new(direction, &source, &destination);
    case.job.options.rate_target_bps = Some(40_000_000);
    let proxy = Proxy::between(&mut case, CALM, 1);
    proxy.kill(Way::Up);
    proxy.kill(Way::Down);
    let mut under = case.start();
    for text in ["over SSH", "UDP gets through now"] {
        let warning = loop {
            if let Event::Warning(warning) = under.events.recv().await.expect("a warning") {
                break warning.text;
            }
        };
        assert!(warning.contains(text), "{warning}");
        proxy.revive();
    }
    let (summary, _) = under.end().await.succeeded();
    assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
    assert!(summary.control_bytes < 19_000_000, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detour_serves_ipv6_and_strangers_too() {
    let (_dir, source, destination) = place(3_000_000);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.peer = LOCALHOST_6;
    // SSH came from elsewhere: what comes from this host itself counts only on a detour.
    case.setup.ssh_peer = Some("2001:db8::1".parse().unwrap());
    let (summary, _) = case.run().await.succeeded();
    assert_eq!(summary.bytes, 3_000_000);
    assert!(summary.control_bytes > 3_000_000, "{summary:?}");
    assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
}
