//! What a stranger or an attacker on the path can send: it is dropped, counted, and the session
//! lives.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use haul_batch::Pool;
use haul_seal::{Direction, OpenCounters, Opener, SealError, Sealer};
use haul_wire::{Header, Kind, Lane, PacketCounter, PacketNo, SessionId, SuiteId};
use support::{OVERHEAD, Rx, SESSION, Tx, bodies, secrets, traffic};

const WINDOW: u64 = 65_536;

#[test]
fn what_is_sealed_opens_in_every_suite() {
    for suite in SuiteId::ALL {
        let (mut tx, rx) = (Tx::new(suite), Rx::new(suite));
        let mut sent = bodies(44, 1408);
        sent.push(b"a short last one".to_vec());
        let datagrams = tx.seal(&sent).unwrap();
        if suite != SuiteId::NoneCmac {
            assert!(
                datagrams
                    .iter()
                    .zip(&sent)
                    .all(|(d, b)| &d[16..d.len() - 16] != b)
            );
        }
        let opened = rx.receive(&datagrams, 0);
        let received: Vec<_> = opened.segments().map(|s| s.body.to_vec()).collect();
        assert_eq!(received, sent, "{suite}");
        for (n, segment) in opened.segments().enumerate() {
            assert_eq!(segment.header.packet, PacketNo(n as u64));
            assert_eq!(segment.header.kind, Kind::Data);
        }
        let (batch, places) = opened.into_parts();
        for (at, body) in places.iter().zip(&sent) {
            let range = haul_seal::body_range(usize::from(at.len));
            assert_eq!(batch.segment(usize::from(at.index))[range], body[..]);
        }
    }
}

#[test]
fn an_empty_body_and_an_empty_batch_are_fine() {
    for suite in SuiteId::ALL {
        let (mut tx, rx) = (Tx::new(suite), Rx::new(suite));
        let datagrams = tx.seal(&bodies(3, 0)).unwrap();
        assert_eq!(datagrams[0].len(), OVERHEAD);
        assert_eq!(rx.accepts(&datagrams, 0), 3, "{suite}");
        assert!(tx.seal(&[]).unwrap().is_empty());
        assert_eq!(rx.accepts(&[], 0), 0);
    }
}

#[test]
fn w06_every_single_flipped_bit_is_noticed() {
    for suite in SuiteId::ALL {
        let (mut tx, rx) = (Tx::new(suite), Rx::new(suite));
        let genuine = tx.seal(&bodies(1, 37)).unwrap();
        for bit in 0..8 * genuine[0].len() {
            let mut forged = genuine.clone();
            forged[0][bit / 8] ^= 1 << (bit % 8);
            let opened = rx.receive(&forged, 0);
            assert_eq!(opened.segments().len(), 0, "{suite}, bit {bit}");
            let (batch, _) = opened.into_parts();
            assert!(batch.bytes().iter().all(|byte| *byte == 0), "not wiped");
        }
        assert_eq!(
            rx.accepts(&genuine, 0),
            1,
            "{suite}: the original is still new"
        );
    }
}

#[test]
fn w01_w03_w05_w07_datagrams_of_no_use_are_counted_by_reason() {
    let (mut tx, rx) = (Tx::new(SuiteId::Aes128Cfb), Rx::new(SuiteId::Aes128Cfb));
    let genuine = tx.seal_some(1).unwrap().remove(0);
    let altered = |at: usize, value: u8| {
        let mut datagram = genuine.clone();
        datagram[at] = value;
        vec![datagram]
    };
    for len in [1, 15, 16, 31] {
        assert_eq!(rx.accepts(&[genuine[..len].to_vec()], 0), 0);
    }
    assert_eq!(rx.accepts(&altered(0, 0x21), 0), 0, "version");
    assert_eq!(rx.accepts(&altered(0, 0x1f), 0), 0, "kind");
    assert_eq!(rx.accepts(&altered(3, 0x01), 0), 0, "flags");
    assert_eq!(rx.accepts(&altered(9, Lane::COUNT as u8), 0), 0, "lane");
    assert_eq!(rx.accepts(&altered(8, 0xff), 0), 0, "lane");
    assert_eq!(rx.accepts(&altered(7, 0), 0), 0, "session");
    assert_eq!(rx.accepts(&altered(1, 2), 0), 0, "epoch 2");
    assert_eq!(rx.accepts(&altered(1, 255), 0), 0, "epoch -1");
    let mut zero_tag = genuine.clone();
    zero_tag[genuine.len() - 16..].fill(0);
    assert_eq!(rx.accepts(&[zero_tag], 0), 0);
    let half_tag = genuine[..genuine.len() - 8].to_vec();
    assert_eq!(rx.accepts(&[half_tag], 0), 0);
    let mut random_body = genuine.clone();
    random_body[16..].fill(0x5a);
    assert_eq!(rx.accepts(&[random_body], 0), 0);
    assert_eq!(rx.accepts(std::slice::from_ref(&genuine), 0), 1);
    assert_eq!(rx.accepts(&[genuine], 0), 0);
    let expected = OpenCounters {
        accepted: 1,
        short: 4,
        version_or_kind: 5,
        session: 1,
        epoch: 2,
        replay: 1,
        tag: 3,
    };
    assert_eq!(rx.opener.counters(), expected);
}

#[test]
fn w02_more_or_longer_segments_than_a_batch_may_hold_do_no_harm() {
    let rx = Rx::new(SuiteId::Aes128Cfb);
    assert_eq!(rx.accepts(&vec![vec![0x11; 40]; 200], 0), 0);
    assert_eq!(rx.opener.counters().version_or_kind, 64);
    assert_eq!(rx.opener.counters().short, 136);
    assert_eq!(rx.accepts(&[vec![0x11; 65_536]], 0), 0);
    assert_eq!(rx.opener.counters().short, 137);
}

#[test]
fn w32_a_corrupt_lane_rejects_only_itself() {
    for suite in SuiteId::ALL {
        let (mut tx, rx) = (Tx::new(suite), Rx::new(suite));
        for corrupt in 0..64 {
            let sent = bodies(64, 200);
            let mut datagrams = tx.seal(&sent).unwrap();
            datagrams[corrupt][50] ^= 0x10;
            let opened = rx.receive(&datagrams, 0);
            assert_eq!(opened.segments().len(), 63, "{suite}, lane {corrupt}");
            let kept = (0..64).filter(|index| *index != corrupt);
            for (segment, index) in opened.segments().zip(kept) {
                assert_eq!(segment.body, sent[index], "{suite}, lane {corrupt}");
            }
        }
        assert_eq!(rx.opener.counters().tag, 64);
    }
}

#[test]
fn w08_duplicates_are_dropped_within_and_between_batches() {
    let (mut tx, rx) = (Tx::new(SuiteId::Aes128Cfb), Rx::new(SuiteId::Aes128Cfb));
    let one = tx.seal_some(1).unwrap().remove(0);
    assert_eq!(rx.accepts(&vec![one.clone(); 5], 0), 1);
    assert_eq!(rx.accepts(&[one], 0), 0);
    assert_eq!(rx.opener.counters().replay, 5);
}

#[test]
fn w10_w11_the_window_is_exact() {
    let (mut tx, rx) = (Tx::new(SuiteId::Aes128Cfb), Rx::new(SuiteId::Aes128Cfb));
    let below = tx.seal_some(1).unwrap();
    let edge = tx.seal_some(1).unwrap();
    tx.skip_to(WINDOW);
    let newest = tx.seal_some(1).unwrap();
    tx.skip_to(PacketNo::MAX.0);
    let last = tx.seal_some(1).unwrap();
    assert_eq!(rx.accepts(&newest, 0), 1);
    assert_eq!(rx.accepts(&below, 0), 0, "one below the window");
    assert_eq!(rx.accepts(&edge, 0), 1, "the lowest in the window");
    assert_eq!(rx.accepts(&edge, 0), 0);
    assert_eq!(rx.accepts(&last, 0), 1, "the last number there is");
    assert_eq!(rx.accepts(&last, 0), 0);
    assert!(tx.data.take(1).is_none(), "numbers never wrap");
}

#[test]
fn w05_a_forgery_does_not_move_the_window() {
    let (mut tx, rx) = (Tx::new(SuiteId::Aes128Cfb), Rx::new(SuiteId::Aes128Cfb));
    let genuine = tx.seal_some(1).unwrap();
    let mut forged = genuine.clone();
    forged[0][10..16].fill(0xff);
    assert_eq!(rx.accepts(&forged, 0), 0);
    assert_eq!(rx.accepts(&genuine, 0), 1);
}

#[test]
fn lanes_are_numbered_apart() {
    let (mut tx, rx) = (Tx::new(SuiteId::Aes128Gcm), Rx::new(SuiteId::Aes128Gcm));
    let data = tx.seal_some(1).unwrap();
    let mut batch = Pool::new(1).try_take().unwrap();
    batch.shape(OVERHEAD + 100, 1);
    let run = tx.path.take(1).unwrap();
    let sealed = tx.sealer.seal_batch(Kind::Sync, Lane::PATH, run, batch);
    let path = vec![sealed.unwrap().bytes().to_vec()];
    assert_eq!(rx.accepts(&data, 0), 1);
    assert_eq!(rx.accepts(&path, 0), 1);
    assert_eq!(rx.accepts(&path, 0), 0);
}

#[test]
fn w15_w16_w17_w31_other_sessions_and_the_own_reflection_are_dropped() {
    for suite in SuiteId::ALL {
        let rx = Rx::new(suite);
        let reflected = secrets(1).traffic(Direction::ServerToClient);
        let mut own = Tx::of(Sealer::new(suite, reflected, SESSION));
        assert_eq!(rx.accepts(&own.seal_some(3).unwrap(), 0), 0, "{suite}");
        let yesterday = secrets(9).traffic(Direction::ClientToServer);
        let mut old = Tx::of(Sealer::new(suite, yesterday, SESSION));
        assert_eq!(rx.accepts(&old.seal_some(3).unwrap(), 0), 0, "{suite}");
        assert_eq!(rx.opener.counters().tag, 6);
        let mut other = Tx::of(Sealer::new(suite, traffic(), SessionId(5)));
        assert_eq!(rx.accepts(&other.seal_some(3).unwrap(), 0), 0, "{suite}");
        assert_eq!(rx.opener.counters().session, 3);
    }
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sealed() {
    let sealer = Sealer::new(SuiteId::Aes128Cfb, traffic(), SESSION);
    let (pool, mut numbers) = (Pool::new(1), PacketCounter::new());
    let mut attempt = |lane, count, stride, segments| {
        let mut batch = pool.try_take().unwrap();
        batch.shape(stride, segments);
        let run = numbers.take(count).unwrap();
        sealer.seal_batch(Kind::Data, lane, run, batch).err()
    };
    let (numbers, segments) = (2, 3);
    assert_eq!(
        attempt(Lane::DATA, 2, 100, 3),
        Some(SealError::RunLength { numbers, segments })
    );
    assert_eq!(
        attempt(Lane::DATA, 3, 31, 3),
        Some(SealError::SegmentTooShort { len: 31 })
    );
    assert_eq!(
        attempt(Lane(2), 3, 100, 3),
        Some(SealError::UnknownLane(Lane(2)))
    );
    assert_eq!(attempt(Lane::DATA, 3, 100, 3), None);
}

#[test]
fn threads_share_a_sealer_and_an_opener() {
    let suite = SuiteId::Aes128Cfb;
    let sealer = Arc::new(Sealer::new(suite, traffic(), SESSION));
    let opener = Arc::new(Opener::new(suite, traffic(), SESSION));
    let pool = Pool::new(4);
    let numbers = std::sync::Mutex::new(PacketCounter::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut batch = pool.take(std::time::Duration::from_secs(10)).unwrap();
                    batch.shape(300, 30);
                    let run = numbers.lock().unwrap().take(30).unwrap();
                    let sealed = sealer.seal_batch(Kind::Data, Lane::DATA, run, batch);
                    let opened = opener.open_batch(sealed.unwrap().into_batch(), 0);
                    assert_eq!(opened.segments().len(), 30);
                }
            });
        }
    });
    assert_eq!(opener.counters().accepted, 4 * 200 * 30);
}

#[test]
fn nothing_secret_is_printed() {
    let mut tx = Tx::new(SuiteId::Aes128Cfb);
    let rx = Rx::new(SuiteId::Aes128Cfb);
    let opened = rx.receive(&tx.seal(&[vec![0x77; 64]]).unwrap(), 0);
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        tx.sealer,
        rx.opener,
        opened,
        secrets(1),
        traffic(),
    );
    assert!(
        !printed.contains("119, 119") && !printed.contains("77, 77"),
        "{printed}"
    );
    assert!(
        printed.contains("SessionSecrets(..) TrafficSecret(..)"),
        "{printed}"
    );
    assert!(
        printed
            .contains("Sealer { suite: Aes128Cfb, session: SessionId(2712847316), epoch: 0, .. }")
    );
}

#[test]
fn headers_are_the_wire_crate_s() {
    let mut tx = Tx::new(SuiteId::Aes256Gcm);
    let datagrams = tx.seal_some(2).unwrap();
    let header = Header::decode(&datagrams[1]).unwrap();
    assert_eq!((header.epoch, header.flags), (0, 0));
    assert_eq!((header.session, header.lane), (SESSION, Lane::DATA));
    assert_eq!(header.packet, PacketNo(1));
}
