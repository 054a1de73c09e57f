//! Pipes in the place of a file at this end, growing files and ranges at either.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File},
    io::{PipeReader, PipeWriter, Read as _, Seek as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    sync::Arc,
    thread::{JoinHandle, spawn},
};

use tokio::time::timeout;

use haul_transfer::{Direction, ErrorCode, Overwrite, Policy, Resume};
use pair::{
    BOTH, CALM, Case, Under,
    proxy::{Proxy, Weather},
    tree,
};

const ROUGH: Weather = Weather {
    loss: 20,
    repeat: 30,
    reorder: 20,
    damage: 2,
};

fn shared(end: impl Into<OwnedFd>) -> Option<Arc<File>> {
    Some(Arc::new(File::from(end.into())))
}

/// An upload of what is written into the pipe.
fn from_pipe(destination: &Path) -> (Case, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut case = Case::new(Direction::Upload, Path::new("stdin"), destination);
    case.job.options.input = shared(reader);
    (case, writer)
}

/// A download, and what comes out of its pipe.
fn into_pipe(source: &Path) -> (Case, JoinHandle<Vec<u8>>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut case = Case::new(Direction::Download, source, Path::new("-"));
    case.job.options.output = shared(writer);
    case.job.options.taking.recursive = false;
    (case, all_of(reader))
}

fn all_of(mut reader: PipeReader) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        found
    })
}

fn paced(case: &mut Case, weather: Weather, seed: u64) -> Proxy {
    case.job.options.policy = Policy::Fixed;
    case.job.options.rate_target_bps = Some(40_000_000);
    Proxy::between(case, weather, seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_goes_up_and_a_file_comes_out_of_one() {
    for (seed, weather) in [CALM, ROUGH].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        let content = tree::noise(seed as u64, 4_000_001);
        let (mut case, mut writer) = from_pipe(&there);
        let _proxy = paced(&mut case, weather, seed as u64);
        let written = content.clone();
        let writing = spawn(move || writer.write_all(&written).unwrap());
        let (summary, _) = case.run().await.succeeded();
        writing.join().unwrap();
        assert_eq!((summary.files, summary.bytes), (1, content.len() as u64));
        assert!(fs::read(&there).unwrap() == content);

        let (mut case, reading) = into_pipe(&there);
        let _proxy = paced(&mut case, weather, seed as u64);
        // What need not be sent is of no use where everything has to come in order.
        case.job.options.resume = Resume::Never;
        let (summary, _) = case.run().await.succeeded();
        assert_eq!((summary.files, summary.bytes), (1, content.len() as u64));
        assert!(reading.join().unwrap() == content);
    }
}

/// More than may be on its way at once, out of order, ahead of a reader who waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_waits_holds_the_sender_up() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let content = tree::noise(5, 100_000_000);
    fs::write(&source, &content).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut case = Case::new(Direction::Download, &source, Path::new("-"));
    case.job.options.output = shared(writer);
    case.job.options.taking.recursive = false;
    let mut under = case.start();
    let mut found = vec![0; 10];
    reader.read_exact(&mut found).unwrap();
    // The pipe is full, and so is what may wait for it, for as long as nobody reads on.
    for _ in 0..10 {
        let told = timeout(pair::PATIENCE, under.events.recv()).await;
        assert!(told.unwrap().is_some(), "it goes on");
    }
    let reading = spawn(move || {
        reader.read_to_end(&mut found).unwrap();
        found
    });
    under.end().await.succeeded();
    assert!(reading.join().unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_a_directory_has_its_name_there() {
    let dir = tempfile::tempdir().unwrap();
    let (case, writer) = from_pipe(dir.path());
    drop(writer);
    case.run().await.succeeded();
    assert_eq!(fs::read(dir.path().join("stdin")).unwrap(), b"");
}

/// What is there of a sparse file are two bytes and holes.
#[tokio::test(flavor = "multi_thread")]
async fn holes_come_out_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("sparse");
    let mut file = File::create(&source).unwrap();
    let size = 3 << 20;
    file.set_len(size).unwrap();
    for at in [1 << 20, 2 << 20] {
        file.seek(std::io::SeekFrom::Start(at)).unwrap();
        file.write_all(b"x").unwrap();
    }
    assert!(
        file.metadata().unwrap().blocks() * 512 < size,
        "it is sparse"
    );
    let expected = fs::read(&source).unwrap();
    let (case, reading) = into_pipe(&source);
    let (summary, _) = case.run().await.succeeded();
    assert!(summary.udp_bytes < size, "{summary:?}");
    assert!(reading.join().unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_file_goes_into_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let (case, reading) = into_pipe(dir.path());
    let (ours, _) = case.run().await.failed();
    assert_eq!(ours.code(), ErrorCode::SourceUnreadable, "{ours}");
    assert_eq!(reading.join().unwrap(), b"");

    let (case, reading) = into_pipe(&dir.path().join("*"));
    let (ours, _) = case.run().await.failed();
    assert_eq!(ours.code(), ErrorCode::Usage, "{ours}");
    assert_eq!(reading.join().unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_ends_the_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::write(&source, tree::noise(1, 1_000_000)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut case = Case::new(Direction::Download, &source, Path::new("-"));
    case.job.options.output = shared(writer);
    let (ours, _) = case.run().await.failed();
    assert_eq!(ours.code(), ErrorCode::DiskFailed, "{ours}");
    assert!(ours.to_string().contains("standard output"), "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_file_is_followed_from_either_end() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("log"), "first\n").unwrap();
        let mut log = File::options().append(true).open(at("log")).unwrap();
        let mut case = Case::new(direction, &at("log"), &at("copy"));
        case.job.options.taking.grow_seconds = Some(4);
        // Nothing is compared, and the sender waits all the same until it hears so.
        case.job.options.placing.overwrite = Overwrite::Always;
        let mut under = case.start();
        for line in 0..3 {
            log.write_all(&tree::noise(line, 300_000)).unwrap();
            under.until_bytes((line + 1) * 290_000).await;
        }
        let (summary, _) = under.end().await.succeeded();
        assert_eq!(summary.bytes, 900_006);
        let same = fs::read(at("log")).unwrap() == fs::read(at("copy")).unwrap();
        assert!(same, "{direction:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_waits_for_a_pipe_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    let (case, mut writer) = from_pipe(&there);
    let mut under: Under = case.start();
    writer.write_all(&tree::noise(1, 100_000)).unwrap();
    under.until_bytes(50_000).await;
    under.cancel.send(true).unwrap();
    let (ours, theirs) = under.end().await.failed();
    assert_eq!(ours.code(), ErrorCode::Cancelled, "{ours}");
    assert_eq!(theirs.code(), ErrorCode::Cancelled, "{theirs}");
    drop(writer);
    assert!(!there.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_comes_from_either_end() {
    for direction in BOTH {
        let (dir, source, destination) = pair::place(500_000);
        let content = fs::read(&source).unwrap();
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.range = Some((1_234, 345_678));
        let (summary, _) = case.run().await.succeeded();
        assert_eq!(summary.bytes, 344_444);
        assert!(fs::read(&destination).unwrap() == content[1_234..345_678]);
        // Another range of the same length and time is another.
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.range = Some((0, 344_444));
        case.run().await.succeeded();
        assert!(fs::read(&destination).unwrap() == content[..344_444]);

        for (range, sources) in [
            (Some((0, 500_001)), vec![source.clone()]),
            (Some((0, 1)), vec![source.clone(), source.clone()]),
            (Some((0, 1)), vec![dir.path().to_owned()]),
        ] {
            let mut case = Case::new(direction, &source, dir.path());
            case.job.options.taking.range = range;
            let bytes = |path: &std::path::PathBuf| path.as_os_str().as_bytes().to_vec();
            case.job.sources = sources.iter().map(bytes).collect();
            let error = case.run().await.initiator.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Usage, "{direction:?} {error}");
        }
    }
    let (_dir, source, _) = pair::place(500_000);
    let (mut case, reading) = into_pipe(&source);
    case.job.options.taking.range = Some((499_990, u64::MAX));
    case.run().await.succeeded();
    assert!(reading.join().unwrap() == fs::read(&source).unwrap()[499_990..]);
}
