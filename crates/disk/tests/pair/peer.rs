//! A sender that says whatever a test wants it to say.

use std::path::Path;

use haul_batch::Pool;
use haul_disk::{Asked, DiskError, Incoming, Landing, Placed, Preserve, ReceiveOptions, Root};
use haul_manifest::{DirId, Entry, Layout, ListWriter, Meta, Name, TORN};
use haul_wire::{BlockAddr, segment_len};

pub const BLOCK_LEN: usize = 100;

pub struct Peer {
    pub incoming: Incoming,
    writer: ListWriter,
    sent: u64,
    files: u64,
    entries: u64,
    content: u64,
    pool: Pool,
}

impl Peer {
    pub fn new(destination: &Path) -> Self {
        Self::with(destination, ReceiveOptions::new(Preserve::USUAL))
    }

    /// One whose names are resolved one by one, as where the kernel has no `openat2`.
    pub fn walking(destination: &Path) -> Self {
        Self::through(
            destination,
            ReceiveOptions::new(Preserve::USUAL),
            Root::walking,
        )
    }

    pub fn with(destination: &Path, options: ReceiveOptions) -> Self {
        Self::through(destination, options, |root| root)
    }

    fn through(destination: &Path, options: ReceiveOptions, by: fn(Root) -> Root) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let asked = Asked {
            count: 1,
            contents: false,
        };
        let bytes = destination.as_os_str().as_bytes();
        let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
        Self {
            incoming: Incoming::new(by(root), landing, options, BLOCK_LEN).unwrap(),
            writer: ListWriter::new(BLOCK_LEN),
            sent: 0,
            files: 0,
            entries: 0,
            content: 0,
            pool: Pool::new(1),
        }
    }

    pub fn list(&mut self, entry: Entry) -> Result<Placed, DiskError> {
        if let Entry::File { size, layout, .. } = &entry {
            self.files += 1;
            self.content += layout.content_len(*size).unwrap();
        }
        self.files += u64::from(matches!(entry, Entry::Stream { .. }));
        if let Entry::Closed { size, .. } = &entry {
            self.content += size;
        }
        self.entries += 1;
        self.writer.push(&entry);
        self.writer.pad();
        let mut last = Placed::default();
        while self.sent < self.writer.blocks() {
            let block = self.writer.block(self.sent).unwrap().to_vec();
            last = self.send(BlockAddr::list(self.sent), &block)?;
            self.sent += 1;
        }
        Ok(last)
    }

    pub fn end(&mut self) -> Result<Placed, DiskError> {
        self.list(Entry::End {
            content_bytes: self.content,
            files: self.files,
            entries: self.entries,
            unlisted: 0,
        })
    }

    pub fn content(&mut self, block: u64, byte: u8) -> Result<Placed, DiskError> {
        self.send(BlockAddr::content(block), &[byte; BLOCK_LEN])
    }

    pub fn torn(&mut self, block: u64, byte: u8) -> Result<Placed, DiskError> {
        self.send(BlockAddr::content(block | TORN), &[byte; BLOCK_LEN])
    }

    pub fn send(&mut self, addr: BlockAddr, bytes: &[u8]) -> Result<Placed, DiskError> {
        let mut batch = self.pool.try_take().unwrap();
        batch.shape(segment_len(bytes.len()), 1);
        batch.bytes_mut()[24..24 + bytes.len()].copy_from_slice(bytes);
        self.incoming.place(batch, &[(addr, 0)])
    }
}

pub fn name(name: &str) -> Name {
    Name::new(name.as_bytes()).unwrap()
}

pub fn file(parent: u32, called: &str, size: u64) -> Entry {
    Entry::File {
        parent: DirId(parent),
        name: name(called),
        meta: meta(0o644),
        size,
        layout: Layout::Dense,
        digest: None,
    }
}

pub fn stream(parent: u32, called: &str) -> Entry {
    Entry::Stream {
        parent: DirId(parent),
        name: name(called),
        meta: meta(0o600),
    }
}

pub fn closed(size: u64) -> Entry {
    let meta = meta(0o640);
    Entry::Closed { size, meta }
}

pub fn dir(parent: u32, called: &str) -> Entry {
    Entry::Dir {
        parent: DirId(parent),
        name: name(called),
        meta: meta(0o755),
    }
}

pub fn link(parent: u32, called: &str, target: &str) -> Entry {
    Entry::Symlink {
        parent: DirId(parent),
        name: name(called),
        meta: meta(0o777),
        target: target.as_bytes().into(),
    }
}

pub fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        ..Meta::default()
    }
}
