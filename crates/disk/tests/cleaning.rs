//! What becomes of sources that have arrived, and where sources land that have places of their own.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use haul_disk::{
    Asked, CleanUp, Cleaned, FailureKind, Incoming, Landing, Outgoing, Preserve, ReceiveOptions,
    ScanOptions, Selection, Target, Wanted,
};
use pair::{BLOCK_LEN, CLEAN, ROUGH, assert_same, run};
use rustix::io::Errno;

fn wanted(sources: &[PathBuf], clean_up: Option<CleanUp>) -> Wanted {
    let options = ScanOptions {
        recursive: true,
        times: true,
        ..ScanOptions::default()
    };
    let mut wanted = Wanted::new(sources.to_vec(), options);
    wanted.clean_up = clean_up;
    wanted
}

fn removing(empty_dirs: bool) -> Option<CleanUp> {
    Some(CleanUp {
        move_to: None,
        empty_dirs,
    })
}

fn moving(to: &Path) -> Option<CleanUp> {
    Some(CleanUp {
        move_to: Some(to.to_owned()),
        empty_dirs: true,
    })
}

fn incoming(target: &Path) -> Incoming {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str());
    let asked = Asked {
        count: 2,
        contents: false,
    };
    let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, true).unwrap();
    let options = ReceiveOptions::new(Preserve::USUAL);
    Incoming::new(root, landing, options, BLOCK_LEN).unwrap()
}

/// Sends everything into the directory `target`, which is made.
fn send(wanted: Wanted, target: &Path) -> Arc<Outgoing> {
    let outgoing = Outgoing::new(BLOCK_LEN, wanted);
    let received = run(&outgoing, incoming(target), ROUGH, 5, &mut |_| {}).unwrap();
    assert_eq!(received.failed_count, 0, "{received:?}");
    outgoing
}

/// A tree of 302 files and a link.
fn plant(source: &Path) {
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::create_dir_all(source.join("void")).unwrap();
    for index in 0..300 {
        fs::write(source.join(format!("a/b/{index}")), vec![b'x'; index]).unwrap();
    }
    fs::write(source.join("top"), "top").unwrap();
    fs::write(source.join("a/empty"), "").unwrap();
    symlink("nowhere", source.join("a/link")).unwrap();
}

fn cleaned(files: u64, dirs: u64) -> Cleaned {
    Cleaned {
        files,
        dirs,
        ..Cleaned::default()
    }
}

#[test]
fn what_was_sent_is_removed_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    fs::write(at("source/a/keep.tmp"), "left out").unwrap();
    fs::write(at("single"), "single").unwrap();
    let mut wanted = wanted(&[at("source"), at("single")], removing(true));
    wanted.selection = Selection::new(&["*.tmp"], None, None).unwrap();
    let outgoing = send(wanted, &at("target"));
    // What came later, and what was changed since, was not sent.
    fs::write(at("source/a/late"), "late").unwrap();
    fs::create_dir(at("source/late")).unwrap();
    fs::write(at("source/top"), "changed").unwrap();
    let done = outgoing.clean_up();
    let expected = Cleaned {
        left: 1,
        ..cleaned(303, 2)
    };
    assert_eq!(done, expected);
    let mut left: Vec<_> = pair::look(&at("source")).into_keys().collect();
    left.sort();
    assert_eq!(
        left,
        ["a", "a/keep.tmp", "a/late", "late", "top"].map(PathBuf::from)
    );
    assert!(!at("single").exists());
    assert_eq!(outgoing.clean_up(), Cleaned::default(), "once");
}

#[test]
fn nothing_is_removed_unless_that_was_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    let outgoing = send(wanted(&[at("source")], None), &at("target"));
    assert_eq!(outgoing.clean_up(), Cleaned::default());
    assert_same(&at("source"), &at("target/source"));
}

#[test]
fn n75_directories_that_were_swapped_are_left_alone() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    plant(&at("precious"));
    let outgoing = send(wanted(&[at("source")], removing(true)), &at("target"));
    // One of the same look, and a link, stand where the directories stood.
    fs::rename(at("source/a/b"), at("aside")).unwrap();
    symlink(at("precious/a/b"), at("source/a/b")).unwrap();
    fs::rename(at("source/void"), at("aside2")).unwrap();
    fs::create_dir(at("source/void")).unwrap();
    fs::rename(at("aside/7"), at("source/void/7")).unwrap();
    let done = outgoing.clean_up();
    assert_eq!(done.files, 3, "top, a/empty and a/link: {done:?}");
    assert_eq!((done.left, done.dirs), (300, 0));
    assert_eq!(fs::read_dir(at("precious/a/b")).unwrap().count(), 300);
    assert_eq!(fs::read_dir(at("aside")).unwrap().count(), 299);
    assert!(at("source/void/7").exists());
}

#[test]
fn what_was_sent_is_moved_to_where_it_landed() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    fs::write(at("single"), "single").unwrap();
    fs::create_dir(at("sent")).unwrap();
    fs::write(at("source/a/again"), "new").unwrap();
    fs::create_dir_all(at("sent/source/a")).unwrap();
    fs::write(at("sent/source/a/again"), "old").unwrap();
    let how = moving(&at("sent"));
    let outgoing = send(wanted(&[at("source"), at("single")], how), &at("target"));
    let done = outgoing.clean_up();
    assert_eq!((done.files, done.dirs, done.left), (304, 2, 1), "{done:?}");
    assert_eq!(done.failures.len(), 1);
    assert!(done.failures[0].path.ends_with(b"source/a/again"));
    assert_eq!(done.failures[0].why, FailureKind::Os(Errno::EXIST));
    assert_eq!(fs::read(at("sent/source/a/again")).unwrap(), b"old");
    assert_eq!(fs::read(at("source/a/again")).unwrap(), b"new");
    assert_eq!(fs::read_dir(at("sent/source/a/b")).unwrap().count(), 300);
    assert!(at("sent/source/a/link").is_symlink());
    assert_eq!(fs::read(at("sent/single")).unwrap(), b"single");
}

#[test]
fn a_source_that_is_a_link_stays_and_so_does_its_file() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::write(at("file"), "file").unwrap();
    symlink("file", at("link")).unwrap();
    let outgoing = send(wanted(&[at("link")], removing(false)), &at("target"));
    let done = outgoing.clean_up();
    assert_eq!((done.files, done.left), (0, 1));
    assert!(at("link").is_symlink() && at("file").exists());
}

#[test]
fn sources_land_where_it_was_said() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    fs::write(at("one"), "one").unwrap();
    fs::write(at("two"), "two").unwrap();
    let mut wanted = wanted(&[at("one"), at("two"), at("source/.")], moving(&at("sent")));
    let target = |path: &str| Target::new(path.as_bytes()).unwrap();
    wanted.targets = vec![target("x/1"), target("x/y/2"), target("x/y/tree")];
    let outgoing = send(wanted, &at("target"));
    assert_same(&at("source"), &at("target/x/y/tree"));
    fs::create_dir(at("sent")).unwrap();
    let done = outgoing.clean_up();
    assert_eq!((done.files, done.left), (305, 0), "{done:?}");
    for top in ["target", "sent"] {
        assert_eq!(fs::read(at(top).join("x/1")).unwrap(), b"one", "{top}");
        assert_eq!(fs::read(at(top).join("x/y/2")).unwrap(), b"two", "{top}");
        assert!(at(top).join("x/y/tree/a/link").is_symlink(), "{top}");
    }
}

#[test]
fn sources_keep_their_paths_below_a_base() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("base/source"));
    fs::create_dir_all(at("base/deep/er")).unwrap();
    fs::write(at("base/deep/er/file"), "file").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(at("base/deep"), private).unwrap();
    let mut wanted = wanted(&[at("base/source/a"), at("base/deep/er/file")], None);
    wanted.targets = (wanted.sources.iter())
        .map(|source| Target::below(source, &at("base")).unwrap())
        .collect();
    send(wanted, &at("target"));
    assert_same(&at("base/source/a"), &at("target/source/a"));
    assert_same(&at("base/deep"), &at("target/deep"));
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(at(name)).unwrap().permissions())
    };
    assert_eq!(mode("target/deep"), mode("base/deep"));
    assert!(!at("target/source/top").exists());
}

#[test]
fn a_calm_network_changes_nothing_of_that() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    plant(&at("source"));
    let outgoing = Outgoing::new(BLOCK_LEN, wanted(&[at("source/.")], removing(true)));
    run(&outgoing, incoming(&at("target")), CLEAN, 1, &mut |_| {}).unwrap();
    assert_eq!(outgoing.clean_up(), cleaned(303, 3));
    assert_eq!(fs::read_dir(at("source")).unwrap().count(), 0);
}
