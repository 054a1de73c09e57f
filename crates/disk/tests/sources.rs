//! Sources that are odd, unreadable, or change while they are sent.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File, Permissions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use haul_batch::Pool;
use haul_disk::{DiskError, FailureKind, Outgoing, Received, ScanOptions, Wanted};
use haul_manifest::{ChangeKind, SkipKind, TORN, VOID};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, BlockNo, HEADER_LEN, Stream, segment_len};
use pair::{CLEAN, Network, ROUGH, Random, incoming, outgoing, run, transfer};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::{Uid, geteuid},
    thread::set_thread_res_uid,
};

/// A window small enough that the end of a file has not been read when its beginning has.
const NARROW: Network = Network {
    window: 50,
    ..CLEAN
};

#[test]
fn what_cannot_be_sent_is_told_before_anything_is() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("dir")).unwrap();
    mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    symlink("file", at("link")).unwrap();
    let sources = ["file", "link", "missing", "fifo", "dangling", "dir"].map(at);
    let check = |recursive| {
        let options = ScanOptions {
            recursive,
            times: false,
            ..ScanOptions::default()
        };
        Outgoing::new(1400, Wanted::new(sources.to_vec(), options)).check_sources()
    };
    let errors = check(true);
    let indexes: Vec<usize> = errors.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [2, 3, 4]);
    assert!(matches!(errors[0].1, DiskError::Source { .. }));
    assert!(matches!(errors[1].1, DiskError::SourceIsSpecial { .. }));
    assert!(matches!(check(false)[3].1, DiskError::SourceIsDir { .. }));
}

#[test]
fn n70_special_files_are_skipped_with_a_message_and_never_opened() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    mkfifoat(CWD, source.join("fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    fs::write(source.join("file"), "x").unwrap();
    let target = work.path().join("target");
    let outgoing = outgoing(&[&source]);
    let incoming = incoming(&[&source], &target, false).unwrap();
    let received = run(&outgoing, incoming, CLEAN, 1, &mut |_| {}).unwrap();
    assert_eq!(
        (received.files, received.skipped, received.failed_count),
        (1, 2, 0)
    );
    let totals = outgoing.totals();
    assert_eq!((totals.files, totals.skipped, totals.failed), (1, 2, 0));
    let special = FailureKind::Skipped(SkipKind::Special);
    for failures in [outgoing.failures(), received.failed] {
        assert!(failures.iter().all(|failure| failure.why == special));
        assert_eq!(failures.len(), 2);
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

#[test]
fn n70_files_made_up_by_the_kernel_are_skipped() {
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("target");
    let source = Path::new("/proc/sys/kernel/random");
    let received = transfer(&[source], &target, false, CLEAN, 1).unwrap();
    assert_eq!((received.files, received.bytes), (0, 0));
    assert!(received.skipped > 0);
}

#[test]
fn what_is_too_deep_to_be_listed_is_told_of_all_the_same() {
    let work = tempfile::tempdir().unwrap();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
    let deep = source.join(vec!["d"; 127].join("/"));
    fs::create_dir_all(deep.join("too deep")).unwrap();
    fs::write(deep.join("file"), "x").unwrap();
    fs::write(source.join("file"), "x").unwrap();
    let received = transfer(&[&source], &target, false, CLEAN, 1).unwrap();
    assert_eq!((received.files, received.failed_count), (1, 2));
    assert_eq!(received.failed[0].why, FailureKind::Unlisted);
}

#[test]
fn unreadable_files_fail_alone() {
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), Permissions::from_mode(0o777)).unwrap();
    let at = |name: &str| work.path().join(name);
    let unprivileged = || {
        if geteuid().is_root() {
            // This thread, and those it starts, become nobody.
            let nobody = Uid::from_raw(65_534);
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        fs::create_dir_all(at("source/closed")).unwrap();
        fs::write(at("source/open"), "x").unwrap();
        for (name, mode) in [("secret", 0o000), ("empty secret", 0o200)] {
            let path = at("source").join(name);
            fs::write(&path, &name.as_bytes()[..6 * usize::from(name == "secret")]).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(at("source/closed"), Permissions::from_mode(0o300)).unwrap();
        let refused = outgoing(&[&at("source/secret")]).check_sources();
        assert!(matches!(refused[0].1, DiskError::Source { .. }));
        let received = transfer(&[&at("source")], &at("target"), false, CLEAN, 1).unwrap();
        assert_eq!((received.files, received.failed_count), (1, 3));
        let unreadable = FailureKind::Skipped(SkipKind::Unreadable);
        assert!(
            received
                .failed
                .iter()
                .all(|failure| failure.why == unreadable)
        );
        assert!(!at("target/empty secret").exists());
    };
    std::thread::scope(|scope| scope.spawn(unprivileged).join().unwrap());
}

/// Sends a large file between small ones, does something to the large one on the way.
fn meddled(meddle: impl Fn(&Path), network: Network) -> (Received, std::path::PathBuf) {
    let work = tempfile::tempdir().unwrap().keep();
    let source = work.join("source");
    fs::create_dir(&source).unwrap();
    let mut random = Random(3);
    let large = source.join("large");
    fs::write(&large, random.bytes(1_000_000)).unwrap();
    for index in 0..20 {
        fs::write(source.join(format!("small{index}")), random.bytes(100)).unwrap();
    }
    let copy = work.join("copy");
    transfer(&[&source], &copy, true, CLEAN, 1).unwrap();
    let outgoing = outgoing(&[&source]);
    let target = work.join("target");
    let incoming = incoming(&[&source], &target, true).unwrap();
    let mut met = false;
    let mut step = |delivered: u64| {
        if delivered > 300 && !met {
            met = true;
            meddle(&large);
        }
    };
    let received = run(&outgoing, incoming, network, 11, &mut step).unwrap();
    let seen = pair::look(&copy);
    for (path, what) in pair::look(&target) {
        assert!(seen[&path] == what, "{path:?} is mixed");
    }
    assert!(!target.join(".large.haul-part").exists());
    for index in 0..20 {
        assert!(
            target.join(format!("small{index}")).exists(),
            "beside the large one"
        );
    }
    (received, work)
}

#[test]
fn n76_file_that_changes_while_being_sent_is_never_published() {
    let grow = |path: &Path| {
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"more").unwrap();
    };
    let shrink = |path: &Path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(500_000)
            .unwrap()
    };
    let overwrite = |path: &Path| {
        let mut file = File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(999_000)).unwrap();
        file.write_all(b"other").unwrap();
    };
    for network in [
        NARROW,
        Network {
            window: 50,
            ..ROUGH
        },
    ] {
        for meddle in [&grow as &dyn Fn(&Path), &shrink, &overwrite] {
            let (received, work) = meddled(meddle, network);
            assert_eq!(received.failed_count, 1, "{:?}", received.failed);
            let changed = FailureKind::Changed(ChangeKind::Modified);
            assert_eq!(received.failed[0].why, changed);
            assert_eq!(received.failed[0].path, b"target/large");
            assert!(!work.join("target/large").exists());
            fs::remove_dir_all(work).unwrap();
        }
    }
}

#[test]
fn n76_file_that_is_replaced_or_deleted_is_whole_or_absent() {
    let replace = |path: &Path| {
        fs::write(path.with_extension("new"), vec![1; 1_000_000]).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let delete = |path: &Path| fs::remove_file(path).unwrap();
    let swap = |path: &Path| {
        fs::rename(path, path.with_extension("old")).unwrap();
        symlink("large.old", path).unwrap();
    };
    for meddle in [&replace as &dyn Fn(&Path), &delete, &swap] {
        let (received, work) = meddled(meddle, NARROW);
        let there = u64::from(work.join("target/large").exists());
        assert_eq!(received.failed_count + there, 1);
        fs::remove_dir_all(work).unwrap();
    }
}

/// Many small files share blocks; some of them are gone or different when their turn comes.
#[test]
fn n76_changed_small_files_do_not_take_their_neighbours_along() {
    for seed in 0..4 {
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        fs::create_dir(&source).unwrap();
        let mut random = Random(seed);
        for index in 0..3000 {
            let size = 1 + random.below(700);
            fs::write(source.join(format!("f{index}")), random.bytes(size)).unwrap();
        }
        let before = pair::look(&source);
        let outgoing = outgoing(&[&source]);
        let target = work.path().join("target");
        let incoming = incoming(&[&source], &target, true).unwrap();
        let mut meddled = std::collections::BTreeSet::new();
        let mut step = |_| {
            let index = random.below(3000);
            let path = source.join(format!("f{index}"));
            // What is listed as changed already is not a change.
            let listed = outgoing.totals().scanned;
            if listed && random.chance(30) && meddled.insert(index) {
                match random.below(3) {
                    0 => fs::remove_file(path).unwrap(),
                    1 => fs::write(path, b"changed").unwrap(),
                    _ => File::options()
                        .append(true)
                        .open(path)
                        .unwrap()
                        .write_all(b"+")
                        .unwrap(),
                }
            }
        };
        let network = Network {
            window: 200,
            ..ROUGH
        };
        let received = run(&outgoing, incoming, network, seed, &mut step).unwrap();
        let after = pair::look(&target);
        for (path, what) in &after {
            assert!(before[path] == *what, "{path:?} is mixed");
        }
        assert_eq!(after.len() as u64 + received.failed_count, 3000);
        assert_eq!(received.files, after.len() as u64);
        assert!(received.failed_count > 0 && received.failed_count <= meddled.len() as u64);
        assert!(received.files >= 3000 - meddled.len() as u64);
    }
}

#[test]
fn stopping_ends_a_scan_that_waits() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    for index in 0..500 {
        fs::write(source.join(format!("f{index}")), "x").unwrap();
    }
    let outgoing = outgoing(&[&source]);
    let mut told = 0;
    let totals = outgoing.scan(&mut |_| {
        told += 1;
        outgoing.stop();
    });
    assert!(!totals.unwrap().scanned);
    assert_eq!(told, 1);
}

#[test]
fn the_last_block_is_filled_up_with_zeros() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("short");
    fs::write(&source, b"0123456789").unwrap();
    let outgoing = outgoing(&[&source]);
    let totals = outgoing.scan(&mut |_| {}).unwrap();
    assert_eq!(
        (totals.files, totals.bytes, totals.content_bytes),
        (1, 10, 10)
    );
    let mut batch = Pool::new(1).try_take().unwrap();
    batch.shape(segment_len(pair::BLOCK_LEN), 1);
    batch.bytes_mut().fill(0xaa);
    outgoing.fill(&[BlockAddr::content(0)], &mut batch).unwrap();
    let block = &batch.bytes()[HEADER_LEN + BLOCK_ADDR_LEN..][..pair::BLOCK_LEN];
    assert_eq!(&block[..10], b"0123456789");
    assert!(block[10..].iter().all(|byte| *byte == 0));
    let never = outgoing.fill(&[BlockAddr::content(1)], &mut batch);
    assert!(matches!(never, Err(DiskError::NotAvailable(_))));
    outgoing.release(Stream::Content, BlockNo(1));
    outgoing.fill(&[BlockAddr::content(0)], &mut batch).unwrap();
    let addr = BlockAddr::decode(&batch.bytes()[HEADER_LEN..]).unwrap();
    assert_eq!(addr, BlockAddr::content(VOID), "forgotten");
}

/// The list says of the first torn copy which files are whole in it: a later copy in which another
/// file is missing would pass for the first.
#[test]
fn every_copy_of_a_torn_block_is_the_same() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let names = ["a", "b", "c"];
    for name in names {
        fs::write(at(name), name.repeat(100)).unwrap();
    }
    let sources = names.map(at);
    let outgoing = outgoing(&[&sources[0], &sources[1], &sources[2]]);
    outgoing.scan(&mut |_| {}).unwrap();
    let pool = Pool::new(1);
    let fill = || {
        let mut batch = pool.try_take().unwrap();
        batch.shape(segment_len(pair::BLOCK_LEN), 1);
        let grown = outgoing.fill(&[BlockAddr::content(0)], &mut batch).unwrap();
        let body = batch.bytes()[HEADER_LEN..][..BLOCK_ADDR_LEN + pair::BLOCK_LEN].to_vec();
        (body, grown.is_some())
    };
    let (whole, grown) = fill();
    assert_eq!(whole[..BLOCK_ADDR_LEN], BlockAddr::content(0).encode());
    assert!(!grown);
    fs::write(at("b"), "B").unwrap();
    let torn = fill();
    assert_eq!(torn.0[..BLOCK_ADDR_LEN], BlockAddr::content(TORN).encode());
    assert!(torn.1, "the list says so");
    fs::write(at("c"), "C").unwrap();
    assert_eq!(fill().0, torn.0);
}
