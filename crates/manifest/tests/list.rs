//! The list through its bytes, honest and not.
#![allow(clippy::unwrap_used, missing_docs)]

use haul_manifest::{
    ChangeKind, DirId, Entry, Extent, FileNo, Layout, ListError, ListReader, ListWriter, MAX_DEPTH,
    MAX_EXTENTS, Meta, Name, NameError, SkipKind, Timestamp,
};
use proptest::{collection::vec, prelude::*};

const BLOCK_LEN: usize = 100;

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).unwrap()
}

fn dir(parent: u32, called: &[u8]) -> Entry {
    Entry::Dir {
        parent: DirId(parent),
        name: name(called),
        meta: Meta::default(),
    }
}

fn file(parent: u32, called: &[u8], size: u64, layout: Layout) -> Entry {
    Entry::File {
        parent: DirId(parent),
        name: name(called),
        meta: Meta::default(),
        size,
        layout,
        digest: None,
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

fn blocks(writer: &ListWriter) -> Vec<u8> {
    (0..writer.blocks())
        .flat_map(|block| writer.block(block).unwrap().to_vec())
        .collect()
}

fn encoded(entries: &[Entry]) -> Vec<u8> {
    let mut writer = ListWriter::new(BLOCK_LEN);
    for entry in entries {
        writer.push(entry);
    }
    writer.pad();
    blocks(&writer)
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, ListError> {
    let mut reader = ListReader::new();
    reader.push(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// What the reader says of the last of these entries.
fn verdict(entries: &[Entry]) -> Result<(), ListError> {
    let (_, before) = entries.split_last().unwrap();
    assert_eq!(read(&encoded(before)).unwrap(), before);
    read(&encoded(entries)).map(|_| ())
}

fn sample() -> Vec<Entry> {
    let meta = Meta {
        mode: 0o106_777,
        modified: Timestamp {
            seconds: -5,
            nanos: 999_999_999,
        },
        accessed: Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        },
    };
    vec![
        dir(0, b"d"),
        dir(1, b"\xff\n"),
        Entry::File {
            parent: DirId(2),
            name: name(&[b'n'; 255]),
            meta,
            size: 10_000,
            layout: Layout::Sparse(vec![
                Extent { offset: 0, len: 1 },
                Extent {
                    offset: 9_999,
                    len: 1,
                },
            ]),
            digest: Some([0xd1; 32]),
        },
        file(0, b"empty", 0, Layout::Dense),
        file(0, b"hole", 1 << 40, Layout::Sparse(vec![])),
        Entry::Changed {
            file: FileNo(0),
            why: ChangeKind::Vanished,
        },
        Entry::Symlink {
            parent: DirId(1),
            name: name(b"link"),
            meta,
            target: vec![b't'; 4095].into(),
        },
        Entry::Skipped {
            parent: DirId(0),
            name: name(b"fifo"),
            why: SkipKind::Special,
        },
        end(2, 3, 8),
        Entry::Torn { block: 7 },
        Entry::Digest {
            file: FileNo(0),
            digest: [7; 32],
        },
    ]
}

#[test]
fn every_kind_of_entry_survives() {
    let entries = sample();
    assert_eq!(read(&encoded(&entries)).unwrap(), entries);
}

#[test]
fn entries_come_out_as_their_last_byte_arrives() {
    let entries = sample();
    let mut reader = ListReader::new();
    let mut got = Vec::new();
    for byte in encoded(&entries) {
        reader.push(&[byte]);
        while let Some(entry) = reader.next_entry().unwrap() {
            got.push(entry);
        }
    }
    assert_eq!(got, entries);
    assert!(reader.is_ended());
    assert_eq!(reader.content_bytes(), 2);
}

#[test]
fn padding_between_entries_means_nothing() {
    let entries = sample();
    let mut writer = ListWriter::new(BLOCK_LEN);
    for entry in &entries {
        writer.push(entry);
        writer.pad();
        assert!(!writer.has_partial());
    }
    assert_eq!(read(&blocks(&writer)).unwrap(), entries);
}

#[test]
fn push_tells_the_block_that_an_entry_needs() {
    let mut writer = ListWriter::new(BLOCK_LEN);
    for entry in sample() {
        let last = writer.push(&entry);
        writer.pad();
        assert_eq!(writer.blocks(), last + 1);
    }
    writer.release(3);
    assert!(writer.block(2).is_none() && writer.block(3).is_some());
    assert!(writer.block(writer.blocks()).is_none());
}

#[test]
fn structure_that_no_tree_has_is_refused() {
    let dense = Layout::Dense;
    let extents = |pairs: &[(u64, u64)]| {
        let extent = |(offset, len): &(u64, u64)| Extent {
            offset: *offset,
            len: *len,
        };
        Layout::Sparse(pairs.iter().map(extent).collect())
    };
    for (entries, error) in [
        (vec![dir(1, b"d")], ListError::UnknownParent),
        (
            vec![dir(0, b"d"), file(2, b"f", 0, dense.clone())],
            ListError::UnknownParent,
        ),
        (vec![dir(0, b"d"), dir(0, b"d")], ListError::DuplicateDir),
        (
            vec![file(0, b"f", 1 << 63, extents(&[]))],
            ListError::Overflow,
        ),
        (
            vec![file(0, b"f", 10, extents(&[(5, 6)]))],
            ListError::Extents,
        ),
        (
            vec![file(0, b"f", 10, extents(&[(5, 0)]))],
            ListError::Extents,
        ),
        (
            vec![file(0, b"f", 10, extents(&[(0, 5), (5, 5)]))],
            ListError::Extents,
        ),
        (vec![end(0, 1, 0)], ListError::Totals),
        (vec![dir(0, b"d"), end(0, 0, 0)], ListError::Totals),
        (vec![end(0, 0, 0), dir(0, b"d")], ListError::AfterEnd),
        (vec![end(0, 0, 0), end(0, 0, 1)], ListError::AfterEnd),
        (
            vec![
                file(0, b"empty", 0, dense),
                Entry::Changed {
                    file: FileNo(0),
                    why: ChangeKind::Modified,
                },
            ],
            ListError::UnknownFile,
        ),
    ] {
        assert_eq!(verdict(&entries), Err(error), "{entries:?}");
    }
}

#[test]
fn c44_sums_of_sizes_do_not_overflow() {
    let huge = |called: &[u8]| file(0, called, i64::MAX as u64, Layout::Dense);
    let entries = [huge(b"a"), huge(b"b"), huge(b"c")];
    assert_eq!(verdict(&entries), Err(ListError::Overflow));
}

#[test]
fn c44_n62_depth_and_length_of_paths_are_bounded() {
    let mut entries: Vec<Entry> = (0..MAX_DEPTH as u32)
        .map(|parent| dir(parent, b"d"))
        .collect();
    assert_eq!(verdict(&entries), Ok(()));
    entries.push(dir(MAX_DEPTH as u32, b"d"));
    assert_eq!(verdict(&entries), Err(ListError::TooDeep));
    // 16 names of 255 bytes with 16 separators leave room for a name of 0 bytes.
    let mut entries: Vec<Entry> = (0..16).map(|parent| dir(parent, &[b'n'; 255])).collect();
    assert_eq!(verdict(&entries), Ok(()));
    entries.push(dir(16, b"n"));
    assert_eq!(verdict(&entries), Err(ListError::PathTooLong));
}

#[test]
fn times_and_targets_are_checked() {
    let late = Timestamp {
        seconds: 0,
        nanos: 1_000_000_000,
    };
    let meta = Meta {
        modified: late,
        ..Meta::default()
    };
    let bad_time = Entry::Dir {
        parent: DirId(0),
        name: name(b"d"),
        meta,
    };
    assert_eq!(verdict(&[bad_time]), Err(ListError::Timestamp));
    for target in [vec![], vec![b't'; 4096], b"nul\0".to_vec()] {
        let link = Entry::Symlink {
            parent: DirId(0),
            name: name(b"l"),
            meta: Meta::default(),
            target: target.into(),
        };
        assert_eq!(verdict(&[link]), Err(ListError::Target));
    }
}

#[test]
fn c44_extents_of_one_file_are_bounded() {
    let with = |count: usize| {
        let extent = |index| Extent {
            offset: index as u64 * 2,
            len: 1,
        };
        file(
            0,
            b"f",
            1 << 20,
            Layout::Sparse((0..count).map(extent).collect()),
        )
    };
    assert_eq!(verdict(&[with(MAX_EXTENTS)]), Ok(()));
    assert_eq!(verdict(&[with(MAX_EXTENTS + 1)]), Err(ListError::Extents));
}

/// Names as they are on the wire: the honest writer cannot produce these.
#[test]
fn n62_names_that_lead_elsewhere_are_refused() {
    let long = [b'x'; 256];
    for (bad, error) in [
        (&b".."[..], NameError::Dots),
        (b".", NameError::Dots),
        (b"", NameError::Empty),
        (b"/abs", NameError::ForbiddenByte),
        (b"a/../../b", NameError::ForbiddenByte),
        (b"a/", NameError::ForbiddenByte),
        (b"a\0", NameError::ForbiddenByte),
        (&long, NameError::TooLong(256)),
    ] {
        // A directory entry: frame length, variant 0, parent 0, name, then mode and four times 0.
        let mut body = vec![0, 0];
        body.push(bad.len() as u8 & 0x7f | if bad.len() > 127 { 0x80 } else { 0 });
        if bad.len() > 127 {
            body.push((bad.len() >> 7) as u8);
        }
        body.extend_from_slice(bad);
        body.extend_from_slice(&[0; 5]);
        let mut frame = Vec::new();
        if body.len() > 127 {
            frame.push(body.len() as u8 | 0x80);
            frame.push((body.len() >> 7) as u8);
        } else {
            frame.push(body.len() as u8);
        }
        frame.extend_from_slice(&body);
        assert_eq!(read(&frame), Err(ListError::Name(error)), "{bad:?}");
    }
    let listed = [&[9, 0, 0, 1, b'd'][..], &[0; 5]].concat();
    assert_eq!(
        read(&listed).unwrap(),
        [dir(0, b"d")],
        "the frame above is the right one"
    );
}

#[test]
fn oversized_and_malformed_frames_are_refused() {
    for bytes in [
        &[0xff, 0xff, 0xff, 0x01][..],
        &[0x81, 0x80, 0x80, 0x00],
        &[0x80, 0x80, 0x08],
        &[1, 99],
        &[3, 4, 0, 0],
        &[1, 0],
    ] {
        assert_eq!(read(bytes), Err(ListError::Malformed), "{bytes:?}");
    }
    assert_eq!(read(&[0x80, 0x80]), Ok(vec![]), "not whole yet");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn damaged_lists_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&sample());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(&bytes);
    }

    #[test]
    fn split_lists_read_alike(cuts in vec(1_usize..300, 1..40)) {
        let bytes = encoded(&sample());
        let mut reader = ListReader::new();
        let mut rest = bytes.as_slice();
        let mut got = Vec::new();
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            reader.push(now);
            rest = later;
            while let Some(entry) = reader.next_entry().unwrap() {
                got.push(entry);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, sample());
    }
}

#[test]
fn a_stream_is_the_last_of_the_list_and_is_closed() {
    let stream = Entry::Stream {
        parent: DirId(0),
        name: name(b"s"),
        meta: Meta::default(),
    };
    let closed = |size| Entry::Closed {
        size,
        meta: Meta::default(),
    };
    let changed = Entry::Changed {
        file: FileNo(0),
        why: ChangeKind::Modified,
    };
    let (open, file) = (stream, file(0, b"f", 3, Layout::Dense));
    let whole = [file.clone(), open.clone(), closed(7), end(10, 2, 3)];
    assert_eq!(read(&encoded(&whole)).unwrap(), whole);
    let told = [open.clone(), changed, closed(7), end(7, 1, 3)];
    assert_eq!(read(&encoded(&told)).unwrap(), told);
    for (wrong, why) in [
        (vec![closed(7)], ListError::Stream),
        (vec![open.clone(), end(0, 1, 1)], ListError::Stream),
        (vec![open.clone(), file.clone()], ListError::Stream),
        (vec![open.clone(), dir(0, b"d")], ListError::Stream),
        (vec![open.clone(), open.clone()], ListError::Stream),
        (vec![open.clone(), closed(7), closed(7)], ListError::Stream),
        (vec![open.clone(), closed(7), file], ListError::Stream),
        (vec![open.clone(), closed(u64::MAX)], ListError::Overflow),
        (vec![open, closed(7), end(8, 1, 2)], ListError::Totals),
    ] {
        assert_eq!(read(&encoded(&wrong)), Err(why), "{wrong:?}");
    }
}
