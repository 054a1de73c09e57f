//! Blocks that no honest sender sends, and damage that an honest one announces.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use haul_disk::{DiskError, FailureKind, WAITING_BYTES_MAX};
use haul_manifest::{ChangeKind, Entry, FileNo, ListError, TORN};
use haul_wire::{BlockAddr, Part};
use pair::peer::{BLOCK_LEN, Peer, dir, file};

fn peer() -> (tempfile::TempDir, Peer) {
    let into = tempfile::tempdir().unwrap();
    let peer = Peer::new(into.path());
    (into, peer)
}

#[test]
fn w21_blocks_of_another_length_end_the_transfer() {
    for len in [0, 1, BLOCK_LEN - 1, BLOCK_LEN + 1] {
        for addr in [BlockAddr::list(0), BlockAddr::content(0)] {
            let (_into, mut peer) = peer();
            let result = peer.send(addr, &vec![0; len]);
            assert!(matches!(result, Err(DiskError::BlockLength(found)) if found == len));
        }
    }
}

#[test]
fn parts_of_another_length_end_the_transfer() {
    let whole = BlockAddr::content(0);
    // Two parts of 100 bytes are 56 and 44 long, padded alike; of 128 most would be empty.
    for (index, count, len, is_fine) in [
        (0, 2, 56, true),
        (1, 2, 56, true),
        (1, 2, 44, false),
        (0, 2, 100, false),
        (127, 128, 8, false),
    ] {
        let (_into, mut peer) = peer();
        peer.list(file(0, "f", 150)).unwrap();
        let addr = whole.with_part(Part::new(index, count).unwrap());
        let result = peer.send(addr, &vec![0; len]);
        assert_eq!(result.is_ok(), is_fine, "{index} of {count}: {result:?}");
    }
}

#[test]
fn parts_and_the_whole_are_written_once() {
    let (into, mut peer) = peer();
    peer.list(file(0, "f", 100)).unwrap();
    peer.end().unwrap();
    let part = |index, count| BlockAddr::content(0).with_part(Part::new(index, count).unwrap());
    assert_eq!(peer.send(part(1, 2), &[1; 56]).unwrap().written_bytes, 44);
    assert_eq!(peer.send(part(1, 2), &[2; 56]).unwrap().duplicate_blocks, 1);
    let placed = peer.send(part(1, 3), &[3; 40]).unwrap();
    assert_eq!((placed.written_bytes, placed.complete), (16, false));
    let placed = peer.content(0, 4).unwrap();
    assert_eq!((placed.written_bytes, placed.complete), (40, true));
    let expected = [[4; 40].as_slice(), &[3; 16], &[1; 44]].concat();
    assert_eq!(fs::read(into.path().join("f")).unwrap(), expected);
}

#[test]
fn w21_d106_blocks_beyond_the_end_end_the_transfer() {
    for block in [2, 3, TORN - 1, TORN | 2] {
        let (_into, mut after) = peer();
        after.list(file(0, "f", 150)).unwrap();
        after.end().unwrap();
        let result = after.send(BlockAddr::content(block), &[1; BLOCK_LEN]);
        assert!(matches!(result, Err(DiskError::BlockBeyondEnd)), "{block}");

        let (_into, mut before) = peer();
        before.list(file(0, "f", 150)).unwrap();
        before
            .send(BlockAddr::content(block), &[1; BLOCK_LEN])
            .unwrap();
        assert!(
            matches!(before.end(), Err(DiskError::BlockBeyondEnd)),
            "{block}"
        );
    }
}

#[test]
fn d108_waiting_is_bounded() {
    for stream in [BlockAddr::content as fn(u64) -> BlockAddr, BlockAddr::list] {
        let (_into, mut peer) = peer();
        let mut sent = 0;
        let error = loop {
            sent += 1;
            match peer.send(stream(sent * 2), &[1; BLOCK_LEN]) {
                Ok(placed) => assert_eq!(placed.waiting_bytes, sent * BLOCK_LEN as u64),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DiskError::TooMuchWaiting));
        assert_eq!(sent, WAITING_BYTES_MAX / BLOCK_LEN as u64 + 1);
    }
}

#[test]
fn w08_w22_the_second_of_two_different_copies_is_ignored() {
    let (into, mut peer) = peer();
    peer.list(file(0, "f", 200)).unwrap();
    peer.end().unwrap();
    assert_eq!(peer.content(0, 1).unwrap().duplicate_blocks, 0);
    let again = peer.content(0, 9).unwrap();
    assert_eq!((again.duplicate_blocks, again.written_bytes), (1, 0));
    assert!(peer.content(1, 1).unwrap().complete);
    assert_eq!(peer.content(1, 9).unwrap().duplicate_blocks, 1);
    assert_eq!(fs::read(into.path().join("f")).unwrap(), [1; 200]);
}

#[test]
fn blocks_ahead_of_their_entry_wait_for_it() {
    let (into, mut peer) = peer();
    let placed = peer.content(1, 2).unwrap();
    assert_eq!((placed.written_bytes, placed.waiting_bytes), (0, 100));
    assert_eq!(peer.content(1, 3).unwrap().duplicate_blocks, 1);
    peer.content(0, 1).unwrap();
    let placed = peer.list(file(0, "f", 150)).unwrap();
    assert_eq!(
        placed.waiting_bytes, 100,
        "the second block may hold more files"
    );
    let placed = peer.end().unwrap();
    assert_eq!(placed.waiting_bytes, 0);
    assert!(placed.complete);
    assert_eq!(
        fs::read(into.path().join("f")).unwrap(),
        [[1; 100].to_vec(), [2; 50].to_vec()].concat()
    );
}

#[test]
fn c44_random_lists_end_the_transfer_and_nothing_panics() {
    let seed = 4242;
    let _seed = pair::Seed(seed);
    let mut random = pair::Random(seed);
    for _ in 0..2000 {
        let (into, mut peer) = peer();
        peer.list(dir(0, "d")).unwrap();
        for block in 1..5 {
            let bytes = random.bytes(BLOCK_LEN);
            if let Err(error) = peer.send(BlockAddr::list(block), &bytes) {
                assert!(error.is_peer_fault(), "{error}");
                break;
            }
        }
        let made = fs::read_dir(into.path()).unwrap().count();
        assert!(made <= 2, "a random name is a name at best");
    }
}

#[test]
fn totals_have_to_agree() {
    let (_into, mut peer) = peer();
    peer.list(file(0, "f", 150)).unwrap();
    let wrong = peer.list(Entry::End {
        content_bytes: 151,
        files: 1,
        entries: 1,
        unlisted: 0,
    });
    assert!(matches!(wrong, Err(DiskError::List(ListError::Totals))));
}

#[test]
fn torn_block_of_one_file_spoils_it_at_once() {
    let (into, mut peer) = peer();
    peer.list(file(0, "f", 250)).unwrap();
    peer.list(file(0, "g", 50)).unwrap();
    peer.end().unwrap();
    peer.content(0, 1).unwrap();
    peer.torn(1, 0).unwrap();
    assert_eq!(peer.incoming.received().failed_count, 1);
    assert!(peer.content(2, 3).unwrap().complete);
    assert!(!into.path().join("f").exists());
    assert!(!into.path().join(".f.haul-part").exists());
    assert_eq!(fs::read(into.path().join("g")).unwrap(), [3; 50]);
}

#[test]
fn torn_block_of_several_files_waits_for_the_list() {
    for announced_first in [false, true] {
        let (into, mut peer) = peer();
        for name in ["a", "b", "c"] {
            peer.list(file(0, name, 30)).unwrap();
        }
        peer.end().unwrap();
        let changed = Entry::Changed {
            file: FileNo(1),
            why: ChangeKind::Vanished,
        };
        if announced_first {
            peer.list(changed).unwrap();
            peer.list(Entry::Torn { block: 0 }).unwrap();
            assert!(peer.torn(0, 7).unwrap().complete);
        } else {
            let placed = peer.torn(0, 7).unwrap();
            assert_eq!((placed.waiting_bytes, placed.complete), (100, false));
            assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
            peer.list(changed).unwrap();
            assert!(peer.list(Entry::Torn { block: 0 }).unwrap().complete);
        }
        let failed = &peer.incoming.received().failed;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].why, FailureKind::Changed(ChangeKind::Vanished));
        assert_eq!(fs::read(into.path().join("a")).unwrap(), [7; 30]);
        assert!(!into.path().join("b").exists());
        assert_eq!(fs::read(into.path().join("c")).unwrap(), [7; 30]);
    }
}
