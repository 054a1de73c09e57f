//! What the source does not have is removed at the destination, and nothing else is.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};

use haul_disk::{
    Act, Asked, FailureKind, Incoming, Landing, LeftOut, Outgoing, Overwrite, Preserve,
    ReceiveOptions, Received, Resume, ScanOptions, Selection, Undeleted, Wanted,
};
use pair::{
    BLOCK_LEN, CLEAN, Network, ROUGH, Random, look,
    peer::{Peer, dir, file},
    run,
};

/// A source and a destination that holds the same and more.
struct Site {
    work: tempfile::TempDir,
    options: ReceiveOptions,
    rules: Vec<&'static str>,
}

impl Site {
    fn new(source: &[&str], destination: &[&str]) -> Self {
        let work = tempfile::tempdir().unwrap();
        for (top, names) in [("source", source), ("there", destination)] {
            fs::create_dir(work.path().join(top)).unwrap();
            for name in names {
                plant(&work.path().join(top), name);
            }
        }
        let mut options = ReceiveOptions::new(Preserve::default());
        options.placing.delete = true;
        options.resume = Resume::Attributes;
        options.file_events = true;
        Self {
            work,
            options,
            rules: Vec::new(),
        }
    }

    fn source(&self) -> PathBuf {
        self.work.path().join("source")
    }

    fn there(&self) -> PathBuf {
        self.work.path().join("there")
    }

    /// The contents of the source go to the destination.
    fn sync(&self, network: Network) -> Received {
        self.send(&[&self.source().join(".")], network)
    }

    fn send(&self, sources: &[&Path], network: Network) -> Received {
        let selection = Selection::new(&self.rules, None, None).unwrap();
        let paths = sources.iter().map(|path| path.to_path_buf()).collect();
        let scan = ScanOptions {
            recursive: true,
            times: true,
            ..ScanOptions::default()
        };
        let outgoing = Outgoing::new(
            BLOCK_LEN,
            Wanted {
                selection: selection.clone(),
                ..Wanted::new(paths, scan)
            },
        );
        let mut options = self.options.clone();
        options.left_out.selection = selection;
        let names: Vec<&[u8]> = sources.iter().map(|p| p.as_os_str().as_bytes()).collect();
        let bytes = self.there();
        let asked = Asked::of(&names);
        let place = Landing::resolve(Path::new("/"), bytes.as_os_str().as_bytes(), asked, false);
        let (root, landing) = place.unwrap();
        let mut incoming = Incoming::new(root, landing, options, BLOCK_LEN).unwrap();
        incoming.tell_had();
        run(&outgoing, incoming, network, 7, &mut |_| {}).unwrap()
    }

    fn left(&self) -> Vec<String> {
        let names = look(&self.there()).into_keys();
        names
            .map(|name| name.to_str().unwrap().to_owned())
            .collect()
    }
}

/// Makes a file, or with a slash at the end a directory.
fn plant(top: &Path, name: &str) {
    let path = top.join(name);
    if name.ends_with('/') {
        fs::create_dir_all(path).unwrap();
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, name).unwrap();
}

#[test]
fn what_the_source_does_not_have_goes() {
    for network in [CLEAN, ROUGH] {
        let source = ["a", "sub/b", "sub/deeper/c", "empty/"];
        let more = [
            "gone",
            "sub/gone",
            "dir/x/y",
            "dir/z",
            "empty/gone",
            "void/",
        ];
        let site = Site::new(&source, &[&source[..], &more].concat());
        symlink("/etc", site.there().join("sub/link")).unwrap();
        let received = site.sync(network);
        assert_eq!(
            site.left(),
            ["a", "empty", "sub", "sub/b", "sub/deeper", "sub/deeper/c"]
        );
        assert_eq!((received.deleted, received.undeleted), (9, None));
        assert!(Path::new("/etc/passwd").exists(), "links are not followed");
        assert_eq!(site.sync(network).deleted, 0);
    }
}

#[test]
fn only_listed_directories_are_swept() {
    let site = Site::new(&["a", "sub/b"], &["beside", "source/gone", "other/x"]);
    let received = site.send(&[&site.source()], CLEAN);
    let left = [
        "beside",
        "other",
        "other/x",
        "source",
        "source/a",
        "source/sub",
        "source/sub/b",
    ];
    assert_eq!(site.left(), left);
    assert_eq!(received.deleted, 1);
    let received = site.send(&[&site.source().join("a")], CLEAN);
    assert_eq!(received.deleted, 0, "a file has nothing in it");
    assert_eq!(site.left().len(), left.len() + 1);
}

#[test]
fn nothing_goes_after_an_incomplete_listing() {
    let deep = format!("{}/x", vec!["d"; 128].join("/"));
    let site = Site::new(&["a", &deep], &["gone"]);
    let received = site.sync(CLEAN);
    assert_eq!(received.undeleted, Some(Undeleted::Failures));
    assert_eq!(received.deleted, 0);
    assert!(site.there().join("gone").exists());

    let site = Site::new(&["a", "b"], &["gone", "b/in the way"]);
    let received = site.sync(CLEAN);
    assert_eq!(received.failed[0].why, FailureKind::IsADirectory);
    assert_eq!(received.undeleted, Some(Undeleted::Failures));
    assert!(site.there().join("gone").exists() && site.there().join("b/in the way").exists());
}

#[test]
fn what_was_left_out_is_spared() {
    let site = Site {
        rules: vec!["*.tmp", "/cache", "!keep.tmp", "logs/"],
        ..Site::new(
            &["a", "x.tmp", "sub/b", "logs/1"],
            &[
                "y.tmp",
                "keep.tmp",
                "cache/x",
                "sub/cache/x",
                "old/z.tmp",
                "old/z",
                "logs/2",
            ],
        )
    };
    let received = site.sync(CLEAN);
    let left = [
        "a",
        "cache",
        "cache/x",
        "logs",
        "logs/2",
        "old",
        "old/z.tmp",
        "sub",
        "sub/b",
        "y.tmp",
    ];
    assert_eq!(site.left(), left);
    assert_eq!(
        received.deleted, 4,
        "keep.tmp, sub/cache/x, sub/cache, old/z"
    );
    assert_eq!(received.failed_count, 0);
}

#[test]
fn an_anchored_rule_is_anchored_at_each_source() {
    let site = Site {
        rules: vec!["/cache"],
        ..Site::new(&["a"], &["source/cache/x", "source/sub/cache"])
    };
    site.send(&[&site.source()], CLEAN);
    assert_eq!(
        site.left(),
        ["source", "source/a", "source/cache", "source/cache/x"]
    );
}

#[test]
fn links_and_files_that_were_left_out_unseen_are_spared() {
    let mut site = Site::new(&["a"], &["b"]);
    symlink("a", site.there().join("link")).unwrap();
    site.options.left_out.symlinks = haul_disk::Symlinks::Skip;
    assert_eq!(site.sync(CLEAN).deleted, 1);
    assert_eq!(site.left(), ["a", "link"]);

    let site = Site::new(&["a"], &["b", "c/d"]);
    let mut options = site.options.clone();
    options.left_out = LeftOut {
        selection: Selection::new::<&str>(&[], Some(5), None).unwrap(),
        ..LeftOut::default()
    };
    let mut peer = Peer::with(&site.there(), options);
    peer.end().unwrap();
    assert_eq!(peer.incoming.finish().unwrap().deleted, 0);
    assert_eq!(site.left(), ["b", "c", "c/d"]);
}

#[test]
fn partial_files_and_journals_are_never_touched() {
    let own = [
        ".f.haul-part",
        ".f.haul-part.3",
        "sub/.g.haul-part",
        "sub/.haul-journal.4",
        "old/.h.haul-part",
    ];
    let site = Site::new(&["a", "sub/b"], &own);
    let received = site.sync(CLEAN);
    assert_eq!((received.deleted, received.failed_count), (0, 0));
    let left: BTreeSet<_> = site.left().into_iter().collect();
    assert!(own.iter().all(|name| left.contains(*name)), "{left:?}");
}

#[test]
fn what_is_kept_has_its_name_listed_and_other_links_to_it_go() {
    let mut site = Site::new(&["a", "b"], &["a"]);
    site.options.placing.overwrite = Overwrite::Never;
    fs::hard_link(site.there().join("a"), site.there().join("another name")).unwrap();
    let received = site.sync(CLEAN);
    assert_eq!((received.kept, received.deleted), (1, 1));
    assert_eq!(site.left(), ["a", "b"]);
}

#[test]
fn what_cannot_be_removed_is_a_failure_that_is_named() {
    let deep = format!("{}/x", vec!["d"; 140].join("/"));
    let site = Site::new(&["a"], &[&deep, "gone"]);
    let received = site.sync(CLEAN);
    assert_eq!((received.deleted, received.failed_count), (1, 1));
    assert!(received.failed[0].path.starts_with(b"d/d/d"));
    assert!(site.there().join(deep).exists());
}

#[test]
fn other_file_systems_are_not_entered() {
    let site = Site::new(&["a", "listed/x"], &["mnt/inner/", "bound/", "listed/"]);
    let elsewhere = site.work.path().join("elsewhere");
    plant(&elsewhere, "precious");
    let mounts = ["mnt/inner", "bound", "listed"].map(|name| site.there().join(name));
    let mount = |arguments: &[&str], at: &Path| {
        let mut mount = Command::new("mount");
        let done = mount.args(arguments).arg(at).status();
        assert!(
            done.is_ok_and(|s| s.success()),
            "mounting needs root: run the tests as root"
        );
    };
    mount(&["-t", "tmpfs", "haul-test"], &mounts[0]);
    plant(&mounts[0], "precious");
    // The same device, mounted again.
    for at in &mounts[1..] {
        mount(&["--bind", elsewhere.to_str().unwrap()], at);
    }
    let received = site.sync(CLEAN);
    let left = site.left();
    for at in &mounts {
        assert!(Command::new("umount").arg(at).status().unwrap().success());
    }
    assert_eq!(
        (received.deleted, received.failed_count),
        (0, 0),
        "{left:?}"
    );
    for name in [
        "mnt/inner/precious",
        "bound/precious",
        "listed/precious",
        "listed/x",
    ] {
        assert!(left.contains(&name.to_owned()), "{name} {left:?}");
    }
}

#[test]
fn each_removal_is_told_once_and_a_step_at_a_time() {
    let site = Site::new(&[], &["one/x", "two/y", "three"]);
    let there = site.there();
    let mut peer = Peer::with(&there, site.options);
    for name in ["one", "two"] {
        peer.list(dir(0, name)).unwrap();
    }
    peer.list(file(1, "new", 0)).unwrap();
    peer.end().unwrap();
    let mut told = Vec::new();
    while peer.incoming.wind_up().unwrap() {
        while let Some(change) = peer.incoming.poll_change() {
            assert_eq!(change.act, Act::Delete);
            told.push(String::from_utf8(change.path.into_vec()).unwrap());
        }
    }
    assert_eq!(told, ["one/x", "two/y"], "the top is not what was sent");
    assert_eq!(peer.incoming.finish().unwrap().deleted, 2);
}

#[test]
fn a_random_tree_becomes_the_source() {
    let seed = 11;
    let _seed = pair::Seed(seed);
    let mut random = Random(seed);
    for _ in 0..5 {
        let mut names = |count: usize| -> Vec<String> {
            let name = |random: &mut Random| {
                let depth = 1 + random.below(4);
                let parts: Vec<_> = (0..depth)
                    .map(|_| format!("d{}", random.below(5)))
                    .collect();
                format!("{}/f{}", parts.join("/"), random.below(9))
            };
            (0..count).map(|_| name(&mut random)).collect()
        };
        let (source, there) = (names(40), names(40));
        let source: Vec<_> = source.iter().map(String::as_str).collect();
        let there: Vec<_> = there.iter().map(String::as_str).collect();
        let site = Site::new(&source, &there);
        let received = site.sync(ROUGH);
        assert_eq!(received.failed_count, 0, "{:?}", received.failed);
        let wanted: Vec<_> = look(&site.source()).into_keys().collect();
        let left: Vec<_> = look(&site.there()).into_keys().collect();
        assert_eq!(left, wanted);
    }
}
