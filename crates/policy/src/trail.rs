//! The audit trail: a line of JSON for every session and every refusal.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use haul_log::Lines;
use haul_transfer::escaped;
use jiff::Timestamp;
use serde::Serialize;

/// A file of the trail is no longer than this.
const FILE_MAX: u64 = 64 << 20;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not served.
    Refused,
    /// All of it arrived.
    Done,
    /// Some of it did not arrive, or it broke off.
    Failed,
}

/// One line. What is not known is left out. Names are escaped as they are on a terminal: `\xff` for a byte that
/// is no UTF-8, `\\` for a backslash.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// When it ended: RFC 3339, UTC.
    pub time: String,
    /// Which program wrote it.
    pub program: &'static str,
    /// Name of the account.
    pub user: String,
    /// Where from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Fingerprint of the key that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `upload` or `download`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// What was asked for, or where it was to go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of files that were moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Files that were moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Why it was refused: a code of `docs/POLICY.md`; or the name of the exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the peer was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Which walls stood around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walls: Option<String>,
}

impl Record {
    pub(crate) fn new(program: &'static str, user: &str, outcome: Outcome) -> Self {
        Self {
            time: format!("{:.3}", Timestamp::now()),
            program,
            user: escaped(user.as_bytes()),
            address: None,
            key: None,
            direction: None,
            paths: Vec::new(),
            outcome,
            bytes: None,
            files: None,
            reason: None,
            detail: None,
            reference: None,
            walls: None,
        }
    }
}

/// Where lines go; clones write to the same.
#[derive(Debug, Clone)]
pub struct Trail(Arc<Mutex<Lines>>);

impl Trail {
    /// Opens the trail in this directory: `audit.log`, and older ones beside it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Lines::open(
            dir,
            "audit.log",
            FILE_MAX,
        )?))))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The system's: a server that must leave a trail serves nobody then.
    pub fn add(&self, record: &Record) -> io::Result<()> {
        let line = serde_json::to_string(record)?;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&line)
    }
}
