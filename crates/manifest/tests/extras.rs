//! Owners, extended attributes and hard links through the list's bytes, honest and not.
#![allow(clippy::unwrap_used, missing_docs)]

use haul_manifest::{
    DirId, Entry, Extra, Layout, LinkNo, ListError, ListReader, ListWriter, MAX_XATTR_VALUE_LEN,
    MAX_XATTRS, MAX_XATTRS_LEN, Meta, Name, Owner, Xattr,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).unwrap()
}

fn dir(called: &[u8]) -> Entry {
    Entry::Dir {
        parent: DirId(0),
        name: name(called),
        meta: Meta::default(),
    }
}

fn file(called: &[u8]) -> Entry {
    Entry::File {
        parent: DirId(0),
        name: name(called),
        meta: Meta::default(),
        size: 0,
        layout: Layout::Dense,
        digest: None,
    }
}

fn symlink(called: &[u8]) -> Entry {
    Entry::Symlink {
        parent: DirId(0),
        name: name(called),
        meta: Meta::default(),
        target: b"to".as_slice().into(),
    }
}

fn link(called: &[u8], to: u32) -> Entry {
    Entry::HardLink {
        parent: DirId(0),
        name: name(called),
        to: LinkNo(to),
    }
}

fn end(files: u64, entries: u64) -> Entry {
    Entry::End {
        content_bytes: 0,
        files,
        entries,
        unlisted: 0,
    }
}

fn extra(link: Option<u32>) -> Entry {
    Entry::Extra(Box::new(Extra {
        link: link.map(LinkNo),
        ..Extra::default()
    }))
}

fn with(owner: Option<(u32, u32)>, xattrs: &[(&[u8], &[u8])]) -> Entry {
    let xattrs = xattrs.iter().map(|(name, value)| Xattr {
        name: (*name).into(),
        value: (*value).into(),
    });
    Entry::Extra(Box::new(Extra {
        owner: owner.map(|(uid, gid)| Owner { uid, gid }),
        link: None,
        xattrs: xattrs.collect(),
    }))
}

fn encoded(entries: &[Entry]) -> Vec<u8> {
    let mut writer = ListWriter::new(1000);
    for entry in entries {
        writer.push(entry);
    }
    writer.pad();
    let blocks = 0..writer.blocks();
    blocks
        .flat_map(|block| writer.block(block).unwrap().to_vec())
        .collect()
}

fn read(entries: &[Entry]) -> Result<Vec<Entry>, ListError> {
    let mut reader = ListReader::new();
    reader.push(&encoded(entries));
    let mut read = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        read.push(entry);
    }
    Ok(read)
}

#[test]
fn what_is_listed_arrives() {
    let value = vec![7; MAX_XATTR_VALUE_LEN];
    let entries = vec![
        with(Some((0, u32::MAX - 1)), &[]),
        dir(b"d"),
        with(None, &[(&[b'n'; 255], &value), (b"user.a", b"")]),
        file(b"f"),
        extra(Some(0)),
        file(b"one"),
        extra(Some(1)),
        symlink(b"to"),
        link(b"other", 0),
        link(b"third", 0),
        link(b"to too", 1),
        file(b"plain"),
        end(3, 12),
    ];
    assert_eq!(read(&entries).unwrap(), entries);
}

#[test]
fn an_entry_without_any_is_as_long_as_ever() {
    assert_eq!(encoded(&[dir(b"d")])[0], 9, "bytes of the frame, as before");
}

#[test]
fn attributes_belong_to_what_comes_next() {
    for entries in [
        vec![extra(None), extra(None)],
        vec![extra(None), end(0, 1)],
        vec![extra(None), link(b"x", 0)],
        vec![extra(Some(0)), dir(b"d")],
    ] {
        assert_eq!(read(&entries), Err(ListError::Extra), "{entries:?}");
    }
    let late = [end(0, 0), extra(None)];
    assert_eq!(read(&late), Err(ListError::AfterEnd));
}

#[test]
fn links_are_numbered_in_order_and_lead_back() {
    for entries in [
        vec![link(b"x", 0)],
        vec![extra(Some(1))],
        vec![extra(Some(0)), file(b"f"), extra(Some(0))],
        vec![extra(Some(0)), file(b"f"), link(b"x", 1)],
    ] {
        assert_eq!(read(&entries), Err(ListError::HardLink), "{entries:?}");
    }
}

#[test]
fn attributes_that_no_file_has_are_refused() {
    let nobody = u32::MAX;
    let long = vec![0; MAX_XATTR_VALUE_LEN + 1];
    let half = vec![0; MAX_XATTRS_LEN / 2];
    for bad in [
        with(Some((nobody, 0)), &[]),
        with(Some((0, nobody)), &[]),
        with(None, &[(b"", b"")]),
        with(None, &[(b"nul\0", b"")]),
        with(None, &[(&[b'n'; 256], b"")]),
        with(None, &[(b"b", b""), (b"a", b"")]),
        with(None, &[(b"a", b""), (b"a", b"")]),
        with(None, &[(b"a", &long)]),
        with(None, &[(b"a", &half), (b"b", &half)]),
    ] {
        assert_eq!(read(&[bad]), Err(ListError::Extra));
    }
    let names: Vec<Vec<u8>> = (0..=MAX_XATTRS).map(|n| format!("{n:05}").into()).collect();
    let many: Vec<(&[u8], &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
    assert!(read(&[with(None, &many[1..])]).is_ok());
    assert_eq!(read(&[with(None, &many)]), Err(ListError::Extra));
}

proptest! {
    #[test]
    fn any_extra_survives(
        owner in option::of((0..u32::MAX, 0..u32::MAX)),
        xattrs in btree_map(vec(1..=255_u8, 1..60), vec(any::<u8>(), 0..200), 0..20),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let pairs: Vec<(&[u8], &[u8])> = xattrs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let entries = [with(owner, &pairs), file(b"f")];
        prop_assert_eq!(&read(&entries).unwrap(), &entries);
        // Damaged, it is refused or read as something else, and nothing worse.
        let mut bytes = encoded(&entries);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut reader = ListReader::new();
        reader.push(&bytes);
        while let Ok(Some(_)) = reader.next_entry() {}
    }
}
