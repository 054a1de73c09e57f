//! What a run has got, so that the next one need not get it again: a log in the destination's top
//! directory, gone when everything has arrived.
//!
//! ```text
//! ┌────────────┬────────────────────┬──────────────────────┐
//! │ length u32 │ CRC-32 of the rest │ postcard of a Record │   little-endian, again and again
//! └────────────┴────────────────────┴──────────────────────┘
//! ```
//!
//! It is only ever appended to, and read up to the first record that is torn: what is lost of it costs
//! sending again. What it says of a file counts only for the very file, by inode, and the very source,
//! by size and time, and only until the machine restarts, since what had not reached the disk by then
//! is gone. A record is written after the bytes that it speaks of.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    mem::take,
    os::fd::OwnedFd,
    sync::Arc,
};

use haul_manifest::{DirId, Name, RangeSet, Timestamp};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{
    partial::{HASH_EMPTY, Made, hash_on, is_ours},
    published::Stamp,
};

/// The name in the top directory; further runs at the same time put a number behind it.
pub(crate) const JOURNAL_NAME: &[u8] = b".haul-journal";
/// How many runs into one directory keep a journal at the same time.
const NAMES_MAX: u8 = 10;
const VERSION: u16 = 2;
/// Longest record: what an honest one comes to, with [`RANGES_MAX`] ranges.
const RECORD_MAX: usize = 1 << 20;
/// Most ranges that are claimed of a file; those beyond are sent again.
const RANGES_MAX: usize = 1 << 15;
/// Most files that are remembered of earlier runs, in 100 MB of memory; of more, none is.
const CLAIMS_MAX: usize = 1 << 21;
/// Records gathered before they are written.
const BUFFER_MAX: usize = 64 << 10;

/// A source as it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
}

/// What a journal says of a file. Small, for there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Claim {
    /// It has its final name; a hash of what its source was and of how it was then.
    Done(u64),
    /// Its partial file holds some bytes.
    Part(Box<Part>),
}

/// What a partial file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) source: Source,
    pub(super) made: Made,
    /// Gaps and lengths in turns.
    pub(super) ranges: Vec<(u64, u64)>,
}

impl Claim {
    /// That a file of this source was finished and was like this then.
    pub(super) fn done(source: Source, stamp: Stamp) -> Self {
        let facts = postcard::to_stdvec(&(source, stamp)).unwrap_or_default();
        Self::Done(hash_on(HASH_EMPTY, &facts))
    }

    /// Whether it only takes back what was said before.
    fn is_void(&self) -> bool {
        matches!(self, Self::Part(part) if part.ranges.is_empty())
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    /// A run begins: what follows counts until the machine restarts.
    Run { version: u16, boot: Option<String> },
    /// What is known of the file of this path, in place of what was known of it before.
    File { path: u64, claim: Claim },
}

/// Whether an entry would stand where journals do: what a peer sends must never be taken for one.
pub(super) fn is_reserved(parent: DirId, name: &Name) -> bool {
    parent == DirId::DESTINATION && is_journal(name.as_bytes())
}

/// Whether a name is one that journals have, in a directory where some run's things landed.
pub(super) fn is_journal(name: &[u8]) -> bool {
    (0..NAMES_MAX).map(self::name).any(|own| own == name)
}

#[derive(Debug)]
pub(super) struct Journal {
    top: Arc<OwnedFd>,
    boot: Option<String>,
    /// Journals of earlier runs and, once something has been written, of this one: the last.
    files: Vec<(Vec<u8>, File)>,
    claims: HashMap<u64, Claim>,
    buffer: Vec<u8>,
    /// Whether this run believes what is said, and says anything.
    is_used: bool,
    /// Whether this run has begun in the file, or cannot be written down.
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unwritten,
    Writing,
    Off,
}

impl Journal {
    /// Takes in what earlier runs have left, those excepted that are still running. One that is not
    /// used only loses what does not hold any more.
    pub(super) fn open(top: Arc<OwnedFd>, is_used: bool) -> Self {
        let mut this = Self::none(top, is_used);
        this.state = State::Unwritten;
        for number in 0..NAMES_MAX {
            let name = name(number);
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(fd) = openat(&*this.top, &*name, flags, Mode::empty())
                && fstat(&fd).is_ok_and(|stat| is_ours(&stat))
                && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let mut file = File::from(fd);
                // One that cannot be read says nothing.
                let _ = this.read(&mut file);
                this.files.push((name, file));
            }
        }
        this
    }

    /// The same, leaving them as they are, and writing nothing.
    pub(super) fn peek(top: Arc<OwnedFd>, is_used: bool) -> Self {
        let mut this = Self::none(top, is_used);
        for number in 0..NAMES_MAX {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(fd) = openat(&*this.top, &*name(number), flags, Mode::empty())
                && fstat(&fd).is_ok_and(|stat| is_ours(&stat))
            {
                // What is torn cannot be cut off here, and need not be.
                let _ = this.read(&mut File::from(fd));
            }
        }
        this
    }

    /// One that says nothing and is not written.
    pub(super) fn none(top: Arc<OwnedFd>, is_used: bool) -> Self {
        Self {
            boot: boot_id(),
            top,
            files: Vec::new(),
            claims: HashMap::new(),
            buffer: Vec::new(),
            is_used,
            state: State::Off,
        }
    }

    /// Whether this run believes what is said, and says anything.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// What is said of the file of this path, once. What cannot be used does not hold any more.
    pub(super) fn take_claim(&mut self, path: u64) -> Option<Claim> {
        let claim = self.claims.remove(&path)?;
        if self.is_used {
            return Some(claim);
        }
        if let Claim::Part(part) = claim {
            self.void(path, part.source, part.made);
        }
        None
    }

    /// A file has its final name.
    pub(super) fn done(&mut self, path: u64, source: Source, stamp: Stamp) {
        if self.is_used {
            let claim = Claim::done(source, stamp);
            self.note(&Record::File { path, claim });
        }
    }

    /// A partial file holds these bytes.
    pub(super) fn part(&mut self, path: u64, source: Source, made: Made, written: &RangeSet) {
        let mut end = 0;
        let ranges = written.ranges().take(RANGES_MAX).map(|range| {
            let gap = range.start - end;
            end = range.end;
            (gap, range.end - range.start)
        });
        let ranges = ranges.collect();
        let claim = Claim::Part(Box::new(Part {
            source,
            made,
            ranges,
        }));
        if self.is_used {
            self.note(&Record::File { path, claim });
        }
    }

    /// Nothing is known of the file of this path any more. Written at once: another file may get the
    /// number of the one that a claim was about.
    pub(super) fn void(&mut self, path: u64, source: Source, made: Made) {
        if self.files.is_empty() && self.buffer.is_empty() {
            return;
        }
        let claim = Claim::Part(Box::new(Part {
            source,
            made,
            ranges: Vec::new(),
        }));
        self.note(&Record::File { path, claim });
        self.flush();
    }

    /// Writes down what has been gathered. A journal that cannot be written is done without, and what
    /// cannot be taken back any more must not be believed.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() && self.state != State::Off && self.try_flush().is_err() {
            self.state = State::Off;
            for (_, file) in &self.files {
                // Takes no room on a full disk; on one that cannot be written nothing else changes.
                let _ = file.set_len(0);
            }
        }
        self.buffer.clear();
    }

    /// Everything of this run has arrived. What is said of the files of others, which were cut off and
    /// have not gone on yet, stays; otherwise it goes.
    pub(super) fn close(mut self) {
        self.buffer.clear();
        let claims = take(&mut self.claims);
        if !claims.is_empty()
            && let Some((name, file)) = self.files.pop()
            && self.rewrite(&file, claims).is_err()
        {
            self.files.push((name, file));
        }
        for (name, _) in &self.files {
            // One that stays is of no use, and does no harm.
            let _ = unlinkat(&*self.top, &**name, AtFlags::empty());
        }
    }

    fn rewrite(&mut self, mut file: &File, claims: HashMap<u64, Claim>) -> io::Result<()> {
        let mut bytes = self.beginning();
        for (path, claim) in claims {
            frame(&Record::File { path, claim }, &mut bytes);
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&bytes)
    }

    /// How a run begins in the file.
    fn beginning(&self) -> Vec<u8> {
        let mut begin = Vec::new();
        let (version, boot) = (VERSION, self.boot.clone());
        frame(&Record::Run { version, boot }, &mut begin);
        begin
    }

    fn note(&mut self, record: &Record) {
        if self.state != State::Off {
            frame(record, &mut self.buffer);
            if self.buffer.len() >= BUFFER_MAX {
                self.flush();
            }
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        if self.state == State::Unwritten {
            if self.files.is_empty() {
                let made = self.create()?;
                self.files.push(made);
            }
            let mut begin = self.beginning();
            begin.append(&mut self.buffer);
            self.buffer = begin;
            self.state = State::Writing;
        }
        match self.files.last_mut() {
            Some((_, file)) => file.write_all(&self.buffer),
            None => Ok(()),
        }
    }

    fn create(&self) -> io::Result<(Vec<u8>, File)> {
        for number in 0..NAMES_MAX {
            let name = name(number);
            let flags =
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&*self.top, &*name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => {
                    let locked = flock(&fd, FlockOperation::NonBlockingLockExclusive);
                    if let Err(errno) = locked {
                        // Nobody would remove it in the end.
                        let _ = unlinkat(&*self.top, &*name, AtFlags::empty());
                        return Err(errno.into());
                    }
                    return Ok((name, File::from(fd)));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Takes in every record up to the first that is not whole; leaves the file so that the next
    /// one is written there.
    fn read(&mut self, file: &mut File) -> io::Result<()> {
        let mut reader = BufReader::new(&*file);
        let mut end = 0;
        let mut counts = false;
        while let Some((record, len)) = read_record(&mut reader)? {
            match record {
                Record::Run { version, boot } => {
                    counts = version == VERSION && boot.is_some() && boot == self.boot;
                }
                Record::File { path, claim } if counts && !claim.is_void() => {
                    self.claims.insert(path, claim);
                }
                Record::File { path, .. } => {
                    self.claims.remove(&path);
                }
            }
            end += len as u64;
            if self.claims.len() > CLAIMS_MAX {
                self.claims.clear();
                end = 0;
                break;
            }
        }
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end)).map(drop)
    }
}

fn name(number: u8) -> Vec<u8> {
    let mut name = JOURNAL_NAME.to_vec();
    if number > 0 {
        name.extend([b'.', b'0' + number]);
    }
    name
}

fn frame(record: &Record, out: &mut Vec<u8>) {
    let body = postcard::to_stdvec(record).unwrap_or_default();
    if (1..=RECORD_MAX).contains(&body.len()) {
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(crc32fast::hash(&body).to_le_bytes());
        out.extend(body);
    }
}

/// The next record and its length in the file; `None` at the end, or where it is torn.
fn read_record(reader: &mut impl Read) -> io::Result<Option<(Record, usize)>> {
    let mut head = [0; 8];
    if reader.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if len > RECORD_MAX {
        return Ok(None);
    }
    let mut body = vec![0; len];
    if reader.read_exact(&mut body).is_err()
        || crc32fast::hash(&body) != u32::from_le_bytes([c0, c1, c2, c3])
    {
        return Ok(None);
    }
    let record = postcard::from_bytes(&body).ok();
    Ok(record.map(|record| (record, head.len() + len)))
}

/// The ranges of a claim, as far as they are below `len`.
pub(super) fn ranges(parts: &[(u64, u64)], len: u64) -> RangeSet {
    let mut set = RangeSet::new();
    let mut at = 0_u64;
    for (gap, part) in parts {
        let start = at.saturating_add(*gap).min(len);
        at = start.saturating_add(*part).min(len);
        set.insert(start..at);
    }
    set
}

/// Which start of the machine this is, where that can be told.
fn boot_id() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(told.trim().to_owned()).filter(|id| !id.is_empty())
}
