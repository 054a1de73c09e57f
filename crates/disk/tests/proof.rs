//! What was written is what was read, or it is not there.
#![allow(clippy::unwrap_used, missing_docs)]

mod pair;

use std::{
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use haul_disk::{
    Asked, DiskError, FailureKind, Incoming, Landing, Outgoing, Preserve, Proofs, ReceiveOptions,
    Received, Resume, ScanOptions, Wanted,
};
use pair::{BLOCK_LEN, CLEAN, Network, ROUGH, Random, assert_same, drive};

const MIB: usize = 1 << 20;

struct Place {
    work: tempfile::TempDir,
    proofs: Proofs,
    compare: Resume,
}

impl Place {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir(work.path().join("to")).unwrap();
        fs::create_dir(work.path().join("tree")).unwrap();
        Self {
            work,
            proofs: Proofs::ALL,
            compare: Resume::Attributes,
        }
    }

    fn source(&self) -> PathBuf {
        self.work.path().join("tree")
    }

    fn target(&self) -> PathBuf {
        self.work.path().join("to/tree")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.source().join(name), bytes).unwrap();
    }

    /// Files of all sizes, with and without content.
    fn fill(&self, random: &mut Random) {
        for number in 0..200 {
            let len = random.below(9000);
            self.write(&format!("small-{number}"), &random.bytes(len));
        }
        self.write("empty", b"");
        self.write("large", &random.bytes(3 * MIB + 7));
        let sparse = File::create(self.source().join("sparse")).unwrap();
        sparse.set_len(5 * MIB as u64).unwrap();
        sparse
            .write_all_at(&random.bytes(100_000), 2_000_000)
            .unwrap();
        let hole = File::create(self.source().join("hole")).unwrap();
        hole.set_len(MIB as u64).unwrap();
    }

    fn outgoing(&self) -> Arc<Outgoing> {
        let options = ScanOptions {
            recursive: true,
            times: true,
            compare: self.compare,
            proofs: self.proofs,
            ..ScanOptions::default()
        };
        Outgoing::new(BLOCK_LEN, Wanted::new(vec![self.source()], options))
    }

    fn incoming(&self) -> Incoming {
        let to = self.work.path().join("to");
        let asked = Asked {
            count: 1,
            contents: false,
        };
        let bytes = to.as_os_str().as_bytes();
        let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
        let mut options = ReceiveOptions::new(Preserve::USUAL);
        options.resume = self.compare;
        options.proofs = self.proofs;
        options.awaits_proofs = self.proofs.all;
        options.file_events = true;
        let mut incoming = Incoming::new(root, landing, options, BLOCK_LEN).unwrap();
        incoming.tell_had();
        incoming
    }

    fn run(
        &self,
        network: Network,
        seed: u64,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(Option<Received>, u64), DiskError> {
        drive(&self.outgoing(), self.incoming(), network, seed, goes_on)
    }

    fn complete(&self, network: Network, seed: u64) -> (Received, u64) {
        let (received, sent) = self.run(network, seed, &mut |_| true).unwrap();
        (received.unwrap(), sent)
    }
}

/// The only one, and why.
fn failure(received: &Received) -> (String, FailureKind) {
    assert_eq!(
        (received.failed_count, received.failed.len()),
        (1, 1),
        "{received:?}"
    );
    let failed = &received.failed[0];
    (
        String::from_utf8_lossy(&failed.path).into_owned(),
        failed.why,
    )
}

#[test]
fn everything_is_proved_over_any_network() {
    for (network, seed) in [(CLEAN, 1), (ROUGH, 2), (ROUGH, 3), (ROUGH, 4)] {
        for proofs in [Proofs::SENT, Proofs::ALL] {
            let place = Place {
                proofs,
                ..Place::new()
            };
            place.fill(&mut Random(seed));
            let (received, _) = place.complete(network, seed);
            assert_eq!((received.failed_count, received.files), (0, 204));
            assert_same(&place.source(), &place.target());
            // Nothing is sent again, and what is there is proved where all is.
            let (received, sent) = place.complete(network, seed);
            assert_eq!((received.there_files, sent), (204, 0));
        }
    }
}

#[test]
fn both_sides_tell_the_same_of_all_files() {
    let place = Place::new();
    place.fill(&mut Random(5));
    for _ in 0..2 {
        let (outgoing, mut told) = (place.outgoing(), Vec::new());
        let incoming = place.incoming();
        let mut of_sender = Vec::new();
        let ended = drive(&outgoing, incoming, ROUGH, 5, &mut |_| true).unwrap();
        assert_eq!(ended.0.unwrap().failed_count, 0);
        while let Some(event) = outgoing.poll_event() {
            of_sender.push((event.path, event.size, event.digests.unwrap()));
        }
        for entry in fs::read_dir(place.target()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let name = [b"tree/", path.file_name().unwrap().as_bytes()].concat();
            told.push((name, bytes.len() as u64, *blake3::hash(&bytes).as_bytes()));
        }
        let mut of_sender: Vec<_> = of_sender
            .into_iter()
            .map(|(path, size, digests)| (path, size, digests.blake3))
            .collect();
        of_sender.sort();
        told.sort();
        assert!(of_sender == told, "{} {}", of_sender.len(), told.len());
    }
}

/// A bit changes in what has been written, behind the receiver's back.
#[test]
fn corruption_on_the_receivers_disk_is_found() {
    let place = Place::new();
    place.write("a", &Random(1).bytes(9000));
    place.write("large", &Random(2).bytes(8 * MIB));
    let partial = place.target().join(".large.haul-part");
    let mut flipped = false;
    // Nothing behind the block that is held can be read back before it comes.
    let network = Network {
        held: Some(20),
        ..CLEAN
    };
    let (received, _) = place
        .run(network, 1, &mut |delivered| {
            if !flipped
                && delivered > (4 * MIB / BLOCK_LEN) as u64
                && let Ok(file) = File::options().read(true).write(true).open(&partial)
            {
                let at = 2 * MIB as u64;
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 4], at).unwrap();
                flipped = true;
            }
            true
        })
        .unwrap();
    let received = received.unwrap();
    assert!(flipped);
    assert_eq!(
        failure(&received),
        ("tree/large".to_owned(), FailureKind::Corrupt)
    );
    assert_eq!((received.corrupt, received.files), (1, 1));
    assert_eq!(
        fs::read_dir(place.target()).unwrap().count(),
        1,
        "only the other file"
    );
    let (received, _) = place.complete(CLEAN, 2);
    assert_eq!(received.failed_count, 0);
    assert_same(&place.source(), &place.target());
}

/// What the sender reads for a block that was lost is not what it read for its first copy, though nothing
/// shows that the file has changed.
#[test]
fn corruption_between_two_readings_at_the_sender_is_found() {
    for size in [9000, 4 * MIB] {
        let place = Place::new();
        let path = place.source().join("file");
        place.write("file", &Random(7).bytes(size));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let lossy = Network {
            loss_percent: 60,
            ..CLEAN
        };
        let mut flipped = false;
        let (received, _) = place
            .run(lossy, 3, &mut |delivered| {
                if !flipped && delivered > 2 {
                    let file = File::options().read(true).write(true).open(&path).unwrap();
                    let mut bytes = vec![0; size];
                    file.read_exact_at(&mut bytes, 0).unwrap();
                    bytes.iter_mut().for_each(|byte| *byte ^= 1);
                    file.write_all_at(&bytes, 0).unwrap();
                    file.set_modified(modified).unwrap();
                    flipped = true;
                }
                true
            })
            .unwrap();
        let received = received.unwrap();
        assert_eq!(
            failure(&received),
            ("tree/file".to_owned(), FailureKind::Corrupt)
        );
        assert!(!place.target().join("file").exists());
    }
}

#[test]
fn a_run_that_was_cut_off_is_proved_as_a_whole() {
    for seed in 0..6 {
        let place = Place::new();
        let mut random = Random(seed);
        place.write("large", &random.bytes(12 * MIB));
        place.write("other", &random.bytes(6 * MIB));
        let blocks = (18 * MIB / BLOCK_LEN) as u64;
        let stop_at = blocks / 7 * (seed + 1);
        place
            .run(ROUGH, seed, &mut |delivered| delivered < stop_at)
            .unwrap();
        let partial = place.target().join(".large.haul-part");
        let is_corrupt = seed % 2 == 1 && partial.exists();
        if is_corrupt {
            // In what the journal vouches for.
            let file = File::options().write(true).open(&partial).unwrap();
            file.write_all_at(b"!", 12_345).unwrap();
        }
        let (received, sent) = place.complete(ROUGH, seed);
        assert!(sent < blocks, "{sent}");
        if is_corrupt {
            assert_eq!(
                failure(&received),
                ("tree/large".to_owned(), FailureKind::Corrupt)
            );
            assert!(!place.target().join("large").exists());
            assert_eq!(place.complete(CLEAN, seed).0.failed_count, 0);
        }
        assert_same(&place.source(), &place.target());
    }
}

#[test]
fn levels_see_what_attributes_hide() {
    let end = 3 * MIB as u64 + 6;
    for (compare, at, is_seen) in [
        (Resume::Attributes, 0, false),
        (Resume::Samples, 0, true),
        (Resume::Samples, end, true),
        (Resume::Digest, 0, true),
        (Resume::Digest, 1_234_567, true),
        (Resume::Never, 0, true),
    ] {
        let place = Place {
            compare,
            proofs: Proofs::NONE,
            ..Place::new()
        };
        place.fill(&mut Random(8));
        place.complete(CLEAN, 1);
        let copy = place.target().join("large");
        let modified = fs::metadata(&copy).unwrap().modified().unwrap();
        let file = File::options().read(true).write(true).open(&copy).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        file.set_modified(modified).unwrap();
        let (received, _) = place.complete(CLEAN, 2);
        let expected = match compare {
            Resume::Never => 0,
            _ => 204 - u64::from(is_seen),
        };
        assert_eq!(received.there_files, expected, "{compare:?} at {at}");
        if is_seen {
            assert_same(&place.source(), &place.target());
        }
    }
}
