//! What files have beside their contents arrives with them, as far as was asked for and no further.
//! As root: only root may give files away, and set what gives power.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
};

use haul_disk::{
    Asked, Attribute, DiskError, FailureKind, Incoming, KeepError, Landing, Outgoing, Overwrite,
    Preserve, ReceiveOptions, Received, Resume, ScanOptions, Unkept, Wanted,
};
use pair::{
    BLOCK_LEN, CLEAN, ROUGH, assert_same,
    xattrs::{ACCESS, DEFAULT, acl, capability, get, need_root, set},
};
use rustix::{
    fs::{XattrFlags, lsetxattr},
    io::Errno,
    process::Uid,
    thread::set_thread_res_uid,
};

const ALL: Preserve = Preserve {
    mode: true,
    times: true,
    owner: true,
    xattrs: true,
    acls: true,
    hard_links: true,
    privileged: true,
    strict: true,
};
const ARCHIVE: Preserve = Preserve {
    privileged: false,
    strict: false,
    ..ALL
};
/// In the order in which they are found.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Sends a tree as options say; what the sender could not read, and the receiver's account.
fn send(source: &Path, into: &Path, preserve: Preserve, seed: u64) -> (Vec<Unkept>, Received) {
    sent(source, into, preserve, seed, |_| {}).unwrap()
}

fn sent(
    source: &Path,
    into: &Path,
    preserve: Preserve,
    seed: u64,
    change: impl Fn(&mut ReceiveOptions),
) -> Result<(Vec<Unkept>, Received), DiskError> {
    let scan = ScanOptions {
        recursive: true,
        times: true,
        preserve,
        ..ScanOptions::default()
    };
    let outgoing = Outgoing::new(BLOCK_LEN, Wanted::new(vec![source.to_owned()], scan));
    let (root, landing) = landing(into);
    let mut options = ReceiveOptions::new(preserve);
    change(&mut options);
    let mut incoming = Incoming::new(root, landing, options.clone(), BLOCK_LEN)?;
    if options.is_judged() {
        incoming.tell_had();
    }
    let network = if seed == 0 { CLEAN } else { ROUGH };
    let received = pair::run(&outgoing, incoming, network, seed, &mut |_| {})?;
    Ok((outgoing.unkept(), received))
}

fn landing(into: &Path) -> (haul_disk::Root, Landing) {
    use std::os::unix::ffi::OsStrExt as _;
    let asked = Asked {
        count: 1,
        contents: false,
    };
    let bytes = into.as_os_str().as_bytes();
    Landing::resolve(Path::new("/"), bytes, asked, false).unwrap()
}

/// A tree in which everything has something, and where it lands.
struct Place {
    _work: tempfile::TempDir,
    source: PathBuf,
    into: PathBuf,
}

impl Place {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("tree");
        let into = work.path().join("into");
        for dir in [&source.join("sub"), &into] {
            fs::create_dir_all(dir).unwrap();
        }
        Self {
            source,
            into,
            _work: work,
        }
    }

    fn there(&self, name: &str) -> PathBuf {
        self.into.join("tree").join(name)
    }

    fn plant(&self) {
        let at = |name: &str| self.source.join(name);
        for (name, len) in [("empty", 0), ("small", 700), ("sub/large", 300_000)] {
            fs::write(at(name), vec![b'x'; len]).unwrap();
            set(&at(name), "user.origin", name.as_bytes());
        }
        File::create(at("hole")).unwrap().set_len(1 << 20).unwrap();
        set(&at("hole"), "trusted.note", b"");
        fs::hard_link(at("sub/large"), at("also large")).unwrap();
        fs::hard_link(at("sub/large"), at("sub/third")).unwrap();
        symlink("small", at("link")).unwrap();
        fs::hard_link(at("link"), at("sub/same link")).unwrap();
        lchown(at("link"), Some(1234), Some(5678)).unwrap();
        set(&at("link"), "trusted.of_link", b"l");
        lchown(at("small"), Some(77), Some(78)).unwrap();
        lchown(at("sub"), Some(79), None).unwrap();
        set(&at("sub/large"), ACCESS, &acl(4));
        set(&at("sub"), DEFAULT, &acl(7));
        set(&at("sub"), "user.dir", &[0; 3000]);
        set(&at("small"), "security.capability", &capability());
        fs::set_permissions(at("empty"), Permissions::from_mode(0o6755)).unwrap();
        fs::set_permissions(at("sub"), Permissions::from_mode(0o3750)).unwrap();
    }
}

/// What [`Place::plant`] planted has arrived.
fn check(place: &Place) {
    assert_same(&place.source, &place.into.join("tree"));
    for name in [
        "empty",
        "small",
        "hole",
        "link",
        "sub",
        "sub/large",
        "sub/third",
    ] {
        let [from, to] = [place.source.join(name), place.there(name)];
        let [a, b] = [&from, &to].map(|path| fs::symlink_metadata(path).unwrap());
        assert_eq!((a.uid(), a.gid()), (b.uid(), b.gid()), "{name}");
        assert_eq!(a.mode(), b.mode(), "{name}");
        if !a.is_dir() {
            assert_eq!(a.nlink(), b.nlink(), "{name}");
        }
        for xattr in [
            "user.origin",
            "user.dir",
            "trusted.note",
            "trusted.of_link",
            "security.capability",
            ACCESS,
            DEFAULT,
        ] {
            assert_eq!(get(&from, xattr), get(&to, xattr), "{xattr} of {name}");
        }
    }
    for [one, other] in [
        ["sub/large", "also large"],
        ["sub/large", "sub/third"],
        ["link", "sub/same link"],
    ] {
        let [a, b] = [one, other].map(|name| fs::symlink_metadata(place.there(name)).unwrap());
        assert_eq!(a.ino(), b.ino(), "{one} and {other}");
    }
}

#[test]
fn everything_that_was_asked_for_is_kept() {
    need_root();
    for seed in [0, 31, 32] {
        let place = Place::new();
        place.plant();
        let (unread, received) = send(&place.source, &place.into, ALL, seed);
        assert_eq!(
            (unread, received.failed, received.unkept),
            (vec![], vec![], vec![])
        );
        assert_eq!(
            (received.files, received.symlinks),
            (6 + 1, 1),
            "names of files"
        );
        check(&place);
    }
}

#[test]
fn a_second_run_brings_attributes_up_to_date_and_sends_nothing() {
    need_root();
    let place = Place::new();
    place.plant();
    fs::write(place.source.join("one"), "1 and 2").unwrap();
    fs::hard_link(place.source.join("one"), place.source.join("two")).unwrap();
    send(&place.source, &place.into, ALL, 0);
    let (small, large) = (place.source.join("small"), place.source.join("sub/large"));
    let before = fs::symlink_metadata(place.there("sub/large")).unwrap();
    set(&small, "user.origin", b"changed");
    set(&small, "user.new", b"new");
    rustix::fs::removexattr(&large, "user.origin").unwrap();
    rustix::fs::removexattr(&large, ACCESS).unwrap();
    lchown(&small, Some(80), None).unwrap();
    // Of the names of one file in one directory the second that is found.
    let is_linked = |name: &&String| ["one", "two"].contains(&name.as_str());
    let last = names(&place.source)
        .into_iter()
        .rfind(|name| is_linked(&name))
        .unwrap();
    fs::remove_file(place.there(&last)).unwrap();
    fs::write(place.there(&last), "something else").unwrap();
    let again = |options: &mut ReceiveOptions| options.resume = Resume::Attributes;
    let (_, received) = sent(&place.source, &place.into, ALL, 0, again).unwrap();
    assert_eq!((&received.failed, &received.unkept), (&vec![], &vec![]));
    // The name that had gone is made, and so is that of the link, which is made anew each time.
    assert_eq!(received.there_files, 9 - 2);
    assert_eq!(received.there_bytes, received.bytes);
    check(&place);
    assert_eq!(get(&place.there("small"), "user.new").unwrap(), b"new");
    let after = fs::symlink_metadata(place.there("sub/large")).unwrap();
    assert_eq!(after.ino(), before.ino());
}

#[test]
fn nothing_is_changed_of_files_that_have_all() {
    need_root();
    let place = Place::new();
    place.plant();
    send(&place.source, &place.into, ALL, 0);
    let times = |name: &str| {
        let stat = fs::symlink_metadata(place.there(name)).unwrap();
        (stat.ctime(), stat.ctime_nsec())
    };
    let names = ["empty", "small", "hole", "sub/large"];
    let before = names.map(times);
    let again = |options: &mut ReceiveOptions| options.resume = Resume::Attributes;
    sent(&place.source, &place.into, ALL, 0, again).unwrap();
    assert_eq!(names.map(times), before);
}

#[test]
fn without_privileges_nothing_that_gives_power_is_kept_and_each_kind_is_told_once() {
    need_root();
    let place = Place::new();
    place.plant();
    for number in 0..5 {
        let path = place.source.join(format!("theirs {number}"));
        fs::write(&path, "x").unwrap();
        lchown(&path, Some(99), Some(99)).unwrap();
    }
    let (_, received) = send(&place.source, &place.into, ARCHIVE, 5);
    assert_eq!(received.failed, []);
    let told = |attribute| received.unkept.iter().find(|u| u.attribute == attribute);
    let owner = told(Attribute::Owner).unwrap();
    assert_eq!((owner.count, owner.why), (5 + 3, KeepError::Unprivileged));
    assert!(owner.path.starts_with(b"tree/"));
    let mode = told(Attribute::Mode).unwrap();
    assert_eq!((mode.count, mode.why), (2, KeepError::Unprivileged));
    assert_eq!(received.unkept.len(), 2, "{:?}", received.unkept);
    for name in ["empty", "small", "link", "sub", "sub/large"] {
        let stat = fs::symlink_metadata(place.there(name)).unwrap();
        assert_eq!(
            (stat.uid(), stat.gid(), stat.mode() & 0o7000),
            (0, 0, 0),
            "{name}"
        );
        for power in ["trusted.note", "trusted.of_link", "security.capability"] {
            assert_eq!(get(&place.there(name), power), Err(Errno::NODATA), "{name}");
        }
    }
    assert_eq!(get(&place.there("small"), "user.origin").unwrap(), b"small");
    assert_eq!(get(&place.there("sub/large"), ACCESS).unwrap(), acl(4));
}

#[test]
fn what_must_be_kept_and_cannot_be_is_a_failure_and_not_there() {
    need_root();
    let place = Place::new();
    place.plant();
    let strict = Preserve {
        strict: true,
        ..ARCHIVE
    };
    let (_, received) = send(&place.source, &place.into, strict, 6);
    let mut failed: Vec<_> = received.failed.iter().map(|f| (&*f.path, f.why)).collect();
    failed.sort_by_key(|(path, _)| path.to_vec());
    let owner = FailureKind::Attribute(Attribute::Owner, KeepError::Unprivileged);
    let mode = FailureKind::Attribute(Attribute::Mode, KeepError::Unprivileged);
    let expected = [
        (&b"tree/empty"[..], mode),
        (b"tree/link", owner),
        (b"tree/small", owner),
        (b"tree/sub", owner),
        (b"tree/sub/same link", FailureKind::FirstNameFailed),
    ];
    assert_eq!(failed, expected);
    for name in ["empty", "small", "link", "sub/same link"] {
        assert!(fs::symlink_metadata(place.there(name)).is_err(), "{name}");
    }
    assert!(place.there("sub/third").exists() && place.there("hole").exists());
    let left = fs::read_dir(place.there("")).unwrap();
    assert_eq!(left.count(), 3, "no partial files are left");
}

#[test]
fn a_file_that_changes_its_owner_loses_what_gave_the_owner_before_power() {
    need_root();
    let place = Place::new();
    let source = place.source.join("program");
    fs::write(&source, "x").unwrap();
    send(&place.source, &place.into, ALL, 0);
    let there = place.there("program");
    fs::set_permissions(&there, Permissions::from_mode(0o4711)).unwrap();
    lchown(&source, Some(77), None).unwrap();
    let owners = Preserve {
        owner: true,
        privileged: true,
        ..Preserve::default()
    };
    let again = |options: &mut ReceiveOptions| options.resume = Resume::Attributes;
    let (_, received) = sent(&place.source, &place.into, owners, 0, again).unwrap();
    assert_eq!((received.there_files, received.unkept), (1, vec![]));
    let stat = fs::metadata(there).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (77, 0o711));
}

/// As a user who is not root, in a thread of his own.
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            let uid = Uid::from_raw(65_534);
            set_thread_res_uid(uid, uid, uid).unwrap();
            act()
        });
        user.join().unwrap()
    })
}

#[test]
fn files_that_may_not_be_written_get_their_attributes_all_the_same() {
    need_root();
    let place = Place::new();
    lchown(&place.into, Some(65_534), None).unwrap();
    fs::set_permissions(place.into.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    for name in ["empty", "small"] {
        let path = place.source.join(name);
        fs::write(&path, &name[name.len() - 1..]).unwrap();
        set(&path, "user.a", b"1");
        fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
    }
    let preserve = Preserve {
        xattrs: true,
        ..Preserve::USUAL
    };
    let again = |options: &mut ReceiveOptions| options.resume = Resume::Attributes;
    for value in [&b"1"[..], b"2"] {
        set(&place.source.join("small"), "user.a", value);
        let (_, received) =
            as_nobody(|| sent(&place.source, &place.into, preserve, 0, again).unwrap());
        assert_eq!((received.failed, received.unkept), (vec![], vec![]));
        let there = place.there("small");
        assert_eq!(get(&there, "user.a").unwrap(), value);
        let stat = fs::metadata(&there).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o444, 65_534));
    }
}

#[test]
fn what_the_system_refuses_is_told_with_its_reason() {
    need_root();
    let place = Place::new();
    lchown(&place.into, Some(65_534), None).unwrap();
    fs::set_permissions(place.into.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    for name in ["one", "two"] {
        let path = place.source.join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
        set(&path, "security.capability", &capability());
    }
    let preserve = Preserve {
        strict: false,
        ..ALL
    };
    let (_, received) =
        as_nobody(|| sent(&place.source, &place.into, preserve, 0, |_| {}).unwrap());
    assert_eq!(received.failed, []);
    let told: Vec<_> = received
        .unkept
        .iter()
        .map(|u| (u.attribute, u.why))
        .collect();
    let refused = KeepError::Os(Errno::PERM);
    assert_eq!(
        told,
        [(Attribute::Owner, refused), (Attribute::Xattrs, refused)]
    );
    let stat = fs::metadata(place.there("one")).unwrap();
    assert_eq!(
        stat.mode() & 0o7777,
        0o755,
        "nobody else's power is nobody's"
    );
}

#[test]
fn attributes_too_large_for_a_list_are_told_by_the_sender() {
    need_root();
    let place = Place::new();
    // Two of 64 KiB: ext4 takes as much only with large inodes, tmpfs and btrfs differ.
    let path = place.source.join("file");
    fs::write(&path, "x").unwrap();
    let value = vec![7; 60_000];
    let large = |name: &str| lsetxattr(&path, name, &value, XattrFlags::empty()).is_ok();
    if !(large("user.one") && large("user.two")) {
        // What no file can have here cannot be too much.
        return;
    }
    let (unread, received) = send(&place.source, &place.into, ARCHIVE, 0);
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0].attribute, Attribute::Xattrs);
    assert_eq!((unread[0].count, unread[0].why), (1, KeepError::TooLarge));
    assert_eq!(received.failed, []);
    let there = place.there("file");
    assert!(get(&there, "user.one").is_ok() && get(&there, "user.two").is_err());
    let strict = Preserve {
        strict: true,
        ..ARCHIVE
    };
    let (_, received) = send(&place.source, &place.into.join("tree"), strict, 0);
    let why = FailureKind::Skipped(haul_manifest::SkipKind::Attributes);
    assert_eq!(received.failed[0].why, why);
}

#[test]
fn links_to_what_is_kept_or_failed_are_not_made() {
    let place = Place::new();
    let at = |name: &str| place.source.join(name);
    fs::write(at("a"), "source").unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    fs::create_dir(place.into.join("tree")).unwrap();
    // Both may be listed first.
    let never = |options: &mut ReceiveOptions| options.placing.overwrite = Overwrite::Never;
    for name in ["a", "b"] {
        fs::write(place.there(name), "another's").unwrap();
        let (_, received) = sent(&place.source, &place.into, ARCHIVE, 0, never).unwrap();
        let texts = ["a", "b"].map(|name| fs::read_to_string(place.there(name)).ok());
        let is_sound = |text: &Option<String>| {
            text.as_deref()
                .is_none_or(|text| ["source", "another's"].contains(&text))
        };
        assert!(texts.iter().all(is_sound), "{texts:?}");
        assert_eq!(fs::read_to_string(place.there(name)).unwrap(), "another's");
        let other = if name == "a" { "b" } else { "a" };
        if !place.there(other).exists() {
            assert_eq!(received.failed[0].why, FailureKind::FirstNameFailed);
        } else {
            assert_eq!(fs::read_to_string(place.there(other)).unwrap(), "source");
        }
        fs::remove_dir_all(place.there("")).unwrap();
        fs::create_dir(place.there("")).unwrap();
    }
}
