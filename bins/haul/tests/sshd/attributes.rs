//! A tree kept with everything it has, beside the one that `rsync -aAXHS` makes of it. As root, on both
//! ends.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{
        AtFlags, CWD, SeekFrom, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr,
        seek, utimensat,
    },
    process::geteuid,
};

use crate::{noise::noise, server::Server, trees::plant};

/// An access control list as the kernel takes it (version 2).
fn acl(entries: &[(u8, u8, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        bytes.extend([*tag, 0, *permissions, 0]);
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Owner, a user, group, mask, others.
fn usual_acl(user: u32) -> Vec<u8> {
    let nobody = u32::MAX;
    acl(&[
        (1, 6, nobody),
        (2, 7, user),
        (4, 4, nobody),
        (0x10, 6, nobody),
        (0x20, 0, nobody),
    ])
}

fn set(path: &Path, name: &str, value: &[u8]) {
    let set = lsetxattr(path, name, value, XattrFlags::empty());
    set.unwrap_or_else(|errno| panic!("{name} of {}: {errno}", path.display()));
}

/// Everything that is kept, on files of every kind.
fn dress(tree: &Path) {
    let at = |name: &str| tree.join(name);
    for number in 0..300_u32 {
        let path = at(&format!("many/{}/{number}", number % 37));
        if number % 3 == 0 {
            lchown(&path, Some(1000 + number), Some(2000 + number % 7)).unwrap();
        }
        if number % 4 == 0 {
            set(&path, "user.number", &number.to_le_bytes());
            set(&path, "user.large", &noise(number.into(), 1_500));
        }
        if number % 5 == 0 {
            set(&path, "system.posix_acl_access", &usual_acl(3000 + number));
        }
        if number % 50 == 0 {
            set(&path, "trusted.haul_test", b"t");
        }
        if number % 60 == 0 {
            fs::hard_link(&path, at(&format!("second {number}"))).unwrap();
            fs::hard_link(&path, at(&format!("deep/third {number}"))).unwrap();
        }
    }
    // CAP_NET_RAW, permitted and effective.
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let capability: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    set(&at("many/1/1"), "security.capability", &capability);
    set(&at("deep"), "system.posix_acl_default", &usual_acl(4000));
    set(&at("deep"), "user.of_dir", b"d");
    lchown(at("empty folder"), Some(55), Some(56)).unwrap();
    lchown(at("dangling"), Some(57), Some(58)).unwrap();
    fs::hard_link(at("dangling"), at("deep/dangling too")).unwrap();
    symlink("nothing", at("deep/old link")).unwrap();
    for (name, mode) in [("many/2/2", 0o4755), ("many/3/3", 0o2750), ("deep", 0o3770)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let holes = File::create(at("more holes")).unwrap();
    holes.set_len(9 << 20).unwrap();
    for island in [0, 3, 4, 8] {
        holes
            .write_all_at(&noise(island + 1, 8_192), island << 20)
            .unwrap();
    }
    age(tree);
}

/// Times to the nanosecond, the deepest first.
fn age(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            age(&entry.path());
        }
        stamp(&entry.path());
    }
    stamp(dir);
}

fn stamp(path: &Path) {
    let inode = fs::symlink_metadata(path).unwrap().ino();
    let at = Timespec {
        tv_sec: 1_000_000_000 + (inode % 500_000_000) as i64,
        tv_nsec: (inode * 7_919 % 1_000_000_000) as i64,
    };
    let times = Timestamps {
        last_access: at,
        last_modification: at,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// All that is to be the same of one name.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    /// Of what is no directory.
    links: u64,
    /// The first of the names that are this very file.
    first_name: PathBuf,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    target: Option<PathBuf>,
    content: Option<Vec<u8>>,
    /// Where data begins and ends.
    data: Vec<(u64, u64)>,
}

fn look(top: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut paths = vec![PathBuf::new()];
    let mut index = 0;
    while index < paths.len() {
        let below = paths[index].clone();
        index += 1;
        if fs::symlink_metadata(top.join(&below)).unwrap().is_dir() {
            let entries = fs::read_dir(top.join(&below)).unwrap();
            paths.extend(entries.map(|entry| below.join(entry.unwrap().file_name())));
        }
    }
    paths.sort();
    let mut first_names = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for below in paths {
        let path = top.join(&below);
        let found = fs::symlink_metadata(&path).unwrap();
        let first_name = first_names
            .entry(found.ino())
            .or_insert_with(|| below.clone());
        let is_file = found.is_file();
        let what = Seen {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            modified: (found.mtime(), found.mtime_nsec()),
            links: if found.is_dir() { 0 } else { found.nlink() },
            first_name: first_name.clone(),
            xattrs: xattrs(&path),
            target: found.is_symlink().then(|| fs::read_link(&path).unwrap()),
            content: is_file.then(|| fs::read(&path).unwrap()),
            data: if is_file { data(&path) } else { Vec::new() },
        };
        seen.insert(below, what);
    }
    seen
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65_536];
    let len = llistxattr(path, &mut list[..]).unwrap();
    let names = list[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}

fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut runs = Vec::new();
    let mut at = 0;
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        runs.push((start, at));
    }
    runs
}

fn assert_alike(left: &Path, right: &Path) {
    let (left, right) = (look(left), look(right));
    assert!(left.keys().eq(right.keys()), "names differ");
    for (path, what) in &left {
        let other = &right[path];
        // Contents would fill the screen.
        let brief = |seen: &Seen| {
            format!(
                "{:?}",
                Seen {
                    content: None,
                    ..copy(seen)
                }
            )
        };
        assert!(
            what == other,
            "{} differs:\n{}\n{}",
            path.display(),
            brief(what),
            brief(other)
        );
    }
}

fn copy(seen: &Seen) -> Seen {
    Seen {
        first_name: seen.first_name.clone(),
        xattrs: seen.xattrs.clone(),
        target: seen.target.clone(),
        content: None,
        data: seen.data.clone(),
        ..*seen
    }
}

fn rsync(from: &Path, to: &Path) {
    let from = format!("{}/", from.display());
    let copied = Command::new("rsync")
        .arg("-aAXHS")
        .arg(from)
        .arg(to)
        .status();
    let copied = copied.expect("no rsync on this machine: scripts/setup --tests installs it");
    assert!(copied.success());
}

fn need_root() {
    assert!(
        geteuid().is_root(),
        "this test needs root, to give files away"
    );
}

#[test]
fn a_tree_is_kept_as_rsync_keeps_it_up_and_down() {
    need_root();
    let server = Server::start();
    let tree = server.here().join("tree");
    plant(&tree, 300);
    dress(&tree);
    rsync(&tree, &server.path("by rsync"));
    assert_alike(&tree, &server.path("by rsync"));
    let there = format!("127.0.0.1:{}", server.there().display());
    let run = server.json(&["-a", "--privileged", "--strict-attrs", "tree", &there]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_alike(&tree, &server.there().join("tree"));
    assert_alike(&server.path("by rsync"), &server.there().join("tree"));
    let from = format!("{there}/tree");
    let run = server.json(&["-a", "--privileged", "--strict-attrs", &from, "back"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_alike(&server.path("by rsync"), &server.here().join("back"));
    // Attributes alone are brought up to date.
    let changed = tree.join("many/4/4");
    set(&changed, "user.number", b"another");
    fs::set_permissions(&changed, fs::Permissions::from_mode(0o600)).unwrap();
    lchown(tree.join("many/5/5"), Some(77), None).unwrap();
    let run = server.json(&["-a", "--privileged", "tree", &there]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_eq!(run.summary("there_bytes"), run.summary("bytes"));
    assert_alike(&tree, &server.there().join("tree"));
}

#[test]
fn what_cannot_be_kept_is_one_warning_a_kind_or_fails() {
    need_root();
    let server = Server::start();
    let tree = server.here().join("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["a", "b"] {
        fs::write(tree.join(name), name).unwrap();
        lchown(tree.join(name), Some(4321), None).unwrap();
    }
    let there = format!("127.0.0.1:{}", server.there().display());
    let from = format!("{there}/tree");
    for (places, remote) in [
        (["tree", there.as_str()], true),
        ([from.as_str(), "back"], false),
    ] {
        let run = server.json(&[&["-a"], &places[..]].concat());
        assert_eq!(run.status, 0, "{}", run.stderr);
        let warnings: Vec<_> = run
            .events
            .iter()
            .filter(|e| e["type"] == "warning")
            .collect();
        let [warning] = warnings[..] else {
            panic!("{warnings:?}");
        };
        assert_eq!(warning["remote"], remote);
        let text = warning["text"].as_str().unwrap();
        assert!(
            text.starts_with("owner of 2 files could not be kept (first: "),
            "{text}"
        );
        assert!(text.ends_with("): only with --privileged"), "{text}");
        assert!(run.stderr.contains(text), "{}", run.stderr);
        lchown(server.there().join("tree/a"), Some(4321), None).unwrap();
        lchown(server.there().join("tree/b"), Some(4321), None).unwrap();
    }
    fs::remove_dir_all(server.there().join("tree")).unwrap();
    let run = server.json(&["-a", "--strict-attrs", "tree", &there]);
    assert_eq!(
        (run.status, run.summary("failed")),
        (3, 2.into()),
        "{}",
        run.stderr
    );
    let text = "cannot keep its owner: only with --privileged";
    assert!(run.stderr.contains(text), "{}", run.stderr);
    assert_eq!(
        fs::read_dir(server.there().join("tree")).unwrap().count(),
        0
    );
}
