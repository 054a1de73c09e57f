//! Paths that change under a running transfer: shorter datagrams, another port, another address.
#![allow(clippy::unwrap_used, clippy::panic)]

mod pair;

use std::{
    fs,
    time::{Duration, Instant},
};

use haul_transfer::{Direction, Policy};
use pair::{
    BOTH, CALM, Case, place,
    proxy::{Proxy, Weather},
};

const LEN: usize = 12_000_000;

/// Runs a transfer of three seconds both ways; `change` is called when it is under way, `check`
/// when it is over.
async fn transfer(
    weather: Weather,
    mut change: impl FnMut(&Proxy),
    mut check: impl FnMut(&Proxy, Direction),
) {
    let (_dir, source, destination) = place(LEN);
    for (seed, direction) in BOTH.into_iter().enumerate() {
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(32_000_000);
        let proxy = Proxy::between(&mut case, weather, seed as u64);
        let mut under = case.start();
        under.until_bytes(1_000_000).await;
        let changed_at = Instant::now();
        change(&proxy);
        let (summary, _) = under.end().await.succeeded();
        let took = changed_at.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "{direction:?}: {took:?} {summary:?}"
        );
        assert!(
            fs::read(&source).unwrap() == fs::read(&destination).unwrap(),
            "{direction:?}"
        );
        check(&proxy, direction);
        fs::remove_file(&destination).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_shrinks_does_not_stall() {
    transfer(CALM, |proxy| proxy.narrow(1_300), |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_one_that_shrinks_and_loses() {
    let weather = Weather { loss: 5, ..CALM };
    transfer(weather, |proxy| proxy.narrow(1_400), |_, _| {}).await;
}

/// An address translator forgets, and the initiator appears at another port.
#[tokio::test(flavor = "multi_thread")]
async fn another_port_is_followed() {
    let followed = |proxy: &Proxy, direction| {
        assert!(proxy.followed() > 10, "{direction:?}");
    };
    transfer(CALM, |proxy| proxy.move_to([127, 0, 0, 2]), followed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w20_another_address_is_followed() {
    let followed = |proxy: &Proxy, direction| {
        assert!(proxy.followed() > 10, "{direction:?}");
    };
    transfer(CALM, |proxy| proxy.move_to([127, 0, 0, 7]), followed).await;
}

/// Somebody on the way is quicker with copies from an address that answers no challenge.
#[tokio::test(flavor = "multi_thread")]
async fn w09_copies_from_elsewhere_do_not_move_the_flow() {
    transfer(CALM, |proxy| proxy.forge([127, 0, 0, 9]), |_, _| {}).await;
}
