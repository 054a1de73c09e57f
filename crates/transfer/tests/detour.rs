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
