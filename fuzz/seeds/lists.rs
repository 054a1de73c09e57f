//! Lists of files, honest and not.

use haul_manifest::{
    ChangeKind, DirId, Entry, Extent, Extra, FileNo, Layout, LinkNo, ListWriter, Meta, Name, Owner,
    SkipKind, Timestamp, Xattr,
};

use super::{Seeds, hostile, valid};

const META: Meta = Meta {
    mode: 0o644,
    modified: Timestamp {
        seconds: 1_700_000_000,
        nanos: 999_999_999,
    },
    accessed: Timestamp {
        seconds: -1,
        nanos: 0,
    },
};

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).expect("a sound name")
}

fn dir(parent: u32, called: &[u8]) -> Entry {
    Entry::Dir {
        parent: DirId(parent),
        name: name(called),
        meta: META,
    }
}

fn file(parent: u32, called: &[u8], size: u64, layout: Layout) -> Entry {
    Entry::File {
        parent: DirId(parent),
        name: name(called),
        meta: META,
        size,
        layout,
        digest: Some([0xd1; 32]),
    }
}

fn extra(link: Option<u32>) -> Entry {
    let xattr = |name: &[u8], value: &[u8]| Xattr {
        name: name.into(),
        value: value.into(),
    };
    Entry::Extra(Box::new(Extra {
        owner: Some(Owner {
            uid: 0,
            gid: u32::MAX - 1,
        }),
        link: link.map(LinkNo),
        xattrs: vec![
            xattr(b"security.capability", &[1; 20]),
            xattr(b"user.\xff", b""),
        ],
    }))
}

fn hard_link(called: &[u8], to: u32) -> Entry {
    Entry::HardLink {
        parent: DirId(0),
        name: name(called),
        to: LinkNo(to),
    }
}

fn end(content_bytes: u64, files: u64, entries: u64) -> Entry {
    Entry::End {
        content_bytes,
        files,
        entries,
        unlisted: 0,
    }
}

/// A list behind the two lengths that the check begins with.
fn list(entries: &[Entry]) -> Vec<u8> {
    let mut writer = ListWriter::new(100);
    for entry in entries {
        writer.push(entry);
    }
    writer.pad();
    let mut bytes = vec![7, 100];
    for block in 0..writer.blocks() {
        bytes.extend_from_slice(writer.block(block).expect("not released"));
    }
    bytes
}

/// A list of one entry as it stands on the wire.
fn raw(entry: &[u8]) -> Vec<u8> {
    [&[1, 9, entry.len() as u8][..], entry].concat()
}

fn tree() -> Vec<Entry> {
    let extents = vec![
        Extent {
            offset: 4_096,
            len: 10,
        },
        Extent {
            offset: 1 << 40,
            len: 1,
        },
    ];
    vec![
        dir(0, b"a"),
        dir(1, b"\xff\x1b[2J"),
        file(2, b"big", 1 << 50, Layout::Dense),
        file(2, b"empty", 0, Layout::Dense),
        file(0, b"sparse", (1 << 40) + 1, Layout::Sparse(extents)),
        file(0, b"hole", 1 << 62, Layout::Sparse(Vec::new())),
        Entry::Symlink {
            parent: DirId(1),
            name: name(b"link"),
            meta: META,
            target: b"../../etc".as_slice().into(),
        },
        Entry::Skipped {
            parent: DirId(0),
            name: name(b"fifo"),
            why: SkipKind::Special,
        },
        Entry::Changed {
            file: FileNo(0),
            why: ChangeKind::Vanished,
        },
    ]
}

/// A file, a stream and its end, and what comes then.
fn stream(last: Entry) -> Vec<Entry> {
    vec![
        file(0, b"f", 3, Layout::Dense),
        Entry::Stream {
            parent: DirId(0),
            name: name(b"stdin"),
            meta: META,
        },
        Entry::Closed {
            size: 7,
            meta: META,
        },
        last,
    ]
}

/// Owners, extended attributes and further names.
fn extras() -> Seeds {
    let empty = |called| file(0, called, 0, Layout::Dense);
    let linked = vec![
        extra(None),
        dir(0, b"d"),
        extra(Some(0)),
        empty(b"a"),
        hard_link(b"b", 0),
        end(0, 1, 5),
    ];
    vec![
        valid("linked", list(&linked)),
        hostile("extra-of-nothing", list(&[extra(None), end(0, 0, 1)])),
        hostile("extra-twice", list(&[extra(None), extra(None)])),
        hostile("linked-dir", list(&[extra(Some(0)), dir(0, b"d")])),
        hostile("link-ahead", list(&[hard_link(b"b", 0)])),
        hostile(
            "owner-minus-one",
            raw(&[8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]),
        ),
        hostile("xattr-name-empty", raw(&[8, 0, 0, 1, 0, 0])),
        hostile(
            "xattrs-unsorted",
            raw(&[8, 0, 0, 2, 1, b'b', 0, 1, b'a', 0]),
        ),
        hostile(
            "xattrs-many",
            raw(&[8, 0, 0, 0xff, 0xff, 0xff, 0x7f, 1, b'b', 0]),
        ),
    ]
}

pub fn list_entries() -> Seeds {
    let content = (1 << 50) + 11;
    let whole = [tree(), vec![end(content, 4, 9)]].concat();
    let digest = Entry::Digest {
        file: FileNo(0),
        digest: [7; 32],
    };
    let trailer = Entry::Changed {
        file: FileNo(1),
        why: ChangeKind::Modified,
    };
    let deep: Vec<_> = (0..128).map(|level| dir(level, b"d")).collect();
    let comb = (0..300)
        .map(|n| Extent {
            offset: 2 * n,
            len: 1,
        })
        .collect();
    let comb = file(0, b"comb", 600, Layout::Sparse(comb));
    let too_deep: Vec<_> = (0..129).map(|level| dir(level, b"d")).collect();
    let large = file(0, b"x", i64::MAX as u64, Layout::Dense);
    let named = |name: &[u8]| raw(&[&[5, 0, name.len() as u8][..], name, &[0]].concat());
    let extents = |gaps: &[u8]| {
        let fixed = [1, 0, 1, b'x', 0, 0, 0, 0, 0, 100, 1];
        raw(&[&fixed[..], gaps, &[0]].concat())
    };
    let mut seeds = vec![
        valid("nothing", list(&[end(0, 0, 0)])),
        valid("stream", list(&stream(end(10, 2, 3)))),
        hostile(
            "stream-open",
            list(&[&stream(end(3, 2, 2))[..2], &[end(3, 2, 2)]].concat()),
        ),
        hostile("stream-not-last", list(&stream(dir(0, b"d")))),
        valid("tree", list(&whole)),
        valid(
            "trailer",
            list(
                &[
                    whole.clone(),
                    vec![trailer, Entry::Torn { block: 3 }, digest],
                ]
                .concat(),
            ),
        ),
        valid("deep", list(&[deep, vec![end(0, 0, 128)]].concat())),
        valid("comb", list(&[comb, end(300, 1, 1)])),
        hostile("no-end", list(&tree())),
        hostile("after-end", list(&[end(0, 0, 0), dir(0, b"a")])),
        hostile("totals", list(&[dir(0, b"a"), end(1, 0, 1)])),
        hostile("too-deep", list(&too_deep)),
        hostile("twice", list(&[dir(0, b"a"), dir(0, b"a")])),
        hostile("parent", list(&[dir(9, b"a")])),
        hostile(
            "unknown-file",
            list(&[Entry::Changed {
                file: FileNo(0),
                why: ChangeKind::Modified,
            }]),
        ),
        hostile("sizes", list(&[large.clone(), large.clone(), large])),
        hostile("name-slash", named(b"a/b")),
        hostile("name-dots", named(b"..")),
        hostile("name-zero", named(b"a\0")),
        hostile("name-empty", named(b"")),
        hostile("extents-touch", extents(&[2, 0, 5, 0, 5])),
        hostile("extents-beyond", extents(&[1, 90, 11])),
        hostile("extents-many", extents(&[0xff, 0xff, 0x7f, 1, 1])),
        hostile("long-entry", vec![1, 9, 0xff, 0xff, 0x7f, 1]),
        hostile("long-prefix", vec![1, 9, 0x81, 0x80, 0x80, 0x00, 1]),
        hostile("padding", vec![1, 9, 0, 0, 0, 0, 0x80, 0]),
    ];
    seeds.extend(extras());
    seeds
}
