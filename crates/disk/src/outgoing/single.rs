//! One file of which not everything is known, or not everything is wanted, when it begins: what comes
//! out of a pipe, a file that grows, a range of one.
//!
//! ```text
//!  pipe ──read──► spool ──┐
//!                         ├──► blocks of content, as far as there are bytes
//!  file ──────────pread───┘
//! ```
//!
//! The list says first that there is a stream, and how long it was when it has ended.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arrayvec::ArrayVec;
use haul_batch::{Batch, MAX_SEGMENTS};
use haul_manifest::{DirId, Entry, Layout, ListWriter, Meta, Name, VOID};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, BlockNo, HEADER_LEN, Stream};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::fstat,
    io::Errno,
};

use super::{Available, Totals, files::Stamp, scan, spool::Spool};
use crate::{CONTENT_AHEAD_BYTES, DiskError, FileFailure, Supply};

/// How much is read at a time, at most.
const READ_BYTES: usize = 256 << 10;
/// How often a growing file is looked at, at least and at most.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How long a pipe that gives nothing keeps from noticing the end of the transfer.
const PIPE_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// What of one file is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Portion {
    /// All of it.
    #[default]
    All,
    /// Its bytes from the first of these to before the second; `u64::MAX` stands for its end.
    Range(u64, u64),
    /// All of it, and what is added until nothing has been for so long.
    Growing(Duration),
}

/// One file, sent as it comes.
#[derive(Debug)]
pub struct Single {
    block_len: u64,
    file: Arc<File>,
    /// For messages.
    path: PathBuf,
    name: Name,
    /// Attributes that are told of it.
    meta: Meta,
    times: bool,
    kind: Kind,
    state: Mutex<State>,
    /// Signalled when there is room, and when the scan is to end.
    freed: Condvar,
}

#[derive(Debug)]
enum Kind {
    Pipe,
    Growing(Duration),
    /// From here on; it must stay as it was.
    Range(u64, Stamp),
}

#[derive(Debug)]
struct State {
    list: ListWriter,
    list_floor: u64,
    content_floor: u64,
    /// Bytes of a pipe that have not been delivered.
    spool: Spool,
    /// Bytes there are so far.
    len: u64,
    ended: bool,
    stopped: bool,
}

/// Bytes of a batch that are to be read, and where their content begins.
type Places<'a> = ArrayVec<(u64, &'a mut [u8]), MAX_SEGMENTS>;

impl Single {
    /// What comes out of a pipe, or anything that can be read, to its end. It gets this name.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn pipe(block_len: usize, file: Arc<File>, name: Name) -> Arc<Self> {
        let meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let path = PathBuf::from("standard input");
        Self::new(block_len, file, (path, name), (meta, false), Kind::Pipe)
    }

    /// A growing file, or a range of one, by this name; with its times, if those are wanted.
    ///
    /// # Errors
    /// [`DiskError::Source`] when it cannot be opened; [`DiskError::Range`] when it is shorter than the
    /// range.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn of_file(
        block_len: usize,
        path: &Path,
        name: Name,
        portion: &Portion,
        times: bool,
    ) -> Result<Arc<Self>, DiskError> {
        let failed = |cause| DiskError::Source {
            path: path.to_owned(),
            cause,
        };
        let file = File::open(path).map_err(failed)?;
        let stat = fstat(&file).map_err(|errno| failed(errno.into()))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (kind, len) = match *portion {
            Portion::Growing(patience) => (Kind::Growing(patience), None),
            Portion::All => (Kind::Range(0, Stamp::of(&stat)), Some(size)),
            Portion::Range(from, to) => {
                let Some(len) = range_len(from, to, size) else {
                    let path = path.to_owned();
                    return Err(DiskError::Range { path, size });
                };
                (Kind::Range(from, Stamp::of(&stat)), Some(len))
            }
        };
        let meta = scan::meta(&stat, times);
        let place = (path.to_owned(), name);
        let this = Self::new(block_len, Arc::new(file), place, (meta, times), kind);
        if let Some(len) = len {
            this.list_whole(len);
        }
        Ok(this)
    }

    fn new(
        block_len: usize,
        file: Arc<File>,
        (path, name): (PathBuf, Name),
        (meta, times): (Meta, bool),
        kind: Kind,
    ) -> Arc<Self> {
        assert!(block_len > 0);
        let mut list = ListWriter::new(block_len);
        if !matches!(kind, Kind::Range(..)) {
            list.push(&Entry::Stream {
                parent: DirId::DESTINATION,
                name: name.clone(),
                meta,
            });
            list.pad();
        }
        Arc::new(Self {
            block_len: block_len as u64,
            file,
            path,
            name,
            meta,
            times,
            kind,
            state: Mutex::new(State {
                list,
                list_floor: 0,
                content_floor: 0,
                spool: Spool::default(),
                len: 0,
                ended: false,
                stopped: false,
            }),
            freed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists what is known to the end.
    fn list_whole(&self, len: u64) {
        let mut state = self.lock();
        state.len = len;
        state.list.push(&Entry::File {
            parent: DirId::DESTINATION,
            name: self.name.clone(),
            meta: self.meta,
            size: len,
            layout: Layout::Dense,
            digest: None,
        });
        state.end(1);
    }

    /// Lists that the stream has ended.
    fn close(&self, state: &mut State) {
        let meta = match fstat(&*self.file) {
            Ok(stat) if matches!(self.kind, Kind::Growing(_)) => scan::meta(&stat, self.times),
            _ => self.meta,
        };
        state.list.push(&Entry::Closed {
            size: state.len,
            meta,
        });
        state.end(2);
    }

    fn available(&self, state: &State) -> Available {
        let sendable = match state.list_floor {
            // The receiver may not know yet what it is.
            0 => state.len.min(CONTENT_AHEAD_BYTES),
            _ => state.len,
        };
        let complete = state.ended && sendable == state.len;
        Available {
            list_blocks: state.list.blocks(),
            content_blocks: match complete {
                true => sendable.div_ceil(self.block_len),
                false => sendable / self.block_len,
            },
            complete,
        }
    }

    /// Reads a pipe to its end.
    fn drain(&self, listed: &mut dyn FnMut(Available)) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        while self.await_room() {
            let mut ready = [PollFd::new(&*self.file, PollFlags::IN)];
            match poll(&mut ready, Some(&PIPE_WAIT)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            let len = match (&*self.file).read(&mut bytes) {
                Ok(len) => len,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            let mut state = self.lock();
            state.spool.push(&bytes[..len]);
            state.len += len as u64;
            if len == 0 {
                self.close(&mut state);
            }
            let available = self.available(&state);
            drop(state);
            listed(available);
            if len == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the spool has room for another read. `false`: stop.
    fn await_room(&self) -> bool {
        let state = self.lock();
        let full = |state: &mut State| state.spool.is_full() && !state.stopped;
        let state = self.freed.wait_while(state, full);
        !state.unwrap_or_else(PoisonError::into_inner).stopped
    }

    /// Follows a file until nothing has been added for long enough.
    fn watch(&self, patience: Duration, listed: &mut dyn FnMut(Available)) -> io::Result<()> {
        let look = (patience / 10).clamp(LOOK_MIN, LOOK_MAX);
        let modified = self.file.metadata()?.modified()?;
        let age = SystemTime::now().duration_since(modified);
        let mut quiet_for = age.unwrap_or_default();
        let mut looked_at = Instant::now();
        let mut known = None;
        loop {
            let size = self.file.metadata()?.len();
            let mut state = self.lock();
            if state.stopped {
                return Ok(());
            }
            if size < state.len {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            quiet_for = match known.replace(size) {
                Some(before) if size > before => Duration::ZERO,
                _ => quiet_for + looked_at.elapsed(),
            };
            looked_at = Instant::now();
            state.len = size;
            let is_over = quiet_for >= patience;
            if is_over {
                self.close(&mut state);
            }
            let available = self.available(&state);
            drop(state);
            listed(available);
            if is_over {
                return Ok(());
            }
            let state = self.lock();
            let waited = self
                .freed
                .wait_timeout_while(state, look, |state| !state.stopped);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Reads content that is there, from where it begins, and then looks once whether what must stay as it
    /// was did so.
    fn read(&self, places: Places<'_>) -> Result<(), DiskError> {
        let from = match self.kind {
            Kind::Range(from, _) => from,
            Kind::Pipe | Kind::Growing(_) => 0,
        };
        for (start, bytes) in places {
            let read = self.file.read_exact_at(bytes, from + start);
            read.map_err(|cause| self.failed(cause))?;
        }
        if let Kind::Range(_, stamp) = &self.kind {
            let now = fstat(&*self.file).map(|stat| Stamp::of(&stat));
            if now != Ok(*stamp) {
                let path = self.path.clone();
                return Err(DiskError::Changed { path });
            }
        }
        Ok(())
    }

    /// A file that ends before it should has changed.
    fn failed(&self, cause: io::Error) -> DiskError {
        let path = self.path.clone();
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => DiskError::Changed { path },
            _ => DiskError::Source { path, cause },
        }
    }
}

impl State {
    /// Lists the end, with so many entries before it.
    fn end(&mut self, entries: u64) {
        self.list.push(&Entry::End {
            content_bytes: self.len,
            files: 1,
            entries,
            unlisted: 0,
        });
        self.list.pad();
        self.ended = true;
    }
}

impl Supply for Single {
    fn scan(&self, listed: &mut dyn FnMut(Available)) -> Result<(), DiskError> {
        let available = self.available(&self.lock());
        listed(available);
        let outcome = match self.kind {
            Kind::Range(..) => Ok(()),
            Kind::Pipe => self.drain(listed),
            Kind::Growing(patience) => self.watch(patience, listed),
        };
        outcome.map_err(|cause| self.failed(cause))
    }

    fn fill(
        &self,
        blocks: &[BlockAddr],
        batch: &mut Batch,
    ) -> Result<Option<Available>, DiskError> {
        let mut places = Places::new();
        let state = self.lock();
        for (addr, segment) in blocks.iter().zip(batch.segments_mut()) {
            let (head, rest) = segment[HEADER_LEN..].split_at_mut(BLOCK_ADDR_LEN);
            let block = &mut rest[..self.block_len as usize];
            let number = addr.block.0;
            head.copy_from_slice(&addr.encode());
            let floor = match addr.stream {
                Stream::List => state.list_floor,
                Stream::Content => state.content_floor,
            };
            if number < floor {
                block.fill(0);
                head.copy_from_slice(&BlockAddr::content(VOID).encode());
                continue;
            }
            if addr.stream == Stream::List {
                let bytes = state.list.block(number);
                block.copy_from_slice(bytes.ok_or(DiskError::NotAvailable(*addr))?);
                continue;
            }
            if number >= self.available(&state).content_blocks {
                return Err(DiskError::NotAvailable(*addr));
            }
            let start = number * self.block_len;
            let end = (start + self.block_len).min(state.len);
            let (bytes, rest) = block.split_at_mut((end - start) as usize);
            rest.fill(0);
            match self.kind {
                Kind::Pipe => state.spool.copy(start, bytes),
                Kind::Growing(_) | Kind::Range(..) => places.push((start, bytes)),
            }
        }
        drop(state);
        if !places.is_empty() {
            self.read(places)?;
        }
        Ok(None)
    }

    fn release(&self, stream: Stream, floor: BlockNo) -> Option<Available> {
        let mut state = self.lock();
        let before = self.available(&state);
        match stream {
            Stream::List => {
                state.list_floor = state.list_floor.max(floor.0);
                state.list.release(floor.0);
            }
            Stream::Content => {
                state.content_floor = state.content_floor.max(floor.0);
                let bytes = floor.0.saturating_mul(self.block_len).min(state.len);
                state.spool.release(bytes);
            }
        }
        self.freed.notify_all();
        let now = self.available(&state);
        (now != before).then_some(now)
    }

    fn totals(&self) -> Totals {
        let state = self.lock();
        Totals {
            files: 1,
            bytes: state.len,
            content_bytes: state.len,
            scanned: state.ended,
            ..Totals::default()
        }
    }

    fn failures(&self) -> Vec<FileFailure> {
        Vec::new()
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.freed.notify_all();
    }
}

/// How many bytes a range of a file of this size is, if the file has them all.
fn range_len(from: u64, to: u64, size: u64) -> Option<u64> {
    let to = if to == u64::MAX { size } else { to };
    to.checked_sub(from).filter(|_| to <= size)
}

/// Whether the next read may go well.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}
