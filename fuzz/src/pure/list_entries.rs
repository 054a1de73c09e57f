//! The list of files, as a hostile sender might write it.
//!
//! Input: length of a chunk (1 byte), length of a block (1), then the list.

use haul_manifest::{ContentMap, Entry, FileNo, ListError, ListReader, ListWriter};

use super::bytes::Bytes;

/// How a list is cut makes no difference; one that is valid survives writing and reading again, and
/// its contents fill the content space without a gap.
pub fn check(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let chunk_len = bytes.number(1).max(1) as usize;
    let block_len = bytes.number(1).max(1) as usize;
    let list = bytes.rest();
    let (entries, reader, end) = read(std::iter::once(list));
    let (cut, cut_reader, cut_end) = read(list.chunks(chunk_len));
    assert_eq!((&cut, &cut_end), (&entries, &end));
    assert_eq!(cut_reader.is_ended(), reader.is_ended());
    fills_content_space(&entries, reader.content_bytes());
    let mut writer = ListWriter::new(block_len);
    for entry in &entries {
        writer.push(entry);
    }
    writer.pad();
    let blocks = (0..writer.blocks()).filter_map(|block| writer.block(block));
    let (again, again_reader, again_end) = read(blocks);
    assert_eq!((&again, &again_end), (&entries, &Ok(())));
    assert_eq!(again_reader.is_ended(), reader.is_ended());
    end.is_ok() && reader.is_ended()
}

/// All entries up to the end of the bytes or the first error.
fn read<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Entry>, ListReader, Result<(), ListError>) {
    let mut reader = ListReader::new();
    let mut entries = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break,
                Err(error) => return (entries, reader, Err(error)),
            }
        }
    }
    (entries, reader, Ok(()))
}

fn fills_content_space(entries: &[Entry], content_bytes: u64) {
    let mut map = ContentMap::new();
    let mut file = FileNo(0);
    for entry in entries {
        let before = map.end();
        if let Entry::Closed { size, .. } = entry {
            // As the receiver does, who hears of the size when it has the content.
            map.push(file, 0, u64::MAX - before)
                .expect("it ends where everything does");
            map.set_end(before + size);
        }
        let Entry::File { size, layout, .. } = entry else {
            continue;
        };
        for extent in layout.extents(*size) {
            assert!(extent.offset + extent.len <= *size);
            map.push(file, extent.offset, extent.len)
                .expect("the reader has added it up");
        }
        file.0 += u64::from(map.end() > before);
    }
    assert_eq!(map.end(), content_bytes);
    let mut at = 0;
    for piece in map.pieces(0..content_bytes) {
        assert_eq!(piece.content.start, at);
        at = piece.content.end;
    }
    assert_eq!(at, content_bytes);
}
