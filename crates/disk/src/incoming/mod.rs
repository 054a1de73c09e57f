//! The receiving half, called by one thread. A block's way:
//!
//! ```text
//!  place() ─ list block ──► inflow.rs   in order → entries → dirs.rs, files.rs, links.rs
//!          └ content block ► content.rs  listed? → pieces → files.rs → pwritev → partial.rs
//!                                └ not yet: waiting.rs, until its entry arrives
//! ```
//!
//! What is whole is handed to a second thread, which finishes it: finishing.rs.

mod attributes;
mod content;
mod dirs;
mod discard;
mod files;
mod finishing;
mod inflow;
mod journal;
mod ledger;
mod links;
mod nameless;
mod options;
mod outlet;
mod partial;
mod published;
mod resume;
mod stream;
mod waiting;

use std::{path::PathBuf, sync::Arc};

use haul_batch::Batch;
use haul_manifest::{
    ContentMap, DirId, Entry, FileNo, Layout, ListError, Meta, Name, RangeSet, TORN, VOID,
};
use haul_wire::control::{Fsync, Resume};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, HEADER_LEN, Part, Stream, TAG_LEN, part_len};
use rustix::fs::{Mode, OFlags, openat, syncfs};

use self::{
    attributes::Attributes,
    content::{Fragment, Fragments},
    dirs::Dirs,
    files::{Files, Found, Listed},
    finishing::{Done, Finished, Finishing, Job, What},
    inflow::Inflow,
    journal::{Journal, is_reserved},
    ledger::Ledger,
    links::Link,
    stream::Open,
    waiting::Waiting,
};
pub use self::{
    discard::Discard,
    ledger::{FileEvent, Received},
    options::ReceiveOptions,
    outlet::Outlet,
    resume::has_leftovers,
};
use crate::{DiskError, Expected, FailureKind, Landing, Root, WAITING_BYTES_MAX};

/// Symbolic links that wait for the end; further ones are made at once.
const LINKS_KEPT: usize = 1 << 16;
/// Most extents mapped and not whole. An honest sender maps a quarter of that ahead.
const EXTENTS_MAX: usize = 1 << 21;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placed {
    /// Block bytes that have been taken care of for good, waited for or not.
    pub written_bytes: u64,
    /// Those of them that are content of files, not of the list.
    pub content_bytes: u64,
    /// Blocks that had arrived before.
    pub duplicate_blocks: u64,
    /// Block bytes that are waiting now: a level, at most [`WAITING_BYTES_MAX`].
    pub waiting_bytes: u64,
    /// Whether everything has arrived and been written.
    pub complete: bool,
}

/// What is being received.
///
/// Call [`place`](Self::place) with every batch that arrives, in any order, duplicates included,
/// until it is [complete](Self::is_complete); then [`finish`](Self::finish). After an error, or
/// when the transfer ends early, [`abandon`](Self::abandon).
#[derive(Debug)]
pub struct Incoming {
    block_len: usize,
    landing: Landing,
    expected: Option<Expected>,
    tree: Tree,
    files: Files,
    links: Vec<Link>,
    inflow: Inflow,
    map: ContentMap,
    next_file: u64,
    /// Bytes of content that have been placed, the padding of the last block included.
    arrived: RangeSet,
    waiting: Waiting,
    /// The file of unknown size that is being received.
    stream: Option<Open>,
    /// Whether something has come to the top already.
    has_top: bool,
    /// Blocks of content of which has been told whether they are there, if anything of that is told.
    judged: Option<u64>,
    fsync: Fsync,
    /// Block bytes taken care of in this call.
    written: u64,
}

/// The destination, and the account of what has been made there.
#[derive(Debug)]
struct Tree {
    dirs: Dirs,
    ledger: Ledger,
    attributes: Attributes,
}

impl Incoming {
    /// Prepares to receive blocks of `block_len` bytes. Nothing is made yet.
    ///
    /// # Errors
    /// [`DiskError::Destination`] when the destination cannot be held open.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(
        root: Root,
        landing: Landing,
        options: ReceiveOptions,
        block_len: usize,
    ) -> Result<Self, DiskError> {
        assert!(block_len > 0);
        let failed = |cause| DiskError::Destination {
            path: landing.path.clone(),
            cause,
        };
        let attributes = Attributes::new(options.preserve, options.umask);
        let dirs = Dirs::new(root).map_err(|errno| failed(errno.into()))?;
        let journal = Journal::open(Arc::clone(dirs.top()), options.resume != Resume::Never);
        let finishing = Finishing::start(attributes, options.placing.fsync == Fsync::Each);
        let finishing = finishing.map_err(failed)?;
        let files = Files::new(finishing, options.placing.overwrite, journal);
        Ok(Self {
            block_len,
            landing,
            expected: options.expected,
            tree: Tree {
                dirs,
                ledger: Ledger::new(options.file_events),
                attributes,
            },
            files,
            links: Vec::new(),
            inflow: Inflow::default(),
            map: ContentMap::new(),
            next_file: 0,
            arrived: RangeSet::new(),
            waiting: Waiting::default(),
            stream: None,
            has_top: false,
            judged: None,
            fsync: options.placing.fsync,
            written: 0,
        })
    }

    /// Takes the blocks of a batch, or parts of blocks: `segments` tells which segment holds which.
    ///
    /// # Errors [`DiskError`] when the peer misbehaves or the file system gives up; the transfer is
    /// over then.
    pub fn place(
        &mut self,
        batch: Batch,
        segments: &[(BlockAddr, u8)],
    ) -> Result<Placed, DiskError> {
        self.written = 0;
        let mut list_bytes = 0;
        let mut duplicates = 0;
        let mut contents = Fragments::new();
        for (addr, index) in segments {
            let bytes = payload(&batch, *index, addr.part, self.block_len)?;
            let start = addr.part.range(self.block_len).start as u64;
            let place = |block: u64| block * self.block_len as u64 + start;
            match addr.stream {
                Stream::Content if addr.block.0 == VOID => duplicates += 1,
                Stream::Content => contents.push(Fragment {
                    at: place(addr.block.0 & !TORN),
                    is_torn: addr.block.0 & TORN != 0,
                    bytes,
                }),
                Stream::List if self.inflow.take(place(addr.block.0), bytes) => {
                    list_bytes += bytes.len() as u64;
                }
                Stream::List => duplicates += 1,
            }
        }
        self.read_list()?;
        duplicates += self.place_contents(contents)?;
        self.files.finishing.hand_over();
        if self.has_all() {
            self.files.finishing.wait();
        }
        self.settle_finished()?;
        let waiting_bytes = self.waiting.bytes() + self.inflow.waiting_bytes();
        if waiting_bytes > WAITING_BYTES_MAX {
            return Err(DiskError::TooMuchWaiting);
        }
        Ok(Placed {
            written_bytes: self.written + list_bytes,
            content_bytes: self.written,
            duplicate_blocks: duplicates,
            waiting_bytes,
            complete: self.is_complete(),
        })
    }

    /// Whether the list has ended, every block it speaks of has been placed and every file it
    /// completed has been finished.
    pub fn is_complete(&self) -> bool {
        self.has_all() && self.files.finishing.is_idle()
    }

    fn has_all(&self) -> bool {
        self.total_bytes() == Some(self.arrived.len()) && self.waiting.is_empty()
    }

    /// What has been received so far.
    pub fn received(&self) -> &Received {
        &self.tree.ledger.received
    }

    /// What happened to a file, if events were asked for.
    pub fn poll_event(&mut self) -> Option<FileEvent> {
        self.tree.ledger.poll_event()
    }

    /// Makes the symbolic links, then gives the directories their modes and times. To be called
    /// once [complete](Self::is_complete); files that are not whole keep their partial names.
    ///
    /// # Errors
    /// [`DiskError::Storage`] when the file system gives up.
    pub fn finish(mut self) -> Result<Received, DiskError> {
        self.make_links()?;
        self.files.finishing.wait();
        self.settle_finished()?;
        let Tree {
            dirs,
            ledger,
            attributes,
        } = &mut self.tree;
        dirs.finish(attributes, &mut |path, why| ledger.failed(path, 0, why));
        if self.fsync != Fsync::Never {
            self.sync()?;
        }
        if self.tree.ledger.received.failed_count == 0 {
            self.files.end_journal();
        }
        Ok(self.tree.ledger.received)
    }

    /// Has everything of the destination's file system written back, names included.
    fn sync(&self) -> Result<(), DiskError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The held descriptor only names the directory.
        let top = openat(&**self.tree.dirs.top(), ".", flags, Mode::empty());
        top.and_then(syncfs).map_err(|errno| DiskError::Storage {
            path: self.landing.path.clone(),
            cause: errno.into(),
        })
    }

    /// Ends without finishing. Files that are whole stay; the others keep their partial names.
    pub fn abandon(self) {}

    /// How many bytes of content there are, the last block's padding included, once the list has
    /// ended.
    fn total_bytes(&self) -> Option<u64> {
        let bytes = self.inflow.content_bytes();
        let padded = bytes.checked_next_multiple_of(self.block_len as u64);
        // What is out of this world is refused when the list ends.
        self.inflow.is_ended().then_some(padded.unwrap_or(u64::MAX))
    }

    fn read_list(&mut self) -> Result<(), DiskError> {
        let mut grown = false;
        while let Some(entry) = self.inflow.next_entry()? {
            self.admit(entry)?;
            grown = true;
        }
        if !grown {
            return Ok(());
        }
        if self.map.extents() > EXTENTS_MAX {
            return Err(DiskError::TooManyUnfinished);
        }
        self.settle()
    }

    fn admit(&mut self, entry: Entry) -> Result<(), DiskError> {
        match entry {
            Entry::Dir { parent, name, meta } => {
                let name = self.local_name(parent, name, true)?;
                self.make_dir(parent, &name, &meta)
            }
            Entry::File {
                parent,
                name,
                meta,
                size,
                layout,
                digest: _,
            } => {
                let name = self.local_name(parent, name, false)?;
                let path = self.tree.dirs.path_number(parent, name.as_bytes());
                let listed = Listed {
                    name,
                    parent,
                    meta,
                    size,
                    path,
                };
                self.expect_file(listed, &layout)
            }
            Entry::Symlink {
                parent,
                name,
                meta,
                target,
            } => {
                let name = self.local_name(parent, name, false)?;
                if is_reserved(parent, &name) {
                    return self.tree.failed(parent, &name, 0, FailureKind::Reserved);
                }
                self.links.push(Link {
                    parent,
                    name,
                    meta,
                    target,
                });
                if self.links.len() >= LINKS_KEPT {
                    self.make_links()?;
                }
                Ok(())
            }
            Entry::Stream { parent, name, meta } => self.open_stream(parent, name, meta),
            Entry::Closed { size, meta } => self.close_stream(size, meta),
            Entry::Changed { file, why } => self.files.spoil(&mut self.tree, file, why),
            Entry::Torn { block } => self.announce_torn(block),
            Entry::Digest { .. } => Ok(()),
            Entry::Skipped { parent, name, why } => {
                let path = self.tree.dirs.path(parent, name.as_bytes());
                let ledger = &mut self.tree.ledger;
                if why.is_harmless() {
                    ledger.skipped(&path, FailureKind::Skipped(why));
                } else {
                    ledger.failed(path, 0, FailureKind::Skipped(why));
                }
                Ok(())
            }
            Entry::End { .. } => {
                self.check_end()?;
                self.pad_end();
                Ok(())
            }
        }
    }

    /// The name an entry gets here; at the top, whether it may come at all.
    fn local_name(&mut self, parent: DirId, name: Name, is_dir: bool) -> Result<Name, DiskError> {
        if parent != DirId::DESTINATION {
            return Ok(name);
        }
        if let Some(expected) = &self.expected
            && !expected.allows(&name)
        {
            let name = name.as_bytes().to_vec();
            return Err(DiskError::Unexpected { name });
        }
        let Some(rename) = &self.landing.rename else {
            return Ok(name);
        };
        if self.has_top || (self.landing.dir_only && !is_dir) {
            let path = self.landing.path.clone();
            return Err(DiskError::NotADirectory { path });
        }
        self.has_top = true;
        Ok(rename.clone())
    }

    fn make_dir(&mut self, parent: DirId, name: &Name, meta: &Meta) -> Result<(), DiskError> {
        let Tree {
            dirs, attributes, ..
        } = &mut self.tree;
        match dirs.create(parent, name, meta, attributes) {
            Ok(()) => self.tree.ledger.received.dirs += 1,
            Err(why) => self.tree.failed(parent, name, 0, why)?,
        }
        Ok(())
    }

    fn expect_file(&mut self, listed: Listed, layout: &Layout) -> Result<(), DiskError> {
        let content = layout.content_len(listed.size)?;
        let found = self.files.find(&mut self.tree, &listed);
        let reserved = is_reserved(listed.parent, &listed.name);
        if content == 0 {
            let parent = listed.parent;
            if reserved {
                return self
                    .tree
                    .failed(parent, &listed.name, 0, FailureKind::Reserved);
            }
            let what = match found {
                Found::Kept => return self.note_kept(),
                Found::Whole(stat) => What::There(listed, stat),
                _ => What::Hollow(listed),
            };
            return self.finish_later(parent, what);
        }
        let file = FileNo(self.next_file);
        self.next_file += 1;
        let start = self.map.end();
        for extent in layout.extents(listed.size) {
            self.map.push(file, extent.offset, extent.len)?;
        }
        match found {
            _ if reserved => {
                self.files.expect(file, listed, content)?;
                self.files.refuse(&mut self.tree, file)
            }
            Found::Nothing => self.files.expect(file, listed, content),
            Found::Whole(stat) => {
                self.note_had(start..self.map.end());
                self.finish_later(listed.parent, What::There(listed, stat))
            }
            Found::Kept => {
                self.note_had(start..self.map.end());
                self.note_kept()
            }
            Found::Part(partial, fd, written) => {
                let had = self.note_part(start, layout.extents(listed.size), &written);
                self.files.expect(file, listed, content)?;
                let found = (partial, fd, written);
                self.files.resume(&mut self.tree, file, found, had)
            }
        }
    }

    fn make_links(&mut self) -> Result<(), DiskError> {
        for link in std::mem::take(&mut self.links) {
            if self.files.keeps(&mut self.tree, &link) {
                self.note_kept()?;
                continue;
            }
            self.finish_later(link.parent, What::Link(link))?;
        }
        Ok(())
    }

    fn note_kept(&mut self) -> Result<(), DiskError> {
        self.tree.ledger.received.kept += 1;
        Ok(())
    }

    /// Has something made that needs no content, if there is a directory for it.
    fn finish_later(&mut self, parent: DirId, what: What) -> Result<(), DiskError> {
        match self.tree.dirs.open(parent) {
            Ok(dir) => {
                self.files.finishing.add(Job { dir, what });
                Ok(())
            }
            Err(why) => self.note_done(Done {
                what: what.into_finished(),
                outcome: Err(why),
            }),
        }
    }

    /// Takes to account what the finishing thread has done.
    fn settle_finished(&mut self) -> Result<(), DiskError> {
        for done in self.files.finishing.take_done() {
            self.note_done(done)?;
        }
        Ok(())
    }

    /// Counts what has been finished, or has failed to be.
    fn note_done(&mut self, Done { what, outcome }: Done) -> Result<(), DiskError> {
        let (dirs, ledger) = (&self.tree.dirs, &mut self.tree.ledger);
        match (what, outcome) {
            (Finished::File(file), Ok(stamp)) => {
                ledger.finished(file.size, || dirs.path(file.parent, file.name.as_bytes()));
                if let Some(stamp) = stamp {
                    self.files.note_done(&file, stamp);
                }
            }
            (Finished::There(file), Ok(_)) => {
                ledger.finished(file.size, || dirs.path(file.parent, file.name.as_bytes()));
                ledger.received.there_files += 1;
                ledger.received.there_bytes += file.size;
            }
            (Finished::Link(_), Ok(_)) => ledger.received.symlinks += 1,
            (Finished::File(file) | Finished::There(file), Err(why)) => {
                self.tree.failed(file.parent, &file.name, file.size, why)?;
            }
            (Finished::Link(link), Err(why)) => {
                self.tree.failed(link.parent, &link.name, 0, why)?;
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), DiskError> {
        let total = self.total_bytes().unwrap_or(0);
        if total.div_ceil(self.block_len as u64) > TORN {
            return Err(ListError::Overflow.into());
        }
        if self.waiting.last_at().is_some_and(|at| at >= total) {
            return Err(DiskError::BlockBeyondEnd);
        }
        Ok(())
    }
}

impl Tree {
    /// Counts a failure, or gives up when nothing else would fare better.
    fn failed(
        &mut self,
        parent: DirId,
        name: &Name,
        size: u64,
        why: FailureKind,
    ) -> Result<(), DiskError> {
        use std::os::unix::ffi::OsStringExt as _;
        let path = self.dirs.path(parent, name.as_bytes());
        if let FailureKind::Os(errno) = why
            && why.is_storage()
        {
            return Err(DiskError::Storage {
                path: PathBuf::from(std::ffi::OsString::from_vec(path)),
                cause: errno.into(),
            });
        }
        self.ledger.failed(path, size, why);
        Ok(())
    }
}

/// The block in a segment, or the part of one.
fn payload(batch: &Batch, index: u8, part: Part, block_len: usize) -> Result<&[u8], DiskError> {
    let segment = batch.segment(usize::from(index));
    let end = segment.len().saturating_sub(TAG_LEN);
    let len = part.range(block_len).len();
    match segment.get(HEADER_LEN + BLOCK_ADDR_LEN..end) {
        Some(bytes) if len > 0 && bytes.len() == part_len(block_len, part.count()) => {
            Ok(&bytes[..len])
        }
        other => Err(DiskError::BlockLength(other.map_or(0, <[u8]>::len))),
    }
}
