//! Proof of what was sent: each file is read once more behind the front of what has been asked for, on
//! a thread of its own, and what it comes to is listed.
//!
//! ```text
//!  content   ───────────────────┬─────────────────────┬───►
//!            read again, hashed │ sent, or there      │ not yet asked for
//!                                                   front
//! ```
//!
//! A file that came whole into one run of slots is hashed right there (fill.rs). Files of which nothing
//! was asked for are nobody's doubt, unless the account of all files is wanted.

use std::{collections::VecDeque, ops::Range, sync::PoisonError};

use haul_manifest::{ChangeKind, Entry, FileNo, Piece, RangeSet};
use smallvec::SmallVec;

use super::{Outgoing, State, files::Origin, reader::Reader};
use crate::{DigestOptions, Digests, FailureKind, FileEvent, digest::Digester};

/// Read at a time before it is looked whether there is more, or an end.
const STEP: u64 = 4 << 20;

/// What is to be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proofs {
    /// Whether anything is.
    pub wanted: bool,
    /// Whether files are that need not be sent, too, and each is told of by
    /// [`super::Outgoing::poll_event`].
    pub all: bool,
    /// Beside BLAKE3.
    pub digests: DigestOptions,
}

impl Proofs {
    /// Nothing is.
    pub const NONE: Self = Self {
        wanted: false,
        all: false,
        digests: DigestOptions { sha256: false },
    };
    /// What is sent is.
    pub const SENT: Self = Self {
        wanted: true,
        ..Self::NONE
    };
    /// All is, and it is told.
    pub const ALL: Self = Self {
        all: true,
        ..Self::SENT
    };
}

/// What has been proved, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct Proving {
    /// Content that has been asked for, or need not be.
    asked: RangeSet,
    /// Files of which something was asked for.
    begun: RangeSet,
    tasks: VecDeque<Task>,
    is_busy: bool,
    pub(super) events: VecDeque<FileEvent>,
}

/// A file to be read again.
#[derive(Debug)]
struct Task {
    file: FileNo,
    origin: Origin,
    size: u64,
    /// Where its content lies, from the first on that was asked for.
    pieces: SmallVec<[Piece; 1]>,
}

impl Task {
    /// How far the file may be read, now that content up to `front` has been asked for.
    fn allowed(&self, front: u64) -> u64 {
        let last = self.pieces.last();
        if last.is_none_or(|last| last.content.end <= front) {
            return self.size;
        }
        let begun = self.pieces.iter().rev();
        let mut begun = begun.filter(|piece| piece.content.start < front);
        begun.next().map_or(0, |piece| {
            piece.file_offset + front.min(piece.content.end) - piece.content.start
        })
    }
}

impl State {
    /// This content has been asked for, or has been delivered.
    pub(super) fn ask(&mut self, content: Range<u64>) {
        self.proving.asked.insert(content);
    }

    /// Whether anything of a file was asked for.
    pub(super) fn has_begun(&self, file: FileNo) -> bool {
        self.proving.begun.contains(file.0)
    }

    /// Something of a file of `size` bytes was asked for, which came to `digests` if that was all of it:
    /// it is to be proved, unless it has been.
    pub(super) fn begin_proof(&mut self, piece: &Piece, size: u64, digests: Option<Digests>) {
        let file = piece.file;
        if self.proving.begun.insert(file.0..file.0 + 1) == 0 {
            return;
        }
        match digests {
            Some(digests) => self.proved(file, digests),
            None => self.prove(file, size, piece.content.start),
        }
    }

    /// A file of `size` bytes has been listed, whose content begins here: if all are to be proved, it
    /// is.
    pub(super) fn prove_listed(&mut self, file: FileNo, size: u64, content: u64, wanted: Proofs) {
        if wanted.all {
            self.proving.begun.insert(file.0..file.0 + 1);
            self.prove(file, size, content);
        }
    }

    /// Has a file read again whose content begins, as far as it was asked for, at `from`.
    fn prove(&mut self, file: FileNo, size: u64, from: u64) {
        let pieces = self.listing.map().pieces(from..u64::MAX);
        let pieces = pieces.take_while(|piece| piece.file == file).collect();
        if let Some(origin) = self.files.get(file) {
            self.proving.tasks.push_back(Task {
                file,
                origin,
                size,
                pieces,
            });
        }
    }

    fn proved(&mut self, file: FileNo, digests: Digests) {
        self.listing.push(&Entry::Digest {
            file,
            digest: digests.blake3,
        });
    }

    /// Whether everything that was to be proved has been: then nothing more comes to be listed.
    pub(super) fn settle_proof(&mut self) {
        let front = self.proof_front();
        let end = self.listing.map().end();
        let is_proved = self.totals.scanned
            && front >= end
            && self.proving.tasks.is_empty()
            && !self.proving.is_busy;
        if is_proved {
            self.listing.set_proved();
            self.listing.pad();
        }
    }

    /// Tells what a file came to.
    pub(super) fn tell(&mut self, path: Vec<u8>, size: u64, digests: Digests) {
        self.proving.events.push_back(FileEvent {
            path,
            size,
            outcome: Ok(()),
            digests: Some(digests),
        });
    }

    /// Everything below has been asked for, or need not be.
    fn proof_front(&self) -> u64 {
        self.proving.asked.first_gap()
    }
}

impl Outgoing {
    /// Reads files again and lists what they come to, until there is nothing more to be proved or the
    /// end has come early.
    pub(super) fn prove_all(&self) {
        let mut reader = Reader::new(self.wanted.follows());
        while let Some(task) = self.next_task() {
            let mut digester = Digester::new(self.proofs.digests);
            let mut buffer = Vec::new();
            let outcome = loop {
                let Some(allowed) = self.await_front(&task, digester.len()) else {
                    return;
                };
                let route = |place, dirs: &mut _| self.lock().places.route(place, dirs);
                let (file, origin) = (task.file, &task.origin);
                let end = allowed.min(digester.len() + STEP);
                let read = reader.digest(file, origin, &mut digester, end, &mut buffer, &route);
                if read.is_err() || end == task.size {
                    break read;
                }
            };
            self.conclude(&task, outcome.map(|()| digester.finish()));
        }
    }

    fn next_task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.proving.tasks.pop_front() {
                state.proving.is_busy = true;
                return Some(task);
            }
            state.settle_proof();
            if state.listing.is_proved() {
                self.freed.notify_all();
                return None;
            }
            state = self
                .moved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How far a file may be read once that is more than has been; `None` when it is not wanted any more.
    fn await_front(&self, task: &Task, read: u64) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let allowed = task.allowed(state.proof_front());
            if allowed > read || allowed == task.size {
                return Some(allowed);
            }
            state = self
                .moved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn conclude(&self, task: &Task, outcome: Result<Digests, ChangeKind>) {
        let mut state = self.lock();
        state.proving.is_busy = false;
        let file = task.file;
        match outcome {
            _ if state.damage.is_spoiled(file) => {}
            Ok(digests) => {
                state.proved(file, digests);
                if self.proofs.all {
                    let Origin { place, name, .. } = &task.origin;
                    let path = state.places.listed(*place, name);
                    state.tell(path, task.size, digests);
                }
            }
            Err(why) => {
                state.damage.spoil(file);
                state.listing.push(&Entry::Changed { file, why });
                let path = state.places.path(task.origin.place, &task.origin.name);
                state.fail(path, FailureKind::Changed(why));
            }
        }
        state.settle_proof();
        self.freed.notify_all();
    }
}
