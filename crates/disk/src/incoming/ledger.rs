use std::collections::VecDeque;

use haul_manifest::Shown;
use haul_wire::control::{Act, Change};

use super::sweep::Undeleted;
use crate::{
    Digests, FAILURES_KEPT, FailureKind, FileFailure, Unkept,
    unkept::{Attribute, KeepError, Tally},
};

/// What has been received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Files that are whole and have their final name.
    pub files: u64,
    /// Directories made or found.
    pub dirs: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Bytes of those files, holes included.
    pub bytes: u64,
    /// Files among those that were there before.
    pub there_files: u64,
    /// Bytes among those that were there before, parts of files included.
    pub there_bytes: u64,
    /// Files and links not among those, in whose place another was left as it is.
    pub kept: u64,
    /// Names that the sender does not have and that were removed, as was asked for.
    pub deleted: u64,
    /// Why none was removed although that was asked for.
    pub undeleted: Option<Undeleted>,
    /// Special files that the sender left out.
    pub skipped: u64,
    /// Files, directories and links that failed, here or at the sender.
    pub failed_count: u64,
    /// Those of them that are not what was sent.
    pub corrupt: u64,
    /// The first [`FAILURES_KEPT`] of them, and of what was left out.
    pub failed: Vec<FileFailure>,
    /// What could not be kept beside contents, each kind once.
    pub unkept: Vec<Unkept>,
}

/// Something to tell about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvent {
    /// Path below the destination.
    pub path: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is there now.
    pub outcome: Result<(), FailureKind>,
    /// What it comes to, if that was asked for.
    pub digests: Option<Digests>,
}

impl std::fmt::Display for FileEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.outcome {
            Ok(()) => write!(f, "{}", Shown(&self.path)),
            Err(why) => write!(f, "{}: {why}", Shown(&self.path)),
        }
    }
}

/// Keeps the account, and events if anybody wants them.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) received: Received,
    events: Option<VecDeque<FileEvent>>,
    unkept: Tally,
    changes: VecDeque<Change>,
}

impl Ledger {
    pub(super) fn new(file_events: bool) -> Self {
        Self {
            received: Received::default(),
            events: file_events.then(VecDeque::new),
            unkept: Tally::default(),
            changes: VecDeque::new(),
        }
    }

    /// Something is there without this.
    pub(super) fn missed(&mut self, miss: (Attribute, KeepError), path: impl FnOnce() -> Vec<u8>) {
        self.unkept.note(miss, path);
    }

    /// The account, now that it is complete.
    pub(super) fn close(self) -> Received {
        Received {
            unkept: self.unkept.into_all(),
            ..self.received
        }
    }

    /// A file of this size has its name, and comes to this if that was asked for.
    pub(super) fn finished(
        &mut self,
        size: u64,
        digests: Option<Digests>,
        path: impl FnOnce() -> Vec<u8>,
    ) {
        self.received.files += 1;
        self.received.bytes = self.received.bytes.saturating_add(size);
        if let Some(events) = &mut self.events {
            let path = path();
            let outcome = Ok(());
            events.push_back(FileEvent {
                path,
                size,
                outcome,
                digests,
            });
        }
    }

    pub(super) fn failed(&mut self, path: Vec<u8>, size: u64, why: FailureKind) {
        self.received.failed_count += 1;
        self.received.corrupt += u64::from(why == FailureKind::Corrupt);
        self.note(&path, why);
        if let Some(events) = &mut self.events {
            let outcome = Err(why);
            events.push_back(FileEvent {
                path,
                size,
                outcome,
                digests: None,
            });
        }
    }

    /// The list does not tell of so many names that the sender has.
    pub(super) fn unlisted(&mut self, count: u64) {
        if count > 0 {
            self.failed(b".".to_vec(), 0, FailureKind::Unlisted);
            self.received.failed_count = self.received.failed_count.saturating_add(count - 1);
        }
    }

    pub(super) fn skipped(&mut self, path: &[u8], why: FailureKind) {
        self.received.skipped += 1;
        self.note(path, why);
    }

    /// Something became, or would become, of a name; told only where events are.
    pub(super) fn changed(&mut self, act: Act, path: &[u8]) {
        if self.events.is_some() {
            let path = path.to_vec().into();
            self.changes.push_back(Change { act, path });
        }
    }

    pub(super) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<FileEvent> {
        self.events.as_mut()?.pop_front()
    }

    fn note(&mut self, path: &[u8], why: FailureKind) {
        if self.received.failed.len() < FAILURES_KEPT {
            let path = path.to_vec();
            self.received.failed.push(FileFailure { path, why });
        }
    }
}
