//! A source tree, where it goes, and runs between the two that may be cut off.
#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations
)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use haul_disk::{
    Asked, DiskError, Fsync, Incoming, Landing, Preserve, ReceiveOptions, Received, Resume,
    has_leftovers,
};

use super::{BLOCK_LEN, CLEAN, Network, drive, outgoing};

const JOURNAL: &str = ".haul-journal";
pub const MIB: usize = 1 << 20;

/// A source tree, and where it goes.
pub struct Place {
    pub work: tempfile::TempDir,
    pub fsync: Fsync,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    pub fn new() -> Self {
        Self::with(Fsync::Never)
    }

    pub fn with(fsync: Fsync) -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir(work.path().join("to")).unwrap();
        fs::create_dir(work.path().join("tree")).unwrap();
        Self { work, fsync }
    }

    pub fn source(&self) -> PathBuf {
        self.work.path().join("tree")
    }

    pub fn target(&self) -> PathBuf {
        self.work.path().join("to/tree")
    }

    pub fn journal(&self) -> PathBuf {
        self.work.path().join("to").join(JOURNAL)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn incoming(&self) -> Incoming {
        let to = self.work.path().join("to");
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(to.as_os_str());
        let asked = Asked {
            count: 1,
            contents: false,
        };
        let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
        let mut options = ReceiveOptions::new(Preserve::default());
        options.placing.fsync = self.fsync;
        let there = has_leftovers(&root, &landing, &options.placing);
        options.resume = Resume::Attributes;
        let mut incoming = Incoming::new(root, landing, options, BLOCK_LEN).unwrap();
        if there {
            incoming.tell_had();
        }
        incoming
    }

    /// Runs until so many blocks have been delivered.
    pub fn run(&self, network: Network, seed: u64, stop_at: u64) -> (Option<Received>, u64) {
        self.try_run(network, seed, stop_at).unwrap()
    }

    pub fn try_run(
        &self,
        network: Network,
        seed: u64,
        stop_at: u64,
    ) -> Result<(Option<Received>, u64), DiskError> {
        let source = self.source();
        let outgoing = outgoing(&[&source]);
        drive(
            &Arc::clone(&outgoing),
            self.incoming(),
            network,
            seed,
            &mut |delivered| delivered < stop_at,
        )
    }

    /// The run that completes: what had been there, and how many blocks were sent.
    pub fn complete(&self, seed: u64) -> (Received, u64) {
        let (received, sent) = self.run(CLEAN, seed, u64::MAX);
        let (from, to) = (files(&self.source()), files(&self.target()));
        assert_eq!(from.len(), to.len(), "{to:?}");
        for (from, to) in from.iter().zip(&to) {
            assert!(
                fs::read(from).unwrap() == fs::read(to).unwrap(),
                "{to:?} differs"
            );
        }
        assert!(!self.journal().exists(), "gone when all has arrived");
        (received.unwrap(), sent)
    }

    /// Gives the copies the times of their sources.
    pub fn keep_times(&self) {
        for (from, to) in files(&self.source()).iter().zip(files(&self.target())) {
            let modified = fs::metadata(from).unwrap().modified().unwrap();
            let file = File::options().write(true).open(to).unwrap();
            file.set_modified(modified).unwrap();
        }
    }
}

pub fn files(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn blocks(bytes: usize) -> u64 {
    bytes.div_ceil(BLOCK_LEN) as u64
}
