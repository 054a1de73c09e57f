//! Nothing outside the destination changes, whatever is planted there and whatever the peer lists.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use haul_disk::{DiskError, Expected, FailureKind, Preserve, ReceiveOptions};
use haul_manifest::{DirId, Entry, Layout};
use pair::{
    look,
    peer::{Peer, dir, file, link, meta, name},
};
use rustix::{
    fs::{CWD, FlockOperation, Mode, flock, mkfifoat},
    process::{Uid, geteuid},
    thread::set_thread_res_uid,
};

struct Place {
    work: tempfile::TempDir,
}

impl Place {
    /// A destination `into` and, beside it, an `outside` that must not change.
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir_all(work.path().join("into")).unwrap();
        fs::create_dir_all(work.path().join("outside/dir")).unwrap();
        fs::write(work.path().join("outside/victim"), "precious").unwrap();
        Self { work }
    }

    fn target(&self) -> std::path::PathBuf {
        self.work.path().join("into")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.work.path().join("outside")
    }
}

/// Sends one file of one block and ends; the failures.
fn send_one(peer: &mut Peer, entries: Vec<Entry>) -> Vec<FailureKind> {
    for entry in entries {
        peer.list(entry).unwrap();
    }
    peer.end().unwrap();
    let placed = peer.content(0, b'x').unwrap();
    assert!(placed.complete);
    let failed = &peer.incoming.received().failed;
    failed.iter().map(|failure| failure.why).collect()
}

#[test]
fn n66_link_at_the_final_name_is_replaced_not_followed() {
    let place = Place::new();
    symlink(place.outside().join("victim"), place.target().join("f")).unwrap();
    let mut peer = Peer::new(&place.target());
    assert_eq!(send_one(&mut peer, vec![file(0, "f", 100)]), []);
    assert_eq!(fs::read(place.target().join("f")).unwrap(), [b'x'; 100]);
    assert!(!place.target().join("f").is_symlink());
    assert_eq!(
        fs::read(place.outside().join("victim")).unwrap(),
        b"precious"
    );
}

#[test]
fn n66_link_as_parent_or_grandparent_is_not_entered() {
    for target in [
        "../outside",
        "../outside/dir",
        "/etc",
        "/proc/self/root",
        "a",
    ] {
        for connect in [Peer::new, Peer::walking] {
            let place = Place::new();
            let before = look(&place.outside());
            symlink(target, place.target().join("a")).unwrap();
            let mut peer = connect(&place.target());
            let entries = vec![
                dir(0, "a"),
                dir(1, "dir"),
                file(2, "f", 50),
                file(1, "g", 50),
            ];
            let failed = send_one(&mut peer, entries);
            assert_eq!(failed[0], FailureKind::NotADirectory);
            assert_eq!(failed[1..], [FailureKind::ParentFailed; 3]);
            assert_eq!(look(&place.outside()), before);
        }
    }
}

#[test]
fn n67_directory_swapped_for_a_link_is_not_entered() {
    for connect in [Peer::new, Peer::walking] {
        swap_under(connect);
    }
}

fn swap_under(connect: fn(&Path) -> Peer) {
    let place = Place::new();
    let before = look(&place.outside());
    let mut peer = connect(&place.target());
    peer.list(dir(0, "a")).unwrap();
    for index in 0..200 {
        // More directories than are held open: the first has to be looked up again.
        peer.list(dir(1, &format!("d{index}"))).unwrap();
        peer.list(file(index + 2, "empty", 0)).unwrap();
    }
    fs::rename(place.target().join("a"), place.target().join("moved")).unwrap();
    symlink("../outside", place.target().join("a")).unwrap();
    peer.list(file(2, "late", 100)).unwrap();
    peer.end().unwrap();
    peer.content(0, b'x').unwrap();
    assert_eq!(look(&place.outside()), before);
    let landed = place.target().join("moved/d0/late").exists();
    let failed = peer.incoming.received().failed_count == 1;
    assert!(landed || failed, "by the held descriptor or not at all");
}

#[test]
fn links_of_the_peer_are_made_last_and_never_followed() {
    let place = Place::new();
    let before = look(&place.outside());
    let mut peer = Peer::new(&place.target());
    peer.list(link(0, "a", "../outside")).unwrap();
    peer.list(dir(0, "a")).unwrap();
    peer.list(file(1, "victim", 100)).unwrap();
    peer.list(link(0, "dangling", "/nowhere")).unwrap();
    peer.end().unwrap();
    peer.content(0, b'x').unwrap();
    assert!(!place.target().join("dangling").is_symlink(), "not yet");
    let received = peer.incoming.finish().unwrap();
    assert_eq!(received.symlinks, 1);
    assert_eq!(received.failed[0].why, FailureKind::IsADirectory);
    assert!(place.target().join("dangling").is_symlink());
    assert_eq!(look(&place.outside()), before);
}

#[test]
fn n69_what_is_no_file_is_not_replaced_and_nothing_hangs() {
    let place = Place::new();
    let at = |name: &str| place.target().join(name);
    mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("dir")).unwrap();
    let mut peer = Peer::new(&place.target());
    let entries = vec![
        file(0, "fifo", 30),
        file(0, "socket", 30),
        file(0, "dir", 40),
        file(0, "fifo", 0),
        link(0, "fifo", "x"),
    ];
    let failed = send_one(&mut peer, entries);
    let special = FailureKind::SpecialInPlace;
    assert_eq!(
        failed,
        [special, special, special, FailureKind::IsADirectory]
    );
    let received = peer.incoming.finish().unwrap();
    assert_eq!(received.failed_count, 5);
    assert_eq!(
        fs::read_dir(place.target()).unwrap().count(),
        3,
        "partial files are gone"
    );
}

#[test]
fn n71_hard_link_to_a_victim_is_not_written_through() {
    let place = Place::new();
    let victim = place.outside().join("victim");
    for name in ["f", "empty"] {
        fs::hard_link(&victim, place.target().join(name)).unwrap();
    }
    // Even under the partial name: it has another name, so it is not ours to remove.
    fs::hard_link(&victim, place.target().join(".f.haul-part")).unwrap();
    let mut peer = Peer::new(&place.target());
    let failed = send_one(&mut peer, vec![file(0, "f", 100), file(0, "empty", 0)]);
    assert_eq!(failed, []);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read(place.target().join("f")).unwrap(), [b'x'; 100]);
    assert_eq!(fs::metadata(place.target().join("empty")).unwrap().len(), 0);
    assert_eq!(
        fs::metadata(&victim).unwrap().nlink(),
        2,
        "victim and partial name"
    );
}

#[test]
fn n72_link_planted_at_the_partial_name_is_left_alone() {
    let place = Place::new();
    let planted = place.target().join(".f.haul-part");
    symlink(place.outside().join("victim"), &planted).unwrap();
    let mut peer = Peer::new(&place.target());
    assert_eq!(send_one(&mut peer, vec![file(0, "f", 100)]), []);
    assert!(planted.is_symlink());
    assert_eq!(
        fs::read(place.outside().join("victim")).unwrap(),
        b"precious"
    );
}

#[test]
fn n72_stale_partial_is_replaced_and_one_in_use_is_not() {
    let place = Place::new();
    let stale = place.target().join(".f.haul-part");
    fs::write(&stale, "left over").unwrap();
    let mut peer = Peer::new(&place.target());
    assert_eq!(send_one(&mut peer, vec![file(0, "f", 100)]), []);
    assert!(!stale.exists());

    fs::write(&stale, "being written").unwrap();
    let other = File::options().write(true).open(&stale).unwrap();
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut peer = Peer::new(&place.target());
    let failed = send_one(&mut peer, vec![file(0, "f", 50), file(0, "g", 50)]);
    assert_eq!(failed, [FailureKind::Busy]);
    assert_eq!(fs::read(&stale).unwrap(), b"being written");
    assert_eq!(fs::read(place.target().join("g")).unwrap(), [b'x'; 50]);
}

#[test]
fn two_transfers_of_one_file_do_not_mix() {
    let place = Place::new();
    let mut first = Peer::new(&place.target());
    let mut second = Peer::new(&place.target());
    for peer in [&mut first, &mut second] {
        peer.list(file(0, "f", 200)).unwrap();
        peer.end().unwrap();
    }
    first.content(0, b'1').unwrap();
    second.content(0, b'2').unwrap();
    second.content(1, b'2').unwrap();
    first.content(1, b'1').unwrap();
    assert_eq!(second.incoming.received().failed[0].why, FailureKind::Busy);
    assert_eq!(fs::read(place.target().join("f")).unwrap(), [b'1'; 200]);
}

#[test]
fn abandoned_partial_stays_and_final_name_is_free() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    peer.list(file(0, "f", 200)).unwrap();
    peer.list(file(0, "large", 70_000)).unwrap();
    peer.content(0, b'1').unwrap();
    peer.content(2, b'2').unwrap();
    peer.incoming.abandon();
    // A small one is as long as what has been written of it, a large one as long as it will be.
    for (name, len) in [("f", 100), ("large", 70_000)] {
        assert!(!place.target().join(name).exists());
        let partial = place.target().join(format!(".{name}.haul-part"));
        let partial = fs::metadata(partial).unwrap();
        assert_eq!(partial.permissions().mode() & 0o7777, 0o600);
        assert_eq!(partial.len(), len);
    }
}

#[test]
fn n73_special_mode_bits_are_never_applied() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    let mut entries = vec![file(0, "f", 100), file(0, "empty", 0), dir(0, "d")];
    for entry in &mut entries {
        if let Entry::File { meta, .. } | Entry::Dir { meta, .. } = entry {
            meta.mode = 0o106777;
        }
    }
    assert_eq!(send_one(&mut peer, entries), []);
    peer.incoming.finish().unwrap();
    for name in ["f", "empty", "d"] {
        let mode = fs::metadata(place.target().join(name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o777, "{name}");
    }
}

#[test]
fn umask_applies_unless_modes_are_kept() {
    let place = Place::new();
    let options = ReceiveOptions {
        umask: 0o027,
        ..ReceiveOptions::new(Preserve::default())
    };
    let mut peer = Peer::with(&place.target(), options);
    let mut entries = vec![
        file(0, "f", 100),
        file(0, "empty", 0),
        dir(0, "d"),
        dir(0, "ro"),
    ];
    for entry in &mut entries {
        if let Entry::File { meta, .. } | Entry::Dir { meta, .. } = entry {
            meta.mode = 0o777;
        }
    }
    if let Entry::Dir { meta, .. } = &mut entries[3] {
        meta.mode = 0o555;
    }
    entries.push(file(2, "within", 0));
    assert_eq!(send_one(&mut peer, entries), []);
    peer.incoming.finish().unwrap();
    for (name, mode) in [("f", 0o750), ("empty", 0o750), ("d", 0o750), ("ro", 0o550)] {
        let found = fs::metadata(place.target().join(name)).unwrap().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
}

/// A directory that its owner may not enter in the end, with more in it than are held open.
#[test]
fn directories_lose_their_permissions_from_the_bottom_up() {
    let place = Place::new();
    fs::set_permissions(place.work.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(place.target(), PermissionsExt::from_mode(0o777)).unwrap();
    let unprivileged = || {
        if geteuid().is_root() {
            // This thread becomes nobody.
            let nobody = Uid::from_raw(65_534);
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let closed = |parent, called: &str| Entry::Dir {
            parent: DirId(parent),
            name: name(called),
            meta: meta(0),
        };
        let mut peer = Peer::new(&place.target());
        peer.list(closed(0, "top")).unwrap();
        for index in 0..300 {
            peer.list(closed(1, &format!("d{index}"))).unwrap();
            peer.list(file(2 + index, "empty", 0)).unwrap();
        }
        peer.end().unwrap();
        let received = peer.incoming.finish().unwrap();
        assert_eq!((received.failed, received.files), (vec![], 300));
    };
    std::thread::scope(|scope| scope.spawn(unprivileged).join().unwrap());
    let top = place.target().join("top");
    assert_eq!(fs::metadata(&top).unwrap().mode() & 0o7777, 0);
    // So that whoever runs this can look inside and clean up.
    fs::set_permissions(&top, PermissionsExt::from_mode(0o700)).unwrap();
    for index in 0..300 {
        let dir = top.join(format!("d{index}"));
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0);
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn n74_names_that_were_not_asked_for_end_the_download() {
    let place = Place::new();
    let options = || ReceiveOptions {
        expected: Some(Expected::new(&["dir/*.txt"])),
        ..ReceiveOptions::new(Preserve::default())
    };
    let mut peer = Peer::with(&place.target(), options());
    peer.list(file(0, "a.txt", 0)).unwrap();
    peer.list(dir(0, "d.txt")).unwrap();
    peer.list(file(1, "anything", 0)).unwrap();
    // What has been listed is made on another thread.
    drop(peer);
    for entry in [file(0, ".ssh", 0), dir(0, ".ssh"), link(0, "b", "x")] {
        let mut peer = Peer::with(&place.target(), options());
        let refused = peer.list(entry);
        assert!(matches!(refused, Err(DiskError::Unexpected { .. })));
    }
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 2);
}

#[test]
fn only_one_thing_can_take_the_destinations_name() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target().join("renamed"));
    peer.list(file(0, "a", 0)).unwrap();
    let second = peer.list(file(0, "b", 0));
    assert!(matches!(second, Err(DiskError::NotADirectory { .. })));
    let mut peer = Peer::new(&place.target().join("new/"));
    let no_dir = peer.list(file(0, "a", 0));
    assert!(matches!(no_dir, Err(DiskError::NotADirectory { .. })));
}

#[test]
fn n64_second_file_of_one_name_does_not_replace_the_first() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    let failed = send_one(
        &mut peer,
        vec![file(0, "e", 0), file(0, "e", 0), file(0, "e", 100)],
    );
    assert_eq!(failed, [FailureKind::Collision; 2]);
}

#[test]
fn nothing_that_is_sent_is_taken_for_a_journal() {
    let entries = [
        file(0, ".haul-journal", 100),
        file(0, ".haul-journal.1", 0),
        link(0, ".haul-journal.2", "x"),
        dir(0, ".haul-journal.3"),
    ];
    for entry in entries {
        let place = Place::new();
        let mut peer = Peer::new(&place.target());
        peer.list(entry).unwrap();
        peer.list(file(0, "f", 100)).unwrap();
        peer.end().unwrap();
        for block in 0..2 {
            // Of one that has no content there is one block fewer.
            let _ = peer.content(block, b'x');
        }
        assert_eq!(
            peer.incoming.received().failed[0].why,
            FailureKind::Reserved
        );
        assert!(peer.incoming.is_complete());
        let names: Vec<_> = fs::read_dir(place.target())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["f"]);
    }
    // Elsewhere it is a name like any other.
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    let below = vec![dir(0, "d"), file(1, ".haul-journal", 100)];
    assert_eq!(send_one(&mut peer, below), []);
}

#[test]
fn n77_destination_removed_meanwhile_is_a_clean_failure() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    fs::remove_dir(place.target()).unwrap();
    fs::create_dir(place.target()).unwrap();
    let failed = send_one(&mut peer, vec![file(0, "f", 100), dir(0, "d")]);
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 0);
}

#[test]
fn d106_absurd_size_fails_alone() {
    let place = Place::new();
    let mut peer = Peer::new(&place.target());
    let huge = Entry::File {
        parent: DirId(0),
        name: name("huge"),
        meta: meta(0o644),
        size: i64::MAX as u64,
        layout: Layout::Sparse(vec![]),
        digest: None,
    };
    let failed = send_one(&mut peer, vec![huge, file(0, "f", 100)]);
    let at = place.target().join("huge");
    assert!(failed.len() == 1 || fs::metadata(at).unwrap().blocks() == 0);
    assert_eq!(fs::read(place.target().join("f")).unwrap(), [b'x'; 100]);
}

/// The parent is swapped for a link and back, in a loop, while files are made in it.
#[test]
fn n67_racing_swaps_of_a_parent_never_lead_outside() {
    let place = Place::new();
    let before = look(&place.outside());
    let into = place.target();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&into, &stop));
        let mut walk = false;
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            walk = !walk;
            let mut peer = if walk {
                Peer::walking(&into)
            } else {
                Peer::new(&into)
            };
            peer.list(dir(0, "a")).unwrap();
            peer.list(dir(1, "b")).unwrap();
            for index in 0..10 {
                peer.list(file(2, &format!("f{index}"), 10)).unwrap();
                peer.list(file(1, &format!("e{index}"), 0)).unwrap();
                peer.list(link(2, &format!("l{index}"), "/etc")).unwrap();
            }
            peer.end().unwrap();
            peer.content(0, b'x').unwrap();
            peer.incoming.finish().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(look(&place.outside()), before);
}

fn swap(into: &Path, stop: &std::sync::atomic::AtomicBool) {
    let at = |name: &str| into.join(name);
    symlink("../outside", at("trap")).unwrap();
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        // Each may fail, because the transfer makes the directory as well.
        let _ = fs::rename(at("a"), at("parked"));
        let _ = fs::rename(at("trap"), at("a"));
        let _ = fs::rename(at("a"), at("trap"));
        let _ = fs::remove_dir_all(at("parked"));
    }
}
