//! Keys change in time on both sides, and never because of a forgery.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use haul_seal::{OpenOptions, SealError, SealOptions};
use haul_wire::{Header, SuiteId};
use support::{Rx, Tx};

const SUITE: SuiteId = SuiteId::Aes128Cfb;

fn epochs(datagrams: &[Vec<u8>]) -> Vec<u8> {
    datagrams
        .iter()
        .map(|d| Header::decode(d).unwrap().epoch)
        .collect()
}

fn limited(packets: u64, blocks: u64) -> Tx {
    let options = SealOptions {
        packets,
        blocks,
        ..SealOptions::default()
    };
    Tx::with_options(SUITE, options)
}

#[test]
fn w33_the_limit_is_kept_in_the_middle_of_a_batch() {
    for suite in SuiteId::ALL {
        let options = SealOptions {
            packets: 100,
            ..SealOptions::default()
        };
        let (mut tx, rx) = (Tx::with_options(suite, options), Rx::new(suite));
        assert_eq!(rx.accepts(&tx.seal_some(64).unwrap(), 0), 64);
        let crossing = tx.seal_some(64).unwrap();
        assert_eq!(
            epochs(&crossing),
            [vec![0; 36], vec![1; 28]].concat(),
            "{suite}"
        );
        assert_eq!(rx.accepts(&crossing, 0), 64, "{suite}");
        assert_eq!((tx.sealer.epoch(), rx.opener.epoch()), (1, 1));
    }
}

#[test]
fn the_limit_holds_for_blocks_too() {
    // 100 bytes of body and the header are 8 blocks.
    let mut tx = limited(u64::MAX, 79);
    assert_eq!(
        epochs(&tx.seal_some(12).unwrap()),
        [vec![0; 9], vec![1; 3]].concat()
    );
}

#[test]
fn without_confirmation_sealing_stops_at_twice_the_limit() {
    let (mut tx, rx) = (limited(10, u64::MAX), Rx::new(SUITE));
    let first = tx.seal_some(30).unwrap();
    assert_eq!(epochs(&first), [vec![0; 10], vec![1; 20]].concat());
    assert_eq!(rx.accepts(&first, 0), 30);
    let refused = tx.seal_some(1).err();
    assert_eq!(refused, Some(SealError::KeyUsedUp { epoch: 1 }));
    tx.sealer.confirm_epoch(0);
    assert!(tx.seal_some(1).is_err(), "an old epoch confirms nothing");
    tx.sealer.confirm_epoch(1);
    let next = tx.seal_some(5).unwrap();
    assert_eq!(epochs(&next), [2; 5]);
    assert_eq!(rx.accepts(&next, 0), 5);
}

#[test]
fn a_batch_that_needs_too_much_is_refused_whole() {
    let mut tx = limited(10, u64::MAX);
    assert!(tx.seal_some(31).is_err(), "10 + 20 is all there is");
}

#[test]
fn time_based_change_waits_for_confirmation() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    assert_eq!(tx.sealer.rekey(), Ok(()));
    assert_eq!(
        tx.sealer.rekey(),
        Err(SealError::EpochUnconfirmed { epoch: 1 })
    );
    assert_eq!(rx.accepts(&tx.seal_some(1).unwrap(), 0), 1);
    tx.sealer.confirm_epoch(rx.opener.epoch() as u8);
    assert_eq!(tx.sealer.rekey(), Ok(()));
    assert_eq!(tx.sealer.epoch(), 2);
}

#[test]
fn the_epoch_byte_wraps() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    for epoch in 1..=600_u32 {
        tx.sealer.rekey().unwrap();
        assert_eq!(rx.accepts(&tx.seal_some(2).unwrap(), 0), 2, "{epoch}");
        assert_eq!(rx.opener.epoch(), epoch);
        tx.sealer.confirm_epoch(epoch as u8);
    }
}

#[test]
fn w12_the_epoch_before_has_ten_seconds() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    let (early, late) = (tx.seal_some(1).unwrap(), tx.seal_some(1).unwrap());
    tx.sealer.rekey().unwrap();
    assert_eq!(rx.accepts(&tx.seal_some(1).unwrap(), 1_000), 1);
    assert_eq!(rx.accepts(&early, 10_999), 1, "inside the grace");
    assert_eq!(rx.accepts(&early, 10_999), 0, "its window is still there");
    assert_eq!(rx.accepts(&late, 11_000), 0, "after the grace");
    assert_eq!(rx.opener.counters().epoch, 1);
}

#[test]
fn epochs_mix_in_one_batch() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    let old = tx.seal_some(4).unwrap();
    tx.sealer.rekey().unwrap();
    let new = tx.seal_some(4).unwrap();
    let mixed: Vec<_> = new.into_iter().zip(old).flat_map(|(n, o)| [n, o]).collect();
    assert_eq!(rx.accepts(&mixed, 0), 8);
    assert_eq!(rx.opener.epoch(), 1);
}

#[test]
fn w13_a_forgery_under_the_next_epoch_does_not_advance() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    let mut forged = tx.seal_some(1).unwrap();
    forged[0][1] = 1;
    assert_eq!(rx.accepts(&forged, 0), 0);
    assert_eq!((rx.opener.epoch(), rx.opener.counters().tag), (0, 1));
}

#[test]
fn w14_the_epoch_after_the_next_is_refused() {
    let (mut tx, rx) = (Tx::new(SUITE), Rx::new(SUITE));
    tx.sealer.rekey().unwrap();
    let one = tx.seal_some(1).unwrap();
    tx.sealer.confirm_epoch(1);
    tx.sealer.rekey().unwrap();
    let two = tx.seal_some(1).unwrap();
    assert_eq!(rx.accepts(&two, 0), 0);
    assert_eq!((rx.opener.epoch(), rx.opener.counters().epoch), (0, 1));
    assert_eq!(rx.accepts(&one, 0), 1);
    assert_eq!(rx.accepts(&two, 0), 1);
}

#[test]
fn w29_a_flood_of_forgeries_asks_for_a_new_key_and_then_ends_the_session() {
    let options = OpenOptions {
        rekey_after: 10,
        fail_after: 25,
        ..OpenOptions::default()
    };
    let (mut tx, rx) = (Tx::new(SUITE), Rx::with_options(SUITE, options));
    let flood = |tx: &mut Tx, count| {
        let mut forged = tx.seal_some(count).unwrap();
        forged.iter_mut().for_each(|datagram| datagram[20] ^= 1);
        assert_eq!(rx.accepts(&forged, 0), 0);
    };
    flood(&mut tx, 9);
    assert!(!rx.opener.wants_rekey());
    flood(&mut tx, 1);
    assert!(rx.opener.wants_rekey());
    tx.sealer.rekey().unwrap();
    assert_eq!(rx.accepts(&tx.seal_some(1).unwrap(), 0), 1);
    assert!(
        !rx.opener.wants_rekey(),
        "the new key has not been attacked yet"
    );
    flood(&mut tx, 14);
    assert_eq!(rx.opener.failure(), None);
    flood(&mut tx, 1);
    let invalid = 25;
    assert_eq!(
        rx.opener.failure(),
        Some(SealError::IntegrityFlood { invalid })
    );
}
