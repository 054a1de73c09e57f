//! A sender that says of attributes and links what nobody asked for, or what leads elsewhere.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, lchown, symlink},
};

use haul_disk::{FailureKind, Preserve, ReceiveOptions};
use haul_manifest::{DirId, Entry, Extra, Layout, LinkNo, Owner, Xattr};
use pair::{
    peer::{Peer, dir, file, link, meta, name},
    xattrs::{ACCESS, DEFAULT, acl, capability, get, need_root},
};

/// What a sender says that nobody asked for.
fn everything(link: Option<u32>) -> Entry {
    let xattr = |name: &str, value: &[u8]| Xattr {
        name: name.as_bytes().into(),
        value: value.into(),
    };
    Entry::Extra(Box::new(Extra {
        owner: Some(Owner { uid: 1234, gid: 77 }),
        link: link.map(LinkNo),
        xattrs: vec![
            xattr("security.capability", &capability()),
            xattr(ACCESS, &acl(7)),
            xattr("trusted.power", b"t"),
            xattr("user.note", b"u"),
        ],
    }))
}

fn powerful(called: &str, size: u64) -> Entry {
    Entry::File {
        parent: DirId(0),
        name: name(called),
        meta: meta(0o106_777),
        size,
        layout: Layout::Dense,
        digest: None,
    }
}

#[test]
fn n73_attributes_nobody_asked_for_are_not_applied() {
    need_root();
    let usual = Preserve::USUAL;
    let own = Preserve {
        owner: true,
        xattrs: true,
        ..usual
    };
    for (preserve, notes) in [(Preserve::default(), false), (usual, false), (own, true)] {
        let work = tempfile::tempdir().unwrap();
        lchown(work.path(), Some(33), Some(33)).unwrap();
        let mut peer = Peer::with(work.path(), ReceiveOptions::new(preserve));
        let entries = [
            everything(None),
            powerful("small", 100),
            everything(None),
            powerful("empty", 0),
            everything(None),
            dir(0, "dir"),
            everything(None),
            link(0, "link", "/etc/shadow"),
        ];
        for entry in entries {
            peer.list(entry).unwrap();
        }
        peer.end().unwrap();
        peer.content(0, b'x').unwrap();
        let received = peer.incoming.finish().unwrap();
        assert_eq!(received.failed, []);
        for name in ["small", "empty", "dir", "link"] {
            let path = work.path().join(name);
            let stat = fs::symlink_metadata(&path).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (0, 0), "{name}");
            assert_eq!(stat.mode() & 0o7000, 0, "{name}");
            for xattr in ["security.capability", "trusted.power", ACCESS, DEFAULT] {
                assert!(get(&path, xattr).is_err(), "{xattr} of {name}");
            }
            let note = get(&path, "user.note");
            assert_eq!(note.is_ok(), notes && name != "link", "{name}");
        }
    }
}

#[test]
fn n73_hard_links_nobody_asked_for_end_the_transfer() {
    let work = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(work.path());
    peer.list(everything(Some(0))).unwrap();
    peer.list(file(0, "first", 0)).unwrap();
    let further = Entry::HardLink {
        parent: DirId(0),
        name: name("second"),
        to: LinkNo(0),
    };
    let error = peer.list(further).unwrap_err();
    assert!(error.is_peer_fault(), "{error}");
}

#[test]
fn n73_hard_links_lead_to_nothing_outside() {
    let work = tempfile::tempdir().unwrap();
    let (into, victim) = (work.path().join("into"), work.path().join("victim"));
    fs::create_dir(&into).unwrap();
    fs::write(&victim, "precious").unwrap();
    // The name that is to be linked leads outside by the time it is, and so does the other.
    symlink(&victim, into.join("second")).unwrap();
    let preserve = Preserve {
        hard_links: true,
        ..Preserve::USUAL
    };
    let mut peer = Peer::with(&into, ReceiveOptions::new(preserve));
    let numbered = |number| {
        Entry::Extra(Box::new(Extra {
            link: Some(LinkNo(number)),
            ..Extra::default()
        }))
    };
    let further = |called: &str, to| Entry::HardLink {
        parent: DirId(0),
        name: name(called),
        to: LinkNo(to),
    };
    for entry in [
        numbered(0),
        file(0, "first", 0),
        numbered(1),
        file(0, "gone", 0),
        further("second", 0),
        further(".haul-journal", 0),
        further("first", 0),
        further("of gone", 1),
    ] {
        peer.list(entry).unwrap();
    }
    assert!(peer.end().unwrap().complete);
    fs::remove_file(into.join("gone")).unwrap();
    symlink(&victim, into.join("gone")).unwrap();
    let received = peer.incoming.finish().unwrap();
    let failed: Vec<_> = received.failed.iter().map(|f| (&*f.path, f.why)).collect();
    let expected = [
        (&b".haul-journal"[..], FailureKind::Reserved),
        // No name is a further name of itself.
        (b"first", FailureKind::Collision),
        (b"of gone", FailureKind::Busy),
    ];
    assert_eq!(failed, expected);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
    let [first, second] = ["first", "second"].map(|n| fs::symlink_metadata(into.join(n)).unwrap());
    assert_eq!(first.ino(), second.ino());
    assert!(!into.join("of gone").exists());
}
