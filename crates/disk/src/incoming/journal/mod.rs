//! What a run has got, so that the next one need not get it again: a log in the destination's top
//! directory, gone when everything has arrived.
//!
//! ```text
//! ┌────────────┬────────────────────┬──────────────────────┐
//! │ length u32 │ CRC-32 of the rest │ postcard of a Record │   little-endian, again and again
//! └────────────┴────────────────────┴──────────────────────┘
//! ```
//!
//! It is appended to, written anew when most of it has been said again since ([`rewrite`]), and read up to
//! the first record that is torn: what is lost of it costs sending again. What it says of a file counts
//! only for the very file, by inode and time, and the very source, by size and time. A record is written after the
//! bytes that it speaks of. Most count only until the machine restarts, since what had not reached the disk
//! by then is gone; one that holds beyond that is written after they have.

mod record;
mod rewrite;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    mem::take,
    os::fd::OwnedFd,
    sync::Arc,
};

use haul_manifest::{DirId, Name, RangeSet};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat},
    io::Errno,
};

pub(super) use self::record::{Claim, Source};
use self::{
    record::{Record, Records, VERSION},
    rewrite::Fate,
};
use super::{
    partial::{Made, is_ours},
    published::Stamp,
};

/// The name in the top directory; further runs at the same time put a number behind it.
pub(crate) const JOURNAL_NAME: &[u8] = b".haul-journal";
/// What stands behind it while a journal is written anew.
const NEW_SUFFIX: &[u8] = b".new";
/// How many runs into one directory keep a journal at the same time: a digit's worth.
const NAMES_MAX: u8 = 10;
/// Most files that are remembered of earlier runs, in 100 MB of memory; of more, none is.
const CLAIMS_MAX: usize = 1 << 21;
/// Records gathered before they are written.
const BUFFER_MAX: usize = 64 << 10;
/// A journal is not written anew for less than this.
const PASSING_MIN: u64 = 1 << 20;
/// It is when what others were to replace is so many times the rest. So it is never much longer than three
/// times what it says, and is written anew the more seldom the more that is.
const PASSING_SHARE: u64 = 2;

/// Whether an entry would stand where journals do: what a peer sends must never be taken for one.
pub(super) fn is_reserved(parent: DirId, name: &Name) -> bool {
    parent == DirId::DESTINATION && is_journal(name.as_bytes())
}

/// Whether a name is one that journals have, in a directory where some run's things landed.
pub(super) fn is_journal(name: &[u8]) -> bool {
    name.strip_prefix(JOURNAL_NAME).is_some_and(|rest| {
        let number = rest.strip_suffix(NEW_SUFFIX).unwrap_or(rest);
        matches!(number, [] | [b'.', b'1'..=b'9'])
    })
}

/// Which start of the machine something was written in.
type BootId = Option<String>;

#[derive(Debug)]
pub(super) struct Journal {
    top: Arc<OwnedFd>,
    boot: BootId,
    /// Journals of earlier runs and, once something has been written, of this one: the last.
    files: Vec<Log>,
    claims: HashMap<u64, Claim>,
    buffer: Vec<u8>,
    /// Whether this run believes what is said, and says anything.
    is_used: bool,
    /// Whether this run has begun in the file, or cannot be written down.
    state: State,
    /// Bytes in the last file,
    len: u64,
    /// and those of records that others were to replace.
    passing: u64,
    /// Whether some of what is said holds beyond a restart, so that taking it back must too.
    holds: bool,
    /// Whether what has been gathered must be on the disk once it is written.
    is_urgent: bool,
    /// Whether the last file's name is known to be on the disk.
    is_named: bool,
}

/// A journal that nobody else has.
#[derive(Debug)]
struct Log {
    number: u8,
    file: File,
}

impl Log {
    fn records<'a>(&'a self, boot: Option<&'a str>) -> io::Result<Records<'a>> {
        Records::of(&self.file, boot)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Closing it would not do while a process that another thread is starting has the descriptor too.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
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
    pub(super) fn open(top: Arc<OwnedFd>, is_used: bool, boot: BootId) -> Self {
        let mut this = Self::none(top, is_used, boot);
        this.state = State::Unwritten;
        let flags =
            OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for number in 0..NAMES_MAX {
            if let Ok(fd) = openat(&*this.top, &*name(number), flags, Mode::empty())
                && fstat(&fd).is_ok_and(|stat| is_ours(&stat))
                && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
                // Its run may have removed or replaced it just before it let it go.
                && fstat(&fd).is_ok_and(|stat| is_ours(&stat))
            {
                this.clear_new(number);
                let file = File::from(fd);
                this.files.push(Log { number, file });
                this.read_last();
            }
        }
        this
    }

    /// The same, leaving them as they are, and writing nothing.
    pub(super) fn peek(top: Arc<OwnedFd>, is_used: bool, boot: BootId) -> Self {
        let mut this = Self::none(top, is_used, boot);
        for number in 0..NAMES_MAX {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(fd) = openat(&*this.top, &*name(number), flags, Mode::empty())
                && fstat(&fd).is_ok_and(|stat| is_ours(&stat))
            {
                let file = File::from(fd);
                // What is torn cannot be cut off here, and need not be.
                let _ = this.read(&Log { number, file });
            }
        }
        this
    }

    /// One that says nothing and is not written.
    pub(super) fn none(top: Arc<OwnedFd>, is_used: bool, boot: BootId) -> Self {
        Self {
            boot,
            top,
            files: Vec::new(),
            claims: HashMap::new(),
            buffer: Vec::new(),
            is_used,
            state: State::Off,
            len: 0,
            passing: 0,
            holds: false,
            is_urgent: false,
            is_named: false,
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
        if let Claim::Part(_) = claim {
            self.void(path);
        }
        None
    }

    /// A file has its final name, and `holds`: all of it had been written back before.
    pub(super) fn done(&mut self, path: u64, source: Source, stamp: Stamp, holds: bool) {
        if self.is_used {
            let claim = Claim::done(source, stamp);
            self.note_file(path, claim, holds);
        }
    }

    /// A partial file holds these bytes, and `holds`: they have been written back.
    pub(super) fn part(
        &mut self,
        path: u64,
        source: Source,
        (made, written): (Made, &RangeSet),
        holds: bool,
    ) {
        if self.is_used {
            self.note_file(path, Claim::part(source, made, written), holds);
        }
    }

    /// Nothing is known of the file of this path any more. Written at once: another file may get the
    /// number of the one that a claim was about.
    pub(super) fn void(&mut self, path: u64) {
        if self.files.is_empty() && self.buffer.is_empty() {
            return;
        }
        self.is_urgent |= self.holds;
        self.note(&Record::Void { path });
        self.flush();
    }

    /// Writes down what has been gathered. A journal that cannot be written is done without, and what
    /// cannot be taken back any more must not be believed.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() && self.state != State::Off {
            if self.try_flush().is_err() {
                self.state = State::Off;
                self.wipe();
            } else if self.passing > PASSING_MIN.max(PASSING_SHARE * (self.len - self.passing)) {
                let last = self.files.len() - 1;
                if self.rewrite(last, &|_, _| Fate::Kept).is_err() {
                    // It stays as it is until it has grown as much again.
                    self.passing = 0;
                }
            }
        }
        self.buffer.clear();
    }

    /// All that this run was told of, and has said, has been written back since.
    pub(super) fn hold(&mut self) {
        self.flush();
        if self.state == State::Writing {
            self.holds = true;
            let last = self.files.len() - 1;
            // Otherwise it goes on counting until the machine restarts.
            let _ = self.rewrite(last, &|this, path| {
                // Of others it is not known where they are.
                let is_of_others = this.claims.contains_key(&path);
                if is_of_others { Fate::Kept } else { Fate::Held }
            });
        }
    }

    /// Everything of this run has arrived. What is said of the files of others, which were cut off and
    /// have not gone on yet, stays; otherwise it goes.
    pub(super) fn close(mut self) {
        self.buffer.clear();
        if !self.claims.is_empty() {
            let kept = self.rewrite(0, &|this, path| {
                let is_of_others = this.claims.contains_key(&path);
                if is_of_others { Fate::Kept } else { Fate::Gone }
            });
            match kept {
                Ok(0) => {}
                Ok(_) => drop(self.files.pop()),
                // It says too much, which does no harm.
                Err(_) => return,
            }
        }
        for log in &self.files {
            // One that stays is of no use, and does no harm.
            let _ = unlinkat(&*self.top, &*name(log.number), AtFlags::empty());
        }
    }

    /// How a run begins in the file.
    fn beginning(&self) -> Vec<u8> {
        let mut begin = Vec::new();
        let (version, boot) = (VERSION, self.boot.clone());
        Record::Run { version, boot }.frame(&mut begin);
        begin
    }

    fn note_file(&mut self, path: u64, claim: Claim, holds: bool) {
        self.holds |= holds;
        self.is_urgent |= holds;
        self.note(&Record::File { path, claim, holds });
    }

    fn note(&mut self, record: &Record) {
        if self.state != State::Off {
            let before = self.buffer.len();
            record.frame(&mut self.buffer);
            if record.is_passing() {
                self.passing += (self.buffer.len() - before) as u64;
            }
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
        if let Some(log) = self.files.last_mut() {
            log.file.write_all(&self.buffer)?;
            self.len += self.buffer.len() as u64;
        }
        if take(&mut self.is_urgent) {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes an empty file of this name, which nothing may have.
    fn make(&self, name: &[u8]) -> rustix::io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        openat(&*self.top, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    fn create(&self) -> io::Result<Log> {
        for number in 0..NAMES_MAX {
            let name = name(number);
            match self.make(&name) {
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) if fstat(&file).is_ok_and(|stat| is_ours(&stat)) => {
                        self.clear_new(number);
                        return Ok(Log { number, file });
                    }
                    // Another run took it for one that was left, and has it, or has removed it.
                    Ok(()) | Err(Errno::AGAIN) => {}
                    Err(errno) => {
                        // Nobody would remove it in the end.
                        let _ = unlinkat(&*self.top, &*name, AtFlags::empty());
                        return Err(errno.into());
                    }
                },
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Takes in the last of them.
    fn read_last(&mut self) {
        if let Some(log) = self.files.pop() {
            // One that cannot be read says nothing.
            let is_trusted = self.read(&log).unwrap_or(true);
            self.files.push(log);
            if !is_trusted {
                self.wipe();
            }
        }
    }

    /// Takes in every record up to the first that is not whole, where the next one is to be written. `false`:
    /// nothing that has been read is to be believed, here or anywhere.
    fn read(&mut self, log: &Log) -> io::Result<bool> {
        let boot = self.boot.clone();
        let mut records = log.records(boot.as_deref())?;
        (self.len, self.passing) = (0, 0);
        while let Some((record, len)) = records.next() {
            let counts = records.counts(&record);
            self.len += len;
            if record.is_passing() || !counts {
                self.passing += len;
            }
            match record {
                // What it does not say may be that something does not hold any more.
                Record::Run { version, .. } if version != VERSION => {
                    self.claims.clear();
                    return Ok(false);
                }
                Record::File { path, claim, holds } if counts => {
                    self.holds |= holds;
                    self.claims.insert(path, claim);
                }
                Record::Void { path } => drop(self.claims.remove(&path)),
                Record::Run { .. } | Record::File { .. } => {}
            }
            if self.claims.len() > CLAIMS_MAX {
                self.claims.clear();
                return Ok(false);
            }
        }
        log.file.set_len(self.len)?;
        Ok(true)
    }

    /// Takes back all that has ever been said. Takes no room on a full disk; on one that cannot be written
    /// nothing else changes.
    fn wipe(&mut self) {
        (self.len, self.passing) = (0, 0);
        for log in &self.files {
            let _ = log.file.set_len(0);
        }
    }
}

fn name(number: u8) -> Vec<u8> {
    let mut name = JOURNAL_NAME.to_vec();
    if number > 0 {
        name.extend([b'.', b'0' + number]);
    }
    name
}

/// What a journal is called until it is whole.
fn name_new(number: u8) -> Vec<u8> {
    [&*name(number), NEW_SUFFIX].concat()
}

/// Which start of the machine this is, where that can be told.
pub(super) fn boot_id() -> BootId {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(told.trim().to_owned()).filter(|id| !id.is_empty())
}
