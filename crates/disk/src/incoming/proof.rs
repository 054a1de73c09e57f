//! Proof of what has been received: files are read back behind the front of what has been written, on a
//! thread of its own, and must come to what the sender says that they come to.
//!
//! ```text
//!  content   ────────────────┬──────────────────────┬─────────►
//!            read back       │ written              │ gaps, not arrived
//!                                                  front
//! ```
//!
//! A file that is written under a partial name gets its own only then. A small one that has none until it
//! is whole gets it at once, and loses it again if it turns out to be another.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
};

use haul_manifest::{ChangeKind, Digest, FileNo, Piece, RangeSet};
use rustix::io::Errno;
use smallvec::SmallVec;

use super::{
    Incoming, Tree,
    files::{Files, Listed},
    published::Stamp,
    worker::Worker,
};
use crate::{DigestOptions, Digests, DiskError, FailureKind, digest::Digester};

/// Steps that may wait for the thread: each holds a descriptor, and what it reads back is still in memory.
const STEPS_MAX: usize = 64;

/// Read a file back from where it was left to `end`.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) file: FileNo,
    pub(super) fd: Arc<OwnedFd>,
    pub(super) end: u64,
    /// Whether that is all of it.
    pub(super) is_last: bool,
}

type Outcome = Result<Digests, Errno>;

/// The thread that reads back. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Prover {
    steps: Option<SyncSender<Step>>,
    done: Receiver<(FileNo, Outcome)>,
    thread: Worker<()>,
    /// Files whose last step has been handed over and whose digests have not come.
    outstanding: usize,
}

impl Prover {
    pub(super) fn start(digests: DigestOptions) -> io::Result<Self> {
        let (steps, steps_in) = sync_channel::<Step>(STEPS_MAX);
        let (done_out, done) = channel();
        let thread = Worker::start("haul-prove", move || {
            let mut current: Option<(FileNo, Result<Digester, Errno>)> = None;
            let mut buffer = Vec::new();
            for step in steps_in {
                let kept = current.take().filter(|(file, _)| *file == step.file);
                let begun = kept.map_or_else(|| Ok(Digester::new(digests)), |(_, begun)| begun);
                let read = begun.and_then(|mut digester| {
                    digester.read_up_to(&*step.fd, step.end, &mut buffer)?;
                    Ok(digester)
                });
                if step.is_last {
                    // Whoever has given up wants to know nothing.
                    let _ = done_out.send((step.file, read.map(Digester::finish)));
                } else {
                    current = Some((step.file, read));
                }
            }
        })?;
        Ok(Self {
            steps: Some(steps),
            done,
            thread,
            outstanding: 0,
        })
    }

    /// Has more of a file read back; files one after the other.
    pub(super) fn step(&mut self, step: Step) {
        self.outstanding += usize::from(step.is_last);
        if let Some(steps) = &self.steps {
            // A thread that has gone has panicked: that is told where its results are awaited.
            let _ = steps.send(step);
        }
    }

    /// What a file has come to, as far as is known without waiting, or with.
    pub(super) fn take_done(&mut self, waits: bool) -> Option<(FileNo, Outcome)> {
        if waits && self.outstanding > 0 {
            match self.done.recv() {
                Ok(done) => return Some(self.note(done)),
                Err(_) => self.end(),
            }
        }
        self.done.try_recv().ok().map(|done| self.note(done))
    }

    fn note(&mut self, done: (FileNo, Outcome)) -> (FileNo, Outcome) {
        self.outstanding = self.outstanding.saturating_sub(1);
        done
    }

    fn end(&mut self) {
        self.steps = None;
        self.outstanding = 0;
        self.thread.join();
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is known of a file's digests; whoever comes last compares.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    told: Option<Digest>,
    own: Option<Outcome>,
    /// The sender has found out that there is nothing to compare with.
    withdrawn: Option<ChangeKind>,
}

impl Evidence {
    pub(super) fn tell(&mut self, digest: Digest) {
        self.told = Some(digest);
    }

    pub(super) fn find(&mut self, outcome: Outcome) {
        self.own = Some(outcome);
    }

    pub(super) fn withdraw(&mut self, why: ChangeKind) {
        self.withdrawn = Some(why);
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some() || self.withdrawn.is_some()
    }

    /// Whether the two agree, once both are known; what the file comes to.
    pub(super) fn verdict(&self) -> Option<Result<Digests, FailureKind>> {
        if let Some(why) = self.withdrawn {
            return Some(Err(FailureKind::Changed(why)));
        }
        let (told, own) = (self.told?, self.own?);
        Some(match own {
            Ok(own) if own.blake3 == told => Ok(own),
            // It has become shorter since it was written.
            Ok(_) | Err(Errno::NODATA) => Err(FailureKind::Corrupt),
            Err(errno) => Err(errno.into()),
        })
    }
}

/// A small file that has its name already.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    pub(super) evidence: Evidence,
    /// The file, once it has its name.
    pub(super) named: Option<(Listed, Stamp)>,
}

/// All that is known of the proof of what is received.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) prover: Prover,
    /// Everything below has been handed to the prover.
    pub(super) front: u64,
    /// Small files that have, or get, their names.
    pub(super) awaiting: HashMap<FileNo, Awaiting>,
    /// Files of which the sender has said what they come to, if it is to say so of all.
    told: Option<RangeSet>,
}

impl Proof {
    pub(super) fn start(digests: DigestOptions, is_awaited: bool) -> io::Result<Self> {
        Ok(Self {
            prover: Prover::start(digests)?,
            front: 0,
            awaiting: HashMap::new(),
            told: is_awaited.then(RangeSet::new),
        })
    }

    /// Whether all is known of so many files that was to be waited for.
    pub(super) fn is_settled(&self, files: u64) -> bool {
        let all_told = |told: &RangeSet| told.len() == files;
        self.awaiting.is_empty() && self.told.as_ref().is_none_or(all_told)
    }

    fn note_told(&mut self, file: FileNo) {
        if let Some(told) = &mut self.told {
            told.insert(file.0..file.0 + 1);
        }
    }

    /// A small file that is whole goes to get its name.
    pub(super) fn await_name(&mut self, file: FileNo, evidence: Evidence) {
        let named = None;
        self.awaiting.insert(file, Awaiting { evidence, named });
    }
}

impl Files {
    /// The sender says what a file comes to.
    pub(super) fn tell(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        digest: Digest,
    ) -> Result<(), DiskError> {
        let Some(proof) = &mut self.proof else {
            return Ok(());
        };
        proof.note_told(file);
        if let Some(awaiting) = proof.awaiting.get_mut(&file) {
            awaiting.evidence.tell(digest);
            return self.conclude_named(tree, file);
        }
        if let Some(evidence) = self.evidence(file) {
            evidence.tell(digest);
        }
        self.conclude(tree, file)
    }

    /// The sender says that there is nothing to compare a file with.
    pub(super) fn withdraw(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        why: ChangeKind,
    ) -> Result<(), DiskError> {
        let Some(proof) = &mut self.proof else {
            return Ok(());
        };
        proof.note_told(file);
        if let Some(awaiting) = proof.awaiting.get_mut(&file) {
            awaiting.evidence.withdraw(why);
            return self.conclude_named(tree, file);
        }
        Ok(())
    }

    /// Has read back what has been written of the piece's file up to the piece's end.
    pub(super) fn read_back(
        &mut self,
        tree: &mut Tree,
        piece: &Piece,
        is_last: bool,
    ) -> Result<(), DiskError> {
        let file = piece.file;
        let Some(size) = self.size_while_writing(file) else {
            return Ok(());
        };
        let fd = match self.opened(tree, file) {
            Ok(fd) => Arc::clone(fd),
            Err(why) => return self.fail(tree, file, why),
        };
        let end = piece.file_offset + piece.len();
        let step = Step {
            file,
            fd,
            end: if is_last { size } else { end },
            is_last,
        };
        if let Some(proof) = &mut self.proof {
            proof.prover.step(step);
        }
        Ok(())
    }

    /// Takes in what has been read back; waits for all of it if everything else has been done.
    pub(super) fn settle_proof(&mut self, tree: &mut Tree, is_all: bool) -> Result<(), DiskError> {
        let waits = is_all && self.is_told();
        while let Some((file, outcome)) = self
            .proof
            .as_mut()
            .and_then(|proof| proof.prover.take_done(waits))
        {
            if let Some(evidence) = self.evidence(file) {
                evidence.find(outcome);
            }
            self.conclude(tree, file)?;
        }
        Ok(())
    }

    /// A small file has its name.
    pub(super) fn named(
        &mut self,
        tree: &mut Tree,
        listed: Listed,
        stamp: Stamp,
        outcome: Outcome,
    ) -> Result<(), DiskError> {
        let awaiting = self.proof.as_mut().map(|proof| &mut proof.awaiting);
        let Some(file) = listed.file else {
            return Ok(());
        };
        if let Some(awaiting) = awaiting.and_then(|awaiting| awaiting.get_mut(&file)) {
            awaiting.evidence.find(outcome);
            awaiting.named = Some((listed, stamp));
        }
        self.conclude_named(tree, file)
    }

    /// A small file could not be named.
    pub(super) fn unnamed(&mut self, listed: &Listed) {
        if let (Some(proof), Some(file)) = (&mut self.proof, listed.file) {
            proof.awaiting.remove(&file);
        }
    }

    /// Keeps a small file, or takes its name away again, once both sides have said what it comes to.
    fn conclude_named(&mut self, tree: &mut Tree, file: FileNo) -> Result<(), DiskError> {
        let Some(proof) = &mut self.proof else {
            return Ok(());
        };
        let Some(verdict) = proof
            .awaiting
            .get(&file)
            .filter(|awaiting| awaiting.named.is_some())
            .and_then(|awaiting| awaiting.evidence.verdict())
        else {
            return Ok(());
        };
        let Some((listed, stamp)) = proof.awaiting.remove(&file).and_then(|one| one.named) else {
            return Ok(());
        };
        match verdict {
            Ok(digests) => {
                tree.finished(&listed, Some(digests));
                self.note_done(&listed, stamp);
                Ok(())
            }
            Err(why) => {
                if let Ok(dir) = tree.dirs.open(listed.parent) {
                    stamp.file.remove(&dir, listed.name.as_bytes());
                }
                tree.file_failed(&listed, why)
            }
        }
    }
}

impl Incoming {
    /// Has read back what has been written without a gap since the last call.
    pub(super) fn advance_proof(&mut self) -> Result<(), DiskError> {
        let Some(front) = self.files.proof.as_ref().map(|proof| proof.front) else {
            return Ok(());
        };
        let floor = self.arrived.first_gap().min(self.map.end());
        if floor <= front {
            return Ok(());
        }
        let pieces: SmallVec<[Piece; 4]> = self.map.pieces(front..floor).collect();
        for piece in pieces {
            let end = piece.content.end;
            let next = self.map.pieces(end..end + 1).next();
            let is_last = next.is_none_or(|next| next.file != piece.file);
            self.files.read_back(&mut self.tree, &piece, is_last)?;
        }
        if let Some(proof) = &mut self.files.proof {
            proof.front = floor;
        }
        Ok(())
    }
}
