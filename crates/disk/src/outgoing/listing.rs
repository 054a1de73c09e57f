use std::collections::VecDeque;

use haul_manifest::{ContentMap, Entry, Extra, FileNo, Layout, ListError, ListWriter, TORN};

use super::Available;
use crate::CONTENT_AHEAD_BYTES;

/// The list so far, the content it describes, and how much of both may be sent.
#[derive(Debug)]
pub(super) struct Listing {
    block_len: u64,
    writer: ListWriter,
    map: ContentMap,
    /// For blocks of the list that have not been delivered: how much content the entries that end
    /// in a block, and those before, describe. Ascending.
    marks: VecDeque<Mark>,
    /// Content described by what has been delivered of the list.
    described: u64,
    /// The list's blocks below this have been delivered.
    delivered: u64,
    /// The content's blocks below this have been delivered.
    content_delivered: u64,
    /// What the next entry has beside what it says itself.
    extra: Option<Box<Extra>>,
    entries: u64,
    files: u64,
    next_file: u64,
    /// Found, and not to be listed.
    unlisted: u64,
    ended: bool,
    /// Whether digests of what was sent may still come to be listed.
    is_proved: bool,
}

#[derive(Debug)]
struct Mark {
    block: u64,
    content: u64,
}

impl Listing {
    /// An empty list. Unless `is_proved`, it is not complete before [`Self::set_proved`].
    pub(super) fn new(block_len: usize, is_proved: bool) -> Self {
        Self {
            block_len: block_len as u64,
            writer: ListWriter::new(block_len),
            map: ContentMap::new(),
            marks: VecDeque::new(),
            described: 0,
            delivered: 0,
            content_delivered: 0,
            extra: None,
            entries: 0,
            files: 0,
            next_file: 0,
            unlisted: 0,
            ended: false,
            is_proved,
        }
    }

    /// No digests will come to be listed any more.
    pub(super) fn set_proved(&mut self) {
        self.is_proved = true;
    }

    pub(super) fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// The entry that is pushed next has this.
    pub(super) fn set_extra(&mut self, extra: Option<Box<Extra>>) {
        self.extra = extra;
    }

    /// Lists an entry that is not a file.
    pub(super) fn push(&mut self, entry: &Entry) {
        if let Some(extra) = self.extra.take() {
            self.append(&Entry::Extra(extra));
        }
        self.append(entry);
    }

    fn append(&mut self, entry: &Entry) {
        let block = self.writer.push(entry);
        self.entries += 1;
        let content = self.map.end();
        match self.marks.back_mut() {
            Some(mark) if mark.block == block => mark.content = content,
            _ => self.marks.push_back(Mark { block, content }),
        }
    }

    /// Lists a file and maps its content. Returns its number when it has any.
    ///
    /// # Errors
    /// [`ListError`] when the sizes overflow or the layout is unsound; nothing is listed then.
    pub(super) fn push_file(
        &mut self,
        entry: &Entry,
        size: u64,
        layout: &Layout,
    ) -> Result<Option<FileNo>, ListError> {
        let content = layout.content_len(size)?;
        let end = self.map.end().checked_add(content);
        if end.is_none_or(|end| end.div_ceil(self.block_len) > TORN) {
            self.extra = None;
            return Err(ListError::Overflow);
        }
        let file = (content > 0).then_some(FileNo(self.next_file));
        if let Some(file) = file {
            for extent in layout.extents(size) {
                self.map.push(file, extent.offset, extent.len)?;
            }
            self.next_file += 1;
        }
        self.files += 1;
        self.push(entry);
        Ok(file)
    }

    /// Counts what is there and is not listed.
    pub(super) fn note_unlisted(&mut self) {
        self.unlisted += 1;
    }

    /// Lists the end and makes all that was listed sendable.
    pub(super) fn end(&mut self) {
        self.push(&Entry::End {
            content_bytes: self.map.end(),
            files: self.files,
            entries: self.entries,
            unlisted: self.unlisted,
        });
        self.ended = true;
        self.writer.pad();
    }

    /// Makes all that was listed sendable.
    pub(super) fn pad(&mut self) {
        self.writer.pad();
    }

    /// Pads when the receiver has all there is: it would wait for nothing.
    pub(super) fn pad_if_idle(&mut self) {
        if self.delivered >= self.writer.blocks() {
            self.writer.pad();
        }
    }

    /// What may be sent now.
    pub(super) fn available(&self) -> Available {
        let blocks = self.writer.blocks();
        let whole = self.marks.partition_point(|mark| mark.block < blocks);
        let listed = match whole.checked_sub(1) {
            Some(last) => self.marks[last].content,
            None => self.described,
        };
        let limit = listed.min(self.described.saturating_add(CONTENT_AHEAD_BYTES));
        let is_all = self.ended && limit == self.map.end();
        Available {
            list_blocks: blocks,
            content_blocks: if is_all {
                limit.div_ceil(self.block_len)
            } else {
                limit / self.block_len
            },
            complete: is_all && self.is_proved,
        }
    }

    /// The list's blocks below `floor` have been delivered.
    pub(super) fn release_list(&mut self, floor: u64) {
        self.writer.release(floor);
        self.delivered = self.delivered.max(floor);
        while let Some(mark) = self.marks.front()
            && mark.block < floor
        {
            self.described = mark.content;
            self.marks.pop_front();
        }
    }

    /// The content's blocks below `floor` have been delivered. Returns the lowest file that is
    /// still needed.
    pub(super) fn release_content(&mut self, floor: u64) -> FileNo {
        self.content_delivered = self.content_delivered.max(floor);
        let floor = self.content_delivered.saturating_mul(self.block_len);
        self.map.release(floor);
        let first = self.map.pieces(floor..u64::MAX).next();
        first.map_or(FileNo(self.next_file), |piece| piece.file)
    }

    pub(super) fn map(&self) -> &ContentMap {
        &self.map
    }

    /// The list's blocks below this have been delivered.
    pub(super) fn list_floor(&self) -> u64 {
        self.delivered
    }

    /// The content's blocks below this have been delivered.
    pub(super) fn content_floor(&self) -> u64 {
        self.content_delivered
    }

    pub(super) fn list_block(&self, block: u64) -> Option<&[u8]> {
        self.writer.block(block)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.writer.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use haul_manifest::{DirId, Meta, Name};

    use super::*;

    const BLOCK_LEN: usize = 1000;

    fn add(listing: &mut Listing, size: u64) {
        let entry = Entry::File {
            parent: DirId::DESTINATION,
            name: Name::new(b"a name of some length").unwrap(),
            meta: Meta::default(),
            size,
            layout: Layout::Dense,
            digest: None,
        };
        listing.push_file(&entry, size, &Layout::Dense).unwrap();
    }

    #[test]
    fn content_runs_a_bounded_way_ahead_of_the_delivered_list() {
        let mut listing = Listing::new(BLOCK_LEN, true);
        add(&mut listing, 100 << 20);
        assert_eq!(
            listing.available(),
            Available::default(),
            "in no whole block"
        );
        listing.pad_if_idle();
        let ahead = CONTENT_AHEAD_BYTES / BLOCK_LEN as u64;
        let mut expected = Available {
            list_blocks: 1,
            content_blocks: ahead,
            complete: false,
        };
        assert_eq!(listing.available(), expected);
        listing.release_list(1);
        expected.content_blocks = (100 << 20) / BLOCK_LEN as u64;
        assert_eq!(
            listing.available(),
            expected,
            "but not its unfinished last block"
        );
        listing.end();
        let end = listing.available();
        assert_eq!((end.list_blocks, end.complete), (2, true));
        assert_eq!(end.content_blocks, expected.content_blocks + 1);
    }

    #[test]
    fn the_end_is_complete_only_when_all_content_may_go() {
        let mut listing = Listing::new(BLOCK_LEN, true);
        add(&mut listing, CONTENT_AHEAD_BYTES + 1);
        listing.end();
        assert!(!listing.available().complete);
        listing.release_list(1);
        assert!(listing.available().complete);
    }

    #[test]
    fn what_may_be_sent_only_grows() {
        let mut listing = Listing::new(BLOCK_LEN, true);
        let mut last = Available::default();
        for step in 0..3000_u64 {
            add(&mut listing, (step * 7919) % 90_000);
            if step % 5 == 0 {
                let blocks = listing.available().list_blocks;
                listing.release_list(blocks.saturating_sub(step % 3));
                listing.pad_if_idle();
            }
            let now = listing.available();
            assert!(now.list_blocks >= last.list_blocks);
            assert!(now.content_blocks >= last.content_blocks);
            last = now;
        }
        assert!(last.content_blocks > 0);
    }

    #[test]
    fn more_content_than_block_numbers_is_refused() {
        let mut listing = Listing::new(BLOCK_LEN, true);
        let size = TORN * BLOCK_LEN as u64;
        let entry = Entry::File {
            parent: DirId::DESTINATION,
            name: Name::new(b"huge").unwrap(),
            meta: Meta::default(),
            size: size + 1,
            layout: Layout::Dense,
            digest: None,
        };
        let refused = listing.push_file(&entry, size + 1, &Layout::Dense);
        assert_eq!(refused, Err(ListError::Overflow));
        listing.end();
        assert!(listing.available().complete, "nothing of it was listed");
    }
}
