//! The sending half. Three threads share one [`Outgoing`]:
//!
//! ```text
//!  scan thread    scan()     walks the sources, lists entries, maps contents (scan.rs)
//!   └ its helper             reads again what was sent, lists digests        (proof.rs)
//!  read stage     fill()     blocks of list and contents into batches        (fill.rs, reader.rs)
//!  driver         release()  what has been delivered is forgotten, the scan goes on
//! ```

mod cleaning;
mod damage;
mod extras;
mod files;
mod fill;
mod follow;
mod holes;
mod level;
mod listing;
mod places;
mod proof;
mod protect;
mod reader;
mod scan;
mod selection;
mod sent;
mod single;
mod spool;
mod synthetic;
mod wanted;

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use haul_manifest::FileNo;
use haul_wire::{BlockNo, Stream};

pub use self::{
    cleaning::Cleaned,
    proof::Proofs,
    protect::Protection,
    selection::{PatternError, Selection},
    single::{Portion, Single},
    synthetic::{Synthetic, Until},
    wanted::{CleanUp, ScanOptions, Target, Wanted},
};
use self::{
    damage::Damage, files::Files, listing::Listing, places::Places, proof::Proving,
    protect::Sealers, reader::Reader, sent::Sent,
};
use crate::{
    DiskError, FAILURES_KEPT, FailureKind, FileEvent, FileFailure, Unkept, source, unkept::Tally,
};

/// Most bytes of list that the scan runs ahead of delivery.
const LIST_AHEAD_BYTES: usize = 16 << 20;
/// Most extents of files that the scan runs ahead of delivery. About 80 bytes each here, and twice
/// that at the receiver.
const EXTENTS_AHEAD: usize = 1 << 18;

/// How much may be sent. Every field only grows: of two, the larger of each is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Available {
    /// Blocks `0..list_blocks` of the list.
    pub list_blocks: u64,
    /// Blocks `0..content_blocks` of the contents.
    pub content_blocks: u64,
    /// No further content will follow. The list may still grow by a few blocks: when a file turns
    /// out to have changed, [`Outgoing::fill`] lists that.
    pub complete: bool,
}

/// What the scan has found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Bytes that have to be sent.
    pub content_bytes: u64,
    /// Files, directories and links that were found and left out, as was asked for; what is in a
    /// directory that is left out is not looked for.
    pub left_out: u64,
    /// FIFOs, sockets, devices, and links that lead in a circle, which are not sent.
    pub skipped: u64,
    /// Files and directories that cannot be sent.
    pub failed: u64,
    /// Whether the scan has ended.
    pub scanned: bool,
}

/// What is being sent: the sources, scanned, listed and read.
#[derive(Debug)]
pub struct Outgoing {
    block_len: usize,
    wanted: Wanted,
    state: Mutex<State>,
    proofs: Proofs,
    /// Signalled when the scan may go on.
    freed: Condvar,
    /// Signalled when the proof may.
    moved: Condvar,
    reader: Mutex<Reader>,
}

#[derive(Debug)]
struct State {
    listing: Listing,
    places: Places,
    files: Files,
    damage: Damage,
    sealers: Sealers,
    proving: Proving,
    totals: Totals,
    /// What was listed, where it is to be cleaned up.
    sent: Option<Sent>,
    failures: Vec<FileFailure>,
    unkept: Tally,
    stopped: bool,
}

impl Outgoing {
    /// Prepares to send what is wanted in blocks of `block_len` bytes. Nothing is opened yet.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(block_len: usize, wanted: Wanted) -> Arc<Self> {
        let follows = wanted.follows();
        // They are of the sources: listed, they would tell what protected contents are.
        let proofs = match wanted.protection {
            Some(_) => Proofs::NONE,
            None => wanted.options.proofs,
        };
        let sent = wanted.clean_up.as_ref().map(|_| Sent::default());
        Arc::new(Self {
            block_len,
            wanted,
            state: Mutex::new(State {
                listing: Listing::new(block_len, !proofs.wanted),
                places: Places::default(),
                files: Files::default(),
                damage: Damage::default(),
                sealers: Sealers::default(),
                proving: Proving::default(),
                totals: Totals::default(),
                sent,
                failures: Vec::new(),
                unkept: Tally::default(),
                stopped: false,
            }),
            proofs,
            freed: Condvar::new(),
            moved: Condvar::new(),
            reader: Mutex::new(Reader::new(follows)),
        })
    }

    /// What is wrong with the sources themselves, each with its index. To be asked before anything
    /// is sent.
    pub fn check_sources(&self) -> Vec<(usize, DiskError)> {
        let checks = self.wanted.sources.iter().enumerate();
        checks
            .filter_map(|(index, path)| {
                let error = source::check(path, self.wanted.options.recursive).err()?;
                Some((index, error))
            })
            .collect()
    }

    /// The blocks of `stream` below `floor` have been delivered: they are forgotten. Returns what
    /// may be sent now, when that is more than before.
    pub fn release(&self, stream: Stream, floor: BlockNo) -> Option<Available> {
        let mut state = self.lock();
        let before = state.listing.available();
        match stream {
            Stream::List => state.listing.release_list(floor.0),
            Stream::Content => {
                let file = state.listing.release_content(floor.0);
                if self.proofs.wanted {
                    let delivered = floor.0.saturating_mul(self.block_len as u64);
                    state.ask(0..delivered);
                }
                state.files.release(file);
                state.damage.release(file, floor.0);
                state.sealers.release(file);
            }
        }
        state.listing.pad_if_idle();
        self.freed.notify_all();
        self.moved.notify_all();
        let available = state.listing.available();
        (available != before).then_some(available)
    }

    /// What a file came to, if each is to be told of.
    pub fn poll_event(&self) -> Option<FileEvent> {
        self.lock().proving.events.pop_front()
    }

    /// What has been found so far.
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// The first [`FAILURES_KEPT`] files that cannot be sent, and special files that are not.
    pub fn failures(&self) -> Vec<FileFailure> {
        self.lock().failures.clone()
    }

    /// What of the files that are sent could not be read, each kind once.
    pub fn unkept(&self) -> Vec<Unkept> {
        self.lock().unkept.all().to_vec()
    }

    /// Ends the scan early.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.freed.notify_all();
        self.moved.notify_all();
    }

    /// Every change of the state is made whole under the lock, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a file that is not sent, and remembers it while there is room.
    fn fail(&mut self, path: PathBuf, why: FailureKind) {
        use std::os::unix::ffi::OsStringExt as _;
        if why.is_harmless() {
            self.totals.skipped += 1;
        } else {
            self.totals.failed += 1;
        }
        if self.failures.len() < FAILURES_KEPT {
            let path = path.into_os_string().into_vec();
            self.failures.push(FileFailure { path, why });
        }
    }

    /// The path of a file that was listed.
    fn path(&self, file: FileNo) -> Option<PathBuf> {
        let origin = self.files.get(file)?;
        Some(self.places.path(origin.place, &origin.name))
    }
}
