//! The receiving half, called by one thread. A block's way:
//!
//! ```text
//!  place() ─ list block ──► inflow.rs   in order → entries → dirs.rs, files.rs, links.rs
//!          └ content block ► content.rs  listed? → pieces → files.rs → pwritev → partial.rs
//!                                └ not yet: waiting.rs, until its entry arrives
//! ```
//!
//! What is whole is handed to a second thread, which finishes it: finishing.rs. Where it is to be proved, a
//! third one reads it back before: proof.rs.

mod attributes;
mod content;
mod dirs;
mod discard;
mod entries;
mod files;
mod finishing;
mod hardlinks;
mod inflow;
mod journal;
mod judge;
mod ledger;
mod links;
mod nameless;
mod naming;
mod options;
mod outlet;
mod partial;
mod proof;
mod published;
mod rehearsal;
mod resume;
mod stream;
mod sweep;
mod tree;
mod waiting;
mod worker;

use std::sync::Arc;

use haul_batch::Batch;
use haul_manifest::{ContentMap, DirId, Extra, ListError, RangeSet, TORN, VOID};
use haul_wire::control::{Change, Fsync, Resume};
use haul_wire::{BlockAddr, Stream};
use rustix::{
    fs::{Mode, OFlags, openat, syncfs},
    io::Errno,
};

use self::{
    attributes::Attributes,
    content::{Fragment, Fragments, payload},
    dirs::Dirs,
    files::Files,
    finishing::{Done, Finished, Finishing, Job, What},
    hardlinks::{HardLink, HardLinks},
    inflow::Inflow,
    journal::Journal,
    ledger::Ledger,
    links::Link,
    naming::Naming,
    proof::Proof,
    stream::Open,
    sweep::Sweep,
    tree::Tree,
    waiting::Waiting,
};
pub use self::{
    discard::Discard,
    ledger::{FileEvent, Received},
    options::ReceiveOptions,
    outlet::Outlet,
    resume::has_leftovers,
    sweep::{LeftOut, Undeleted},
};
use crate::{Bounds, Digests, DiskError, Expected, Landing, Root, WAITING_BYTES_MAX};

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
    hard_links: HardLinks,
    /// What the next entry has beside what it says itself.
    extra: Option<Box<Extra>>,
    inflow: Inflow,
    map: ContentMap,
    next_file: u64,
    /// Bytes of content that have been placed, the padding of the last block included.
    arrived: RangeSet,
    waiting: Waiting,
    /// The file of unknown size that is being received.
    stream: Option<Open>,
    /// What of the list may still come.
    bounds: Bounds,
    /// Whether something has come to the top already.
    has_top: bool,
    /// Blocks of content of which has been told whether they are there, if anything of that is told.
    judged: Option<u64>,
    fsync: Fsync,
    /// What is to be removed in the end, if anything is.
    sweep: Option<Sweep>,
    is_winding_up: bool,
    /// Whether nothing is to be changed.
    is_rehearsal: bool,
    /// Block bytes taken care of in this call.
    written: u64,
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
        let is_rehearsal = options.placing.dry_run;
        let dirs = if is_rehearsal {
            Dirs::rehearsing(root, landing.is_missing)
        } else {
            Dirs::new(root)
        };
        let mut dirs = dirs.map_err(|errno| failed(errno.into()))?;
        dirs.bounds = options.bounds.clone();
        let look = match (is_rehearsal, landing.is_missing) {
            (false, _) => Journal::open,
            (true, false) => Journal::peek,
            (true, true) => Journal::none,
        };
        let is_used = options.resume != Resume::Never;
        let journal = look(Arc::clone(dirs.top()), is_used, journal::boot_id());
        let naming = Naming::new(&options.placing);
        let finishing = finishing::Options {
            attributes: attributes.clone(),
            syncs: options.placing.fsync == Fsync::Each,
            proofs: options.proofs,
            naming: naming.clone(),
        };
        let finishing = Finishing::start(finishing).map_err(failed)?;
        let is_proved = options.proofs.wanted && !is_rehearsal;
        let proof = is_proved.then(|| Proof::start(options.proofs.digests, options.awaits_proofs));
        let proof = proof.transpose().map_err(failed)?;
        let placing = (options.placing.overwrite, options.placing.fsync);
        let files = Files::new(finishing, placing, options.resume, proof, journal);
        let sweep = Sweep::new(options.left_out, naming.clone(), &landing, is_rehearsal);
        let mut this = Self {
            block_len,
            landing,
            expected: options.expected,
            tree: Tree {
                dirs,
                ledger: Ledger::new(options.file_events),
                attributes,
                naming,
            },
            files,
            links: Vec::new(),
            hard_links: HardLinks::default(),
            extra: None,
            inflow: Inflow::default(),
            map: ContentMap::new(),
            next_file: 0,
            arrived: RangeSet::new(),
            waiting: Waiting::default(),
            stream: None,
            bounds: options.bounds,
            has_top: false,
            judged: None,
            fsync: options.placing.fsync,
            sweep: options.placing.delete.then_some(sweep),
            is_winding_up: false,
            is_rehearsal,
            written: 0,
        };
        this.rehearse_top();
        Ok(this)
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
        let is_all = self.has_all();
        self.files.settle_proof(&mut self.tree, is_all)?;
        self.files.finishing.hand_over();
        if is_all {
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
        self.has_all() && self.files.finishing.is_idle() && self.files.is_proved(self.next_file)
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

    /// What became of a name that is no file that arrived, if events were asked for.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.tree.ledger.poll_change()
    }

    /// [Winds up](Self::wind_up), then gives the directories their attributes. To be called
    /// once [complete](Self::is_complete); files that are not whole keep their partial names.
    ///
    /// # Errors
    /// [`DiskError::Storage`] when the file system gives up.
    pub fn finish(mut self) -> Result<Received, DiskError> {
        while self.wind_up()? {}
        if self.is_rehearsal {
            return Ok(self.tree.ledger.close());
        }
        let Tree {
            dirs,
            ledger,
            attributes,
            ..
        } = &mut self.tree;
        dirs.finish(attributes, ledger);
        if self.fsync != Fsync::Never {
            self.sync()?;
        }
        if self.tree.ledger.received.failed_count == 0 {
            self.files.end_journal();
        } else if self.fsync == Fsync::End && self.tree.dirs.are_of_one_file_system() {
            self.files.hold_journal();
        }
        Ok(self.tree.ledger.close())
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

    fn total_bytes(&self) -> Option<u64> {
        self.inflow.total_bytes(self.block_len)
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

    fn make_links(&mut self) -> Result<(), DiskError> {
        for link in std::mem::take(&mut self.links) {
            let place = (link.parent, &link.name);
            if let Some(stat) = self.files.keeps(&mut self.tree, place, &link.meta, None) {
                self.note_kept(&stat);
                continue;
            }
            self.finish_later(link.parent, What::Link(link))?;
        }
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
                digests: None,
                misses: Vec::new(),
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
    fn note_done(&mut self, done: Done) -> Result<(), DiskError> {
        let Done {
            what,
            outcome,
            digests,
            misses,
        } = done;
        for miss in misses {
            let (parent, name) = what.place();
            let dirs = &self.tree.dirs;
            let path = || dirs.path(parent, name.as_bytes());
            self.tree.ledger.missed(miss, path);
        }
        if let Ok(Some(stamp)) = outcome
            && let Some(number) = what.link()
        {
            self.hard_links.stands(number, stamp);
        }
        match (what, outcome) {
            (Finished::File(file), Ok(Some(stamp)))
                if self.files.proof.is_some() && file.proved.is_none() && file.file.is_some() =>
            {
                let outcome = digests.unwrap_or(Err(Errno::NODATA));
                self.files.named(&mut self.tree, file, stamp, outcome)?;
            }
            (Finished::File(file), Ok(stamp)) => {
                let proved = file.proved.as_deref().copied();
                self.tree.finished(&file, proved.or_else(|| known(digests)));
                if let Some(stamp) = stamp {
                    self.files.note_done(&file, stamp);
                }
            }
            (Finished::There(file), Ok(_)) => {
                self.tree.finished(&file, known(digests));
                let received = &mut self.tree.ledger.received;
                received.there_files += 1;
                received.there_bytes += file.size;
            }
            (Finished::Link(_), Ok(_)) => self.tree.ledger.received.symlinks += 1,
            (Finished::HardLink(link), Ok(_)) => {
                let (dirs, ledger) = (&self.tree.dirs, &mut self.tree.ledger);
                ledger.finished(0, None, || dirs.path(link.parent, link.name.as_bytes()));
                ledger.received.there_files += u64::from(link.was_there);
            }
            (Finished::File(file) | Finished::There(file), Err(why)) => {
                self.files.unnamed(&file);
                self.files.note_undone(&file);
                self.tree.file_failed(&file, why)?;
            }
            (Finished::Link(Link { parent, name, .. }), Err(why))
            | (Finished::HardLink(HardLink { parent, name, .. }), Err(why)) => {
                self.tree.failed(parent, &name, 0, why)?;
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

/// What was read, if it could be.
fn known(digests: Option<Result<Digests, Errno>>) -> Option<Digests> {
    digests.and_then(Result::ok)
}
