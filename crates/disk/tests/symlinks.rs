//! Symbolic links below sources: copied, followed or left out.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use haul_disk::{
    FailureKind, FileFailure, Outgoing, Received, ScanOptions, Selection, Symlinks, Totals, Wanted,
};
use haul_manifest::SkipKind;
use pair::{BLOCK_LEN, CLEAN, ROUGH, incoming, run};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Sends with these wishes to `target` beside the source.
fn send(wanted: Wanted) -> (Received, Totals, PathBuf) {
    let source = wanted.sources[0].clone();
    let target = source.with_file_name("target");
    let outgoing = Outgoing::new(BLOCK_LEN, wanted);
    let incoming = incoming(&[&source], &target, false).unwrap();
    let received = run(&outgoing, incoming, ROUGH, 7, &mut |_| {}).unwrap();
    (received, outgoing.totals(), target)
}

fn wanted(source: &Path, symlinks: Symlinks) -> Wanted {
    let options = ScanOptions {
        recursive: true,
        symlinks,
        ..ScanOptions::default()
    };
    Wanted::new(vec![source.to_owned()], options)
}

fn reasons(failed: &[FileFailure]) -> Vec<(String, SkipKind)> {
    let mut reasons: Vec<_> = failed
        .iter()
        .map(|failure| match failure.why {
            FailureKind::Skipped(why) => {
                let path = String::from_utf8(failure.path.clone()).unwrap();
                (path.strip_prefix("target/").unwrap().to_owned(), why)
            }
            other => panic!("{other}"),
        })
        .collect();
    reasons.sort_by(|left, right| left.0.cmp(&right.0));
    reasons
}

#[test]
fn followed_links_become_what_they_lead_to() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("source/sub")).unwrap();
    fs::create_dir_all(at("elsewhere/deep")).unwrap();
    fs::write(at("elsewhere/deep/file"), "far").unwrap();
    fs::write(at("source/sub/near"), "near").unwrap();
    symlink("../elsewhere", at("source/dir")).unwrap();
    symlink("../elsewhere/deep/file", at("source/file")).unwrap();
    symlink("sub/near", at("source/near")).unwrap();
    let (received, totals, target) = send(wanted(&at("source"), Symlinks::Follow));
    assert_eq!((received.files, received.failed_count), (4, 0));
    assert_eq!((totals.symlinks, totals.dirs), (0, 4));
    for (name, text) in [
        ("dir/deep/file", "far"),
        ("file", "far"),
        ("near", "near"),
        ("sub/near", "near"),
    ] {
        let path = target.join(name);
        assert!(!path.is_symlink(), "{name}");
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn links_in_circles_and_to_nowhere_are_told_of() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("source/a/b")).unwrap();
    fs::write(at("source/a/b/file"), "x").unwrap();
    symlink("../..", at("source/a/b/up")).unwrap();
    symlink(".", at("source/a/self")).unwrap();
    symlink("ring2", at("source/ring1")).unwrap();
    symlink("ring1", at("source/ring2")).unwrap();
    symlink("nothing", at("source/void")).unwrap();
    let (received, totals, _) = send(wanted(&at("source"), Symlinks::Follow));
    assert_eq!(
        reasons(&received.failed),
        [
            ("a/b/up".to_owned(), SkipKind::Loop),
            ("a/self".to_owned(), SkipKind::Loop),
            ("ring1".to_owned(), SkipKind::Loop),
            ("ring2".to_owned(), SkipKind::Loop),
            ("void".to_owned(), SkipKind::Dangling),
        ]
    );
    assert_eq!((received.skipped, received.failed_count), (4, 1));
    assert_eq!((totals.skipped, totals.failed), (4, 1));
    assert_eq!(received.files, 1);
}

#[test]
fn followed_links_do_not_leave_the_jail() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("jail/source")).unwrap();
    fs::create_dir_all(at("jail/inside")).unwrap();
    fs::create_dir_all(at("jail2")).unwrap();
    fs::write(at("jail/inside/file"), "inside").unwrap();
    fs::write(at("jail2/secret"), "secret").unwrap();
    for (link, to) in [
        ("dir", "../inside".into()),
        ("file", at("jail/inside/file")),
        ("sibling", at("jail2")),
        ("secret", "../../jail2/secret".into()),
        ("detour", "/proc/self/root/etc".into()),
        ("chain", "secret".into()),
    ] {
        symlink::<PathBuf, _>(to, at("jail/source").join(link)).unwrap();
    }
    let mut wanted = wanted(&at("jail/source"), Symlinks::Follow);
    wanted.jail = Some(at("jail"));
    let (received, _, target) = send(wanted);
    assert_eq!(
        reasons(&received.failed),
        ["chain", "detour", "secret", "sibling"].map(|name| (name.to_owned(), SkipKind::Outside))
    );
    assert_eq!(received.failed_count, 4);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    assert_eq!(fs::read(target.join("dir/file")).unwrap(), b"inside");
}

/// What was in a jail when it was listed may be something else when it is read.
#[test]
fn a_link_that_is_turned_before_it_is_read_brings_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("source")).unwrap();
    fs::write(at("good"), vec![b'g'; 100_000]).unwrap();
    fs::write(at("secret"), vec![b's'; 100_000]).unwrap();
    symlink("../good", at("source/link")).unwrap();
    let outgoing = Outgoing::new(BLOCK_LEN, wanted(&at("source"), Symlinks::Follow));
    let incoming = incoming(&[&at("source")], &at("target"), false).unwrap();
    let mut turned = false;
    let received = run(&outgoing, incoming, CLEAN, 1, &mut |delivered| {
        // The list has been delivered, and what of the content fits under way.
        if delivered > 0 && !turned {
            turned = true;
            fs::remove_file(at("source/link")).unwrap();
            symlink("../secret", at("source/link")).unwrap();
        }
    });
    let received = received.unwrap();
    assert!(turned);
    let found = fs::read(at("target/link")).unwrap_or_default();
    assert!(!found.contains(&b's'), "{received:?}");
    assert_eq!(received.files + received.failed_count, 1);
}

#[test]
fn links_and_special_files_may_be_left_out() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("source")).unwrap();
    fs::write(at("source/file"), "x").unwrap();
    symlink("file", at("source/link")).unwrap();
    mkfifoat(CWD, at("source/fifo"), Mode::RWXU).unwrap();
    let mut wanted = wanted(&at("source"), Symlinks::Skip);
    wanted.options.skip_special = true;
    let (received, totals, target) = send(wanted);
    assert_eq!((received.files, received.symlinks), (1, 0));
    // The special file is listed, for nothing of its name is gone; nobody is told of it.
    assert_eq!((received.skipped, received.failed_count), (1, 0));
    assert_eq!((totals.left_out, totals.skipped), (2, 0));
    assert_eq!(fs::read_dir(target).unwrap().count(), 1);
}

#[test]
fn rules_see_what_links_lead_to() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("source")).unwrap();
    fs::create_dir_all(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/file"), "x").unwrap();
    symlink("../elsewhere", at("source/cache")).unwrap();
    symlink("../elsewhere/file", at("source/kept")).unwrap();
    let mut wanted = wanted(&at("source"), Symlinks::Follow);
    wanted.selection = Selection::new(&["cache/"], None, None).unwrap();
    let (received, totals, _) = send(wanted);
    assert_eq!((received.files, totals.left_out), (1, 1));
}
