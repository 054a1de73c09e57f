//! What would become of a destination is told, and nothing becomes of it.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use haul_disk::{
    Act, Asked, Change, FailureKind, Incoming, Landing, Outgoing, Overwrite, Preserve,
    ReceiveOptions, Received, Resume, ScanOptions, Wanted,
};
use pair::{BLOCK_LEN, CLEAN, ROUGH, Random, Seed, drive, drive_told, look, peer::Peer};

type Told = BTreeMap<String, Act>;

fn options() -> ReceiveOptions {
    let mut options = ReceiveOptions::new(Preserve::USUAL);
    options.placing.delete = true;
    options.placing.dry_run = true;
    options.resume = Resume::Attributes;
    options.file_events = true;
    options
}

/// Sends `source` as it was written to `destination`; what was told, and how many blocks of content went.
fn send(
    source: &str,
    destination: &Path,
    options: &ReceiveOptions,
    create_dir: bool,
) -> (Received, Told, u64) {
    let scan = ScanOptions {
        recursive: true,
        times: true,
        ..ScanOptions::default()
    };
    let outgoing = Outgoing::new(BLOCK_LEN, Wanted::new(vec![source.into()], scan));
    let asked = Asked::of(&[source]);
    let bytes = destination.as_os_str().as_bytes();
    let resolve = match options.placing.dry_run {
        true => Landing::rehearse,
        false => Landing::resolve,
    };
    let (root, landing) = resolve(Path::new("/"), bytes, asked, create_dir).unwrap();
    let mut incoming = Incoming::new(root, landing, options.clone(), BLOCK_LEN).unwrap();
    incoming.tell_had();
    let mut told = Told::new();
    let mut note = |change: Change| {
        let path = String::from_utf8(change.path.into_vec()).unwrap();
        assert_eq!(told.insert(path, change.act), None, "told once");
    };
    let done = drive_told(&outgoing, incoming, ROUGH, 5, &mut |_| true, &mut note);
    let (received, sent) = done.unwrap();
    (received.unwrap(), told, sent)
}

fn plant(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// All there is, with times of change.
fn state(top: &Path) -> Vec<(PathBuf, i64, i64)> {
    let names = look(top).into_keys().map(|name| top.join(name));
    let names = names.chain([top.to_owned()]);
    let times = names.map(|path| {
        let found = fs::symlink_metadata(&path).unwrap();
        (path, found.ctime(), found.ctime_nsec())
    });
    times.collect()
}

#[test]
fn each_name_is_told_with_what_would_become_of_it() {
    let work = tempfile::tempdir().unwrap();
    let (from, to) = (work.path().join("from"), work.path().join("to"));
    for name in ["same", "other", "new", "sub/new", "fresh/er/x", "mode"] {
        plant(&from.join(name), name);
    }
    symlink("same", from.join("link")).unwrap();
    symlink("same", from.join("link too")).unwrap();
    symlink("nowhere", from.join("new link")).unwrap();
    let source = format!("{}/.", from.display());
    let mut real = options();
    real.placing.dry_run = false;
    send(&source, &to, &real, true);
    for name in ["new", "sub/new", "new link"] {
        fs::remove_file(to.join(name)).unwrap();
    }
    fs::remove_dir_all(to.join("fresh")).unwrap();
    plant(&to.join("other"), "differs");
    plant(&to.join("gone/x"), "");
    fs::remove_file(to.join("link")).unwrap();
    symlink("elsewhere", to.join("link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(to.join("mode"), mode).unwrap();
    let file = fs::File::options().write(true).open(to.join("other"));
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    file.unwrap().set_modified(long_ago).unwrap();

    let before = state(work.path());
    let (received, told, sent) = send(&source, &to, &options(), false);
    assert_eq!(state(work.path()), before, "nothing is changed");
    let expected = [
        ("fresh", Act::Create),
        ("fresh/er", Act::Create),
        ("fresh/er/x", Act::Create),
        ("gone", Act::Delete),
        ("gone/x", Act::Delete),
        ("link", Act::Replace),
        ("link too", Act::Keep),
        ("mode", Act::Update),
        ("new", Act::Create),
        ("new link", Act::Create),
        ("other", Act::Replace),
        ("same", Act::Keep),
        ("sub", Act::Update),
        ("sub/new", Act::Create),
    ];
    let expected = expected.map(|(name, act)| (name.to_owned(), act));
    assert_eq!(told, Told::from(expected));
    assert_eq!(sent, 0, "no content is asked for");
    assert_eq!((received.files, received.there_files), (6, 2));
    assert_eq!((received.deleted, received.failed_count), (2, 0));

    let mut never = options();
    never.placing.overwrite = Overwrite::Never;
    let (received, told, _) = send(&source, &to, &never, false);
    assert_eq!(
        (told["other"], told["link"], received.kept),
        (Act::Keep, Act::Keep, 3)
    );
}

#[test]
fn what_would_fail_is_told_and_then_nothing_is_said_to_go() {
    let work = tempfile::tempdir().unwrap();
    let (from, to) = (work.path().join("from"), work.path().join("to"));
    plant(&from.join("dir"), "");
    plant(&from.join("file/x"), "");
    plant(&to.join("dir/x"), "");
    plant(&to.join("file"), "");
    plant(&to.join("gone"), "");
    let source = format!("{}/.", from.display());
    let before = state(work.path());
    let (received, told, _) = send(&source, &to, &options(), false);
    assert_eq!(state(work.path()), before);
    let whys: BTreeSet<_> = received
        .failed
        .iter()
        .map(|file| file.why.to_string())
        .collect();
    assert!(
        whys.contains(&FailureKind::IsADirectory.to_string()),
        "{whys:?}"
    );
    assert!(
        whys.contains(&FailureKind::NotADirectory.to_string()),
        "{whys:?}"
    );
    assert!(received.undeleted.is_some() && !told.contains_key("gone"));
}

#[test]
fn a_destination_that_would_be_made_is_not() {
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("from");
    plant(&from.join("sub/x"), "x");
    let before = state(work.path());
    let contents = format!("{}/.", from.display());
    let whole = from.to_str().unwrap();
    for (source, to, create_dir, expected) in [
        (contents.as_str(), "to", false, &[".", "sub", "sub/x"][..]),
        (&contents, "to/deep/er", true, &[".", "sub", "sub/x"]),
        (
            whole,
            "to/deep/",
            true,
            &[".", "from", "from/sub", "from/sub/x"],
        ),
        (whole, "to", false, &["to", "to/sub", "to/sub/x"]),
    ] {
        let (received, told, sent) = send(source, &work.path().join(to), &options(), create_dir);
        assert_eq!(told.keys().collect::<Vec<_>>(), expected, "{to}");
        assert!(told.values().all(|act| *act == Act::Create));
        assert_eq!((received.files, received.failed_count, sent), (1, 0, 0));
        assert_eq!(state(work.path()), before);
    }
    let asked = Asked::of(&[&contents]);
    let deep = work.path().join("to/deep");
    let refused = Landing::rehearse(Path::new("/"), deep.as_os_str().as_bytes(), asked, false);
    assert!(refused.is_err(), "its parent is missing");
}

#[test]
fn what_a_run_that_was_cut_off_has_left_is_seen_and_stays() {
    let work = tempfile::tempdir().unwrap();
    let (from, to) = (work.path().join("from"), work.path().join("to"));
    fs::create_dir(&to).unwrap();
    plant(&from, "");
    fs::write(&from, Random(1).bytes(8 << 20)).unwrap();
    let mut real = options();
    real.placing.dry_run = false;
    let scan = ScanOptions {
        recursive: true,
        times: true,
        ..ScanOptions::default()
    };
    let source = from.to_str().unwrap();
    let outgoing = Outgoing::new(BLOCK_LEN, Wanted::new(vec![from.clone()], scan));
    let asked = Asked::of(&[source]);
    let bytes = to.as_os_str().as_bytes();
    let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
    let mut incoming = Incoming::new(root, landing, real.clone(), BLOCK_LEN).unwrap();
    incoming.tell_had();
    drive(&outgoing, incoming, CLEAN, 1, &mut |delivered| {
        delivered < 4000
    })
    .unwrap();
    assert!(to.join(".from.haul-part").exists() && to.join(".haul-journal").exists());

    let before = state(work.path());
    let (received, told, _) = send(source, &to, &options(), false);
    assert_eq!(state(work.path()), before);
    assert_eq!(told, Told::from([("from".to_owned(), Act::Create)]));
    assert!(received.there_bytes > 4 << 20, "{}", received.there_bytes);
    let (_, _, sent) = send(source, &to, &real, false);
    assert!(sent < 4000, "the journal has stayed: {sent}");
}

#[test]
fn content_that_comes_uncalled_for_goes_nowhere() {
    let into = tempfile::tempdir().unwrap();
    let mut peer = Peer::with(into.path(), options());
    peer.content(0, 1).unwrap();
    peer.list(pair::peer::file(0, "f", 250)).unwrap();
    peer.content(1, 2).unwrap();
    peer.content(2, 3).unwrap();
    peer.end().unwrap();
    assert!(peer.incoming.is_complete());
    assert_eq!(peer.incoming.finish().unwrap().files, 1);
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
}

#[test]
fn a_rehearsal_says_what_comes_true() {
    let seed = 23;
    let _seed = Seed(seed);
    let mut random = Random(seed);
    for round in 0..5 {
        let work = tempfile::tempdir().unwrap();
        let (from, to) = (work.path().join("from"), work.path().join("to"));
        for top in [&from, &to] {
            fs::create_dir(top).unwrap();
            for _ in 0..30 {
                let depth = random.below(4);
                let dirs: String = (0..depth)
                    .map(|_| format!("d{}/", random.below(4)))
                    .collect();
                let len = random.below(3000);
                let text = String::from_utf8(vec![b'x'; len]).unwrap();
                plant(&top.join(format!("{dirs}f{}", random.below(9))), &text);
            }
        }
        let source = format!("{}/.", from.display());
        let names = || -> BTreeSet<String> {
            let names = look(&to).into_keys();
            names
                .map(|name| name.to_str().unwrap().to_owned())
                .collect()
        };
        let before = names();
        let (foretold, told, _) = send(&source, &to, &options(), false);
        let mut expected = before.clone();
        for (name, act) in told {
            match act {
                Act::Create => assert!(expected.insert(name)),
                Act::Delete => assert!(expected.remove(&name)),
                Act::Replace | Act::Update | Act::Keep => assert!(before.contains(&name)),
            }
        }
        let mut real = options();
        real.placing.dry_run = false;
        let (received, _, _) = send(&source, &to, &real, false);
        assert_eq!(names(), expected, "round {round}");
        assert_eq!(
            (
                received.files,
                received.bytes,
                received.there_files,
                received.deleted
            ),
            (
                foretold.files,
                foretold.bytes,
                foretold.there_files,
                foretold.deleted
            )
        );
    }
}
