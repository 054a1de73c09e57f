//! What a journal is made of, and how it is read.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _},
};

use haul_manifest::{RangeSet, Timestamp};
use serde::{Deserialize, Serialize};

use crate::incoming::{
    partial::{HASH_EMPTY, Made, hash_on},
    published::Stamp,
};

/// The form of everything here. What another one has written is not believed.
pub(super) const VERSION: u16 = 2;
/// Longest record: what an honest one comes to, with [`RANGES_MAX`] ranges.
const RECORD_MAX: usize = 1 << 20;
/// Most ranges that are claimed of a file; those beyond are sent again.
const RANGES_MAX: usize = 1 << 15;

/// A source as it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::incoming) struct Source {
    pub(in crate::incoming) size: u64,
    pub(in crate::incoming) modified: Timestamp,
}

/// What a journal says of a file. Small, for there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::incoming) enum Claim {
    /// It has its final name; a hash of what its source was and of how it was then.
    Done(u64),
    /// Its partial file holds some bytes.
    Part(Box<Part>),
}

/// What a partial file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::incoming) struct Part {
    pub(in crate::incoming) source: Source,
    pub(in crate::incoming) made: Made,
    /// Gaps and lengths in turns.
    ranges: Vec<(u64, u64)>,
}

impl Claim {
    /// That a file of this source was finished and was like this then.
    pub(in crate::incoming) fn done(source: Source, stamp: Stamp) -> Self {
        let facts = postcard::to_stdvec(&(source, stamp)).unwrap_or_default();
        Self::Done(hash_on(HASH_EMPTY, &facts))
    }

    /// That a partial file holds these bytes.
    pub(super) fn part(source: Source, made: Made, written: &RangeSet) -> Self {
        let mut end = 0;
        let ranges = written.ranges().take(RANGES_MAX).map(|range| {
            let gap = range.start - end;
            end = range.end;
            (gap, range.end - range.start)
        });
        Self::Part(Box::new(Part {
            source,
            made,
            ranges: ranges.collect(),
        }))
    }
}

impl Part {
    /// What is claimed, as far as it is below `len`.
    pub(in crate::incoming) fn written(&self, len: u64) -> RangeSet {
        let mut set = RangeSet::new();
        let mut at = 0_u64;
        for (gap, part) in &self.ranges {
            let start = at.saturating_add(*gap).min(len);
            at = start.saturating_add(*part).min(len);
            set.insert(start..at);
        }
        set
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A run begins: what follows counts until the machine restarts,
    Run { version: u16, boot: Option<String> },
    /// and what holds, beyond that: it was on the disk before this was written. In place of what was
    /// said of the file of this path before.
    File {
        path: u64,
        claim: Claim,
        holds: bool,
    },
    /// Nothing is known of the file of this path any more.
    Void { path: u64 },
}

impl Record {
    /// Adds it to what is to be written.
    pub(super) fn frame(&self, out: &mut Vec<u8>) {
        let body = postcard::to_stdvec(self).unwrap_or_default();
        if (1..=RECORD_MAX).contains(&body.len()) {
            out.extend((body.len() as u32).to_le_bytes());
            out.extend(crc32fast::hash(&body).to_le_bytes());
            out.extend(body);
        }
    }

    /// Whether another of the same file is likely to come.
    pub(super) fn is_passing(&self) -> bool {
        let is_done = matches!(
            self,
            Self::File {
                claim: Claim::Done(_),
                ..
            }
        );
        !is_done
    }
}

/// The records of a journal, up to the first that is torn, each with its length in the file.
pub(super) struct Records<'a> {
    reader: BufReader<&'a File>,
    boot: Option<&'a str>,
    /// Whether what is read was written since the machine started.
    is_recent: bool,
}

impl<'a> Records<'a> {
    /// Those of a journal from its beginning, as this start of the machine sees them.
    pub(super) fn of(mut file: &'a File, boot: Option<&'a str>) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            reader: BufReader::new(file),
            boot,
            is_recent: false,
        })
    }

    /// Whether the record that came last says something that still counts.
    pub(super) fn counts(&self, record: &Record) -> bool {
        match record {
            Record::Run { .. } => false,
            Record::File { holds, .. } => *holds || self.is_recent,
            Record::Void { .. } => true,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = (Record, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = [0; 8];
        self.reader.read_exact(&mut head).ok()?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > RECORD_MAX {
            return None;
        }
        let mut body = vec![0; len];
        self.reader.read_exact(&mut body).ok()?;
        if crc32fast::hash(&body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return None;
        }
        let record = postcard::from_bytes(&body).ok()?;
        if let Record::Run { boot, .. } = &record {
            self.is_recent = boot.is_some() && boot.as_deref() == self.boot;
        }
        Some((record, (head.len() + len) as u64))
    }
}
