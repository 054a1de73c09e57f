//! An `Outgoing` and an `Incoming` joined by a network that loses, reorders and repeats, all
//! decided by a seed.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations
)]

pub mod mounted;
pub mod peer;
pub mod place;
pub mod xattrs;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use haul_batch::Pool;
use haul_disk::{
    Asked, Available, Change, DiskError, Had, Incoming, Landing, Outgoing, Preserve,
    ReceiveOptions, Received, ScanOptions, Supply, Wanted,
};
use haul_manifest::RangeSet;
use haul_wire::{
    BLOCK_ADDR_LEN, BlockAddr, BlockNo, HEADER_LEN, Part, Stream, part_len, segment_len,
};

pub const BLOCK_LEN: usize = 1400;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Prints the seed when a test fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

/// How rough the network is.
#[derive(Clone, Copy)]
pub struct Network {
    pub loss_percent: u64,
    pub repeat_percent: u64,
    /// Blocks that travel in parts.
    pub parts_percent: u64,
    /// Blocks under way at a time.
    pub window: usize,
    pub shuffle: bool,
    /// A block of content that is lost until all others have arrived.
    pub held: Option<u64>,
}

pub const CLEAN: Network = Network {
    loss_percent: 0,
    repeat_percent: 0,
    parts_percent: 0,
    window: 4096,
    shuffle: false,
    held: None,
};
pub const ROUGH: Network = Network {
    loss_percent: 20,
    repeat_percent: 10,
    parts_percent: 30,
    window: 2000,
    shuffle: true,
    held: None,
};

/// Sends `sources` to `destination` and returns the receiver's account.
pub fn transfer(
    sources: &[&Path],
    destination: &Path,
    preserve: bool,
    network: Network,
    seed: u64,
) -> Result<Received, DiskError> {
    let outgoing = outgoing(sources);
    let incoming = incoming(sources, destination, preserve)?;
    run(&outgoing, incoming, network, seed, &mut |_| {})
}

pub fn outgoing(sources: &[&Path]) -> Arc<Outgoing> {
    let sources = sources.iter().map(|path| path.to_path_buf()).collect();
    let options = ScanOptions {
        recursive: true,
        times: true,
        ..ScanOptions::default()
    };
    Outgoing::new(BLOCK_LEN, Wanted::new(sources, options))
}

pub fn incoming(
    sources: &[&Path],
    destination: &Path,
    preserve: bool,
) -> Result<Incoming, DiskError> {
    let names: Vec<&[u8]> = sources.iter().map(|p| p.as_os_str().as_bytes()).collect();
    let bytes = destination.as_os_str().as_bytes();
    let (root, landing) = Landing::resolve(Path::new("/"), bytes, Asked::of(&names), false)?;
    Incoming::new(
        root,
        landing,
        ReceiveOptions::new(kept(preserve)),
        BLOCK_LEN,
    )
}

/// Moves everything; `before_step` sees how many blocks have been delivered.
pub fn run<S: Supply + 'static>(
    outgoing: &Arc<S>,
    incoming: Incoming,
    network: Network,
    seed: u64,
    before_step: &mut dyn FnMut(u64),
) -> Result<Received, DiskError> {
    let mut step = |delivered| {
        before_step(delivered);
        true
    };
    let (received, _) = drive(outgoing, incoming, network, seed, &mut step)?;
    Ok(received.unwrap())
}

/// Moves until `goes_on`, told how many blocks have been delivered, says no. Returns the account, if it came
/// to one, and how many blocks of content were delivered.
pub fn drive<S: Supply + 'static>(
    outgoing: &Arc<S>,
    incoming: Incoming,
    network: Network,
    seed: u64,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(Option<Received>, u64), DiskError> {
    drive_told(outgoing, incoming, network, seed, goes_on, &mut |_| ())
}

/// The same; `tell` hears of changes.
pub fn drive_told<S: Supply + 'static>(
    outgoing: &Arc<S>,
    mut incoming: Incoming,
    network: Network,
    seed: u64,
    goes_on: &mut dyn FnMut(u64) -> bool,
    tell: &mut dyn FnMut(Change),
) -> Result<(Option<Received>, u64), DiskError> {
    let _seed = Seed(seed);
    let mut random = Random(seed);
    let (send, receive) = mpsc::channel();
    let scanner = {
        let outgoing = Arc::clone(outgoing);
        std::thread::spawn(move || {
            outgoing.scan(&mut |available| {
                // Nobody listens any more once the transfer has ended.
                let _ = send.send(available);
            })
        })
    };
    let supply: Arc<dyn Supply> = Arc::<S>::clone(outgoing);
    let mut line = Line::new(supply, network, incoming.tells_had());
    let result = loop {
        if !goes_on(line.delivered[0].len() + line.delivered[1].len()) {
            break Ok(None);
        }
        while let Some(had) = incoming.poll_had() {
            line.leave_out(&had);
        }
        if incoming.is_complete() {
            while incoming.wind_up()? {
                std::iter::from_fn(|| incoming.poll_change()).for_each(&mut *tell);
            }
            std::iter::from_fn(|| incoming.poll_change()).for_each(&mut *tell);
            break incoming.finish().map(Some);
        }
        if line.under_way.is_empty() && line.top_up() == 0 {
            // Nothing to send: only the scan can bring more.
            match receive.recv() {
                Ok(available) => line.grow(available),
                Err(_) => panic!("the scan has ended and nothing is left to send"),
            }
        }
        while let Ok(available) = receive.try_recv() {
            line.grow(available);
        }
        line.top_up();
        if let Err(error) = line.step(&mut incoming, &mut random) {
            incoming.abandon();
            break Err(error);
        }
    };
    outgoing.stop();
    scanner.join().unwrap()?;
    result.map(|received| (received, line.content_sent))
}

struct Line {
    outgoing: Arc<dyn Supply>,
    network: Network,
    pool: Pool,
    available: Available,
    next: [u64; 2],
    under_way: Vec<BlockAddr>,
    delivered: [RangeSet; 2],
    /// Content blocks that need not be sent.
    had: RangeSet,
    /// Content is sent below this block.
    judged: u64,
    content_sent: u64,
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Content)
}

impl Line {
    fn new(outgoing: Arc<dyn Supply>, network: Network, waits: bool) -> Self {
        Self {
            outgoing,
            network,
            pool: Pool::new(2),
            available: Available::default(),
            next: [0; 2],
            under_way: Vec::new(),
            delivered: [RangeSet::new(), RangeSet::new()],
            had: RangeSet::new(),
            judged: if waits { 0 } else { u64::MAX },
            content_sent: 0,
        }
    }

    fn leave_out(&mut self, had: &Had) {
        for (start, end) in &had.ranges {
            assert!(self.judged <= *start && start < end && *end <= had.judged);
            self.had.insert(*start..*end);
            self.delivered[index(Stream::Content)].insert(*start..*end);
        }
        assert!(self.judged < had.judged);
        self.judged = had.judged;
    }

    fn grow(&mut self, available: Available) {
        let now = &mut self.available;
        assert!(!now.complete || available.content_blocks <= now.content_blocks);
        now.list_blocks = now.list_blocks.max(available.list_blocks);
        now.content_blocks = now.content_blocks.max(available.content_blocks);
        now.complete |= available.complete;
    }

    fn top_up(&mut self) -> usize {
        let before = self.under_way.len();
        for (stream, end) in [
            (Stream::List, self.available.list_blocks),
            (
                Stream::Content,
                self.available.content_blocks.min(self.judged),
            ),
        ] {
            let next = &mut self.next[index(stream)];
            while *next < end && self.under_way.len() < self.network.window {
                let block = BlockNo(*next);
                *next += 1;
                if stream == Stream::Content {
                    if self.had.contains(block.0) {
                        continue;
                    }
                    self.content_sent += 1;
                }
                self.under_way.push(BlockAddr {
                    stream,
                    block,
                    part: Part::WHOLE,
                });
            }
        }
        self.under_way.len() - before
    }

    /// Fills a batch, maybe loses it, maybe delivers some of it twice.
    fn step(&mut self, incoming: &mut Incoming, random: &mut Random) -> Result<(), DiskError> {
        let blocks = self.pick(random);
        if blocks.is_empty() {
            return Ok(());
        }
        let mut batch = self.pool.try_take().unwrap();
        batch.shape(segment_len(BLOCK_LEN), blocks.len());
        batch.bytes_mut().fill(0xaa);
        if let Some(available) = self.outgoing.fill(&blocks, &mut batch)? {
            self.grow(available);
        }
        let mut segments = Vec::new();
        let mut in_parts = Vec::new();
        for (at, segment) in batch.segments().enumerate() {
            let body = &segment[HEADER_LEN..][..BLOCK_ADDR_LEN];
            let addr = BlockAddr::decode(body).unwrap();
            if random.chance(self.network.loss_percent) || self.is_held(blocks[at]) {
                self.under_way.push(blocks[at]);
                continue;
            }
            if random.chance(self.network.parts_percent) {
                in_parts.push((blocks[at], addr, segment[24..24 + BLOCK_LEN].to_vec()));
                continue;
            }
            segments.push((addr, at as u8));
            self.delivered[index(blocks[at].stream)]
                .insert(blocks[at].block.0..blocks[at].block.0 + 1);
            if random.chance(self.network.repeat_percent) {
                segments.push((addr, at as u8));
                self.under_way.push(blocks[at]);
            }
        }
        incoming.place(batch, &segments)?;
        for (block, addr, bytes) in in_parts {
            if self.deliver_in_parts(incoming, random, addr, &bytes)? {
                self.delivered[index(block.stream)].insert(block.block.0..block.block.0 + 1);
            } else {
                self.under_way.push(block);
            }
        }
        assert_eq!(self.pool.free(), 2, "no batch is held back");
        for stream in [Stream::List, Stream::Content] {
            // Copies still under way may be asked for again although they are released.
            let floor = self.delivered[index(stream)].first_gap();
            if let Some(available) = self.outgoing.release(stream, BlockNo(floor)) {
                self.grow(available);
            }
        }
        Ok(())
    }

    fn is_held(&self, block: BlockAddr) -> bool {
        let others = self.available.content_blocks.saturating_sub(1);
        block.stream == Stream::Content
            && self.network.held == Some(block.block.0)
            && self.delivered[index(Stream::Content)].len() < others
    }

    /// Cuts a block in a few parts, loses some; whether all have arrived.
    fn deliver_in_parts(
        &mut self,
        incoming: &mut Incoming,
        random: &mut Random,
        addr: BlockAddr,
        bytes: &[u8],
    ) -> Result<bool, DiskError> {
        let count = 2 + random.below(7);
        let mut batch = self.pool.try_take().unwrap();
        batch.shape(segment_len(part_len(BLOCK_LEN, count)), count);
        let mut segments = Vec::new();
        for (at, segment) in batch.segments_mut().enumerate() {
            let part = Part::new(at, count).unwrap();
            let range = part.range(BLOCK_LEN);
            segment[24..24 + range.len()].copy_from_slice(&bytes[range]);
            if !random.chance(self.network.loss_percent) {
                segments.push((addr.with_part(part), at as u8));
            }
        }
        incoming.place(batch, &segments)?;
        Ok(segments.len() == count)
    }

    fn pick(&mut self, random: &mut Random) -> Vec<BlockAddr> {
        let count = (1 + random.below(45)).min(self.under_way.len());
        if !self.network.shuffle {
            return self.under_way.drain(..count).collect();
        }
        let mut blocks = Vec::with_capacity(count);
        // Half the time a run, half the time anything.
        if random.chance(50) {
            let start = random.below(self.under_way.len() - count + 1);
            blocks.extend(self.under_way.drain(start..start + count));
        } else {
            for _ in 0..count {
                let at = random.below(self.under_way.len());
                blocks.push(self.under_way.swap_remove(at));
            }
        }
        blocks
    }
}

/// What is at a path, as far as a transfer can keep it.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Dir {
        mode: u32,
        modified: (i64, i64),
    },
    File {
        mode: u32,
        modified: (i64, i64),
        bytes: Vec<u8>,
    },
    Symlink {
        target: PathBuf,
        modified: (i64, i64),
    },
    Other,
}

/// All that is below `top`, by path.
pub fn look(top: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = found.permissions().mode() & 0o7777;
            let modified = (found.mtime(), found.mtime_nsec());
            let what = if found.is_dir() {
                dirs.push(path.clone());
                Seen::Dir { mode, modified }
            } else if found.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                Seen::Symlink { target, modified }
            } else if found.is_file() {
                let bytes = fs::read(&path).unwrap();
                Seen::File {
                    mode,
                    modified,
                    bytes,
                }
            } else {
                Seen::Other
            };
            seen.insert(path.strip_prefix(top).unwrap().to_owned(), what);
        }
    }
    seen
}

/// Compares two trees and says where they differ.
pub fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (look(left), look(right));
    for (path, what) in &left {
        assert!(
            right.get(path) == Some(what),
            "{path:?} differs or is missing"
        );
    }
    for path in right.keys() {
        assert!(left.contains_key(path), "{path:?} is too much");
    }
}

pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// Permissions and times, or nothing.
fn kept(preserve: bool) -> Preserve {
    if preserve {
        Preserve::USUAL
    } else {
        Preserve::default()
    }
}
