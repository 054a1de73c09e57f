//! Files of which the size is not known when they begin, and parts of files.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File},
    io::{PipeReader, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use haul_disk::{DiskError, FailureKind, Portion, Preserve, ReceiveOptions, Single};
use haul_manifest::Name;
use pair::{
    BLOCK_LEN, CLEAN, ROUGH, Random, Seed, incoming,
    peer::{Peer, closed, dir, file, stream},
    run,
};

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(4);

fn name() -> Name {
    Name::new(b"stdin").unwrap()
}

fn pipe(end: PipeReader) -> Arc<Single> {
    let file = File::from(OwnedFd::from(end));
    Single::pipe(BLOCK_LEN, Arc::new(file), name())
}

fn of_file(path: &Path, portion: Portion) -> Result<Arc<Single>, DiskError> {
    let name = Name::new(b"part").unwrap();
    Single::of_file(BLOCK_LEN, path, name, &portion, true)
}

#[test]
fn what_comes_out_of_a_pipe_becomes_a_file() {
    let len = BLOCK_LEN;
    for (seed, size) in [0, 1, len - 1, len, len + 1, 3 * len, 5_000_001]
        .into_iter()
        .enumerate()
    {
        let _seed = Seed(seed as u64);
        let work = tempfile::tempdir().unwrap();
        let target = work.path().join("target");
        let content = Random(seed as u64).bytes(size);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut random = Random(seed as u64);
        let supply = pipe(reader);
        let incoming = incoming(&["stdin".as_ref()], &target, true).unwrap();
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rest = &content[..];
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(1 + random.below(100_000)));
                    writer.write_all(now).unwrap();
                    rest = later;
                }
                drop(writer);
            });
            run(&supply, incoming, ROUGH, seed as u64, &mut |_| {}).unwrap()
        });
        assert_eq!((received.files, received.bytes), (1, size as u64));
        assert!(fs::read(&target).unwrap() == content, "{size} bytes");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_is_followed_while_it_grows() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::write(at("source"), "").unwrap();
    let mut source = File::options().append(true).open(at("source")).unwrap();
    let supply = of_file(&at("source"), Portion::Growing(PATIENCE)).unwrap();
    let incoming = incoming(&[&at("source")], &at("target"), true).unwrap();
    let mut random = Random(9);
    let mut left = 40;
    let received = run(&supply, incoming, ROUGH, 9, &mut |_| {
        if left > 0 {
            left -= 1;
            let len = random.below(50_000);
            source.write_all(&random.bytes(len)).unwrap();
        }
    });
    assert_eq!(left, 0, "all of it was written while it was sent");
    assert_eq!(received.unwrap().files, 1);
    assert!(fs::read(at("source")).unwrap() == fs::read(at("target")).unwrap());
    let times =
        ["source", "target"].map(|name| fs::metadata(at(name)).unwrap().modified().unwrap());
    assert_eq!(times[0], times[1]);
}

#[test]
fn a_file_that_shrinks_does_not_grow() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::write(at("source"), vec![1; 300_000]).unwrap();
    let supply = of_file(&at("source"), Portion::Growing(PATIENCE)).unwrap();
    let incoming = incoming(&[&at("source")], &at("target"), true).unwrap();
    let source = File::options().write(true).open(at("source")).unwrap();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&supply, incoming, CLEAN, 1, &mut |delivered| {
            // The list is one block so far; then all of the file has been seen.
            if delivered > 1 {
                source.set_len(10).unwrap();
            }
        })
    }));
    let failed = failed.map(|result| result.unwrap_err());
    // The scan, or whoever reads, is the first to see it.
    match failed {
        Ok(error) => assert!(matches!(error, DiskError::Changed { .. }), "{error}"),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(said.contains("the scan has ended"), "{said}");
        }
    }
    assert!(!at("target").exists());
}

#[test]
fn a_range_of_a_file_becomes_a_file() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let content = Random(4).bytes(100_000);
    fs::write(at("source"), &content).unwrap();
    for (from, to) in [
        (0, 100_000),
        (0, 0),
        (1, 2),
        (1_399, 77_777),
        (99_999, 100_000),
    ] {
        let range = Portion::Range(from as u64, to as u64);
        let supply = of_file(&at("source"), range).unwrap();
        let incoming = incoming(&[&at("source")], &at("target"), true).unwrap();
        let received = run(&supply, incoming, ROUGH, 4, &mut |_| {}).unwrap();
        assert_eq!(received.bytes, (to - from) as u64);
        assert!(
            fs::read(at("target")).unwrap() == content[from..to],
            "{from}-{to}"
        );
        fs::remove_file(at("target")).unwrap();
    }
    let rest = of_file(&at("source"), Portion::Range(99_990, u64::MAX)).unwrap();
    let incoming = incoming(&[&at("source")], &at("target"), true).unwrap();
    run(&rest, incoming, CLEAN, 4, &mut |_| {}).unwrap();
    assert!(fs::read(at("target")).unwrap() == content[99_990..]);
    for (from, to) in [(0, 100_001), (100_001, u64::MAX)] {
        let refused = of_file(&at("source"), Portion::Range(from, to));
        assert!(matches!(refused, Err(DiskError::Range { .. })), "{from}");
    }
}

#[test]
fn a_range_of_a_file_that_changes_is_not_sent_to_its_end() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::write(at("source"), vec![1; 20_000_000]).unwrap();
    let supply = of_file(&at("source"), Portion::Range(10, 19_999_990)).unwrap();
    let incoming = incoming(&[&at("source")], &at("target"), true).unwrap();
    let source = File::options().append(true).open(at("source")).unwrap();
    let changed = run(&supply, incoming, CLEAN, 1, &mut |delivered| {
        if delivered > 0 {
            (&source).write_all(b"more").unwrap();
        }
    });
    assert!(matches!(changed, Err(DiskError::Changed { .. })));
    assert!(!at("target").exists());
}

fn peer() -> (tempfile::TempDir, Peer) {
    let into = tempfile::tempdir().unwrap();
    let peer = Peer::with(into.path(), ReceiveOptions::new(Preserve::USUAL));
    (into, peer)
}

#[test]
fn padding_behind_the_end_of_a_stream_is_not_of_the_file() {
    // The last block before its end is known, and after.
    for end_first in [false, true] {
        let (into, mut peer) = peer();
        peer.list(dir(0, "d")).unwrap();
        peer.list(file(1, "before", 30)).unwrap();
        peer.list(stream(1, "s")).unwrap();
        peer.content(0, 1).unwrap();
        if end_first {
            peer.list(closed(150)).unwrap();
            peer.end().unwrap();
        }
        let complete = peer.content(1, 2).unwrap().complete;
        assert_eq!(complete, end_first);
        assert_eq!(into.path().join("d/s").exists(), end_first);
        // Two blocks hold 170 bytes of it: the third is not needed.
        if !end_first {
            peer.list(closed(150)).unwrap();
            assert!(peer.end().unwrap().complete);
        }
        let received = peer.incoming.finish().unwrap();
        assert_eq!((received.files, received.bytes), (2, 180));
        let found = fs::read(into.path().join("d/s")).unwrap();
        assert_eq!(found, [[1; 70].as_slice(), &[2; 80]].concat());
        assert_eq!(fs::read(into.path().join("d/before")).unwrap(), [1; 30]);
        let mode = fs::metadata(into.path().join("d/s")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o640, "as it was in the end");
    }
}

#[test]
fn blocks_behind_the_end_of_a_stream_end_the_transfer() {
    for (size, block) in [(0, 0), (100, 1), (150, 7)] {
        let (into, mut peer) = peer();
        peer.list(stream(0, "s")).unwrap();
        peer.content(block, 1).unwrap();
        let result = peer.list(closed(size));
        assert!(matches!(result, Err(DiskError::BlockBeyondEnd)), "{size}");
        drop(peer);
        assert!(!into.path().join("s").exists());
    }
    let (_into, mut peer) = peer();
    peer.list(stream(0, "s")).unwrap();
    peer.list(closed(100)).unwrap();
    peer.end().unwrap();
    let late = peer.content(1, 1);
    assert!(matches!(late, Err(DiskError::BlockBeyondEnd)));
}

#[test]
fn a_stream_may_be_empty_and_its_name_may_be_refused() {
    let (into, mut peer) = peer();
    peer.list(stream(0, "s")).unwrap();
    peer.list(closed(0)).unwrap();
    assert!(peer.end().unwrap().complete);
    assert_eq!(peer.incoming.finish().unwrap().files, 1);
    assert_eq!(fs::read(into.path().join("s")).unwrap(), b"");

    let (into, mut peer) = self::peer();
    peer.list(stream(0, ".haul-journal")).unwrap();
    peer.content(0, 1).unwrap();
    peer.list(closed(50)).unwrap();
    assert!(peer.end().unwrap().complete);
    let received = peer.incoming.finish().unwrap();
    assert_eq!((received.files, received.failed_count), (0, 1));
    assert_eq!(received.failed[0].why, FailureKind::Reserved);
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
}
