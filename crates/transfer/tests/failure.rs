//! Transfers that fail: each for its own reason, said at both ends, with nothing left half done.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{fs, path::Path, process::Command};

use haul_transfer::{
    Direction, ErrorCode, Event, Phase, Policy, SuiteId, TransferError, UdpDirection,
};
use pair::{Case, LOCALHOST, tree};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex};

const BOTH: [Direction; 2] = [Direction::Upload, Direction::Download];

/// A source of this size, and an empty place to land.
fn place(len: usize) -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (dir.path().join("source"), dir.path().join("landed"));
    fs::write(&source, tree::noise(3, len)).unwrap();
    (dir, source, destination)
}

/// Slow enough that a few megabytes last for the test.
fn slowly(case: &mut Case, bits_per_second: u64) {
    case.job.options.policy = Policy::Fixed;
    case.job.options.rate_target_bps = Some(bits_per_second);
}

async fn fails(case: Case, ours: ErrorCode, theirs: ErrorCode) -> (TransferError, TransferError) {
    let (near, far) = case.run().await.failed();
    assert_eq!((near.code(), far.code()), (ours, theirs), "{near} / {far}");
    (near, far)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_is_named_wherever_it_is_missing() {
    let (dir, _, destination) = place(1);
    let missing = dir.path().join("mis\x1bsing");
    for direction in BOTH {
        let case = Case::new(direction, &missing, &destination);
        let (ours, _) = match direction {
            // Nobody is troubled with what cannot be sent.
            Direction::Upload => {
                fails(case, ErrorCode::NoSuchSource, ErrorCode::NoSuchSource).await
            }
            Direction::Download => {
                fails(case, ErrorCode::NoSuchSource, ErrorCode::NoSuchSource).await
            }
        };
        let shown = ours.to_string();
        assert!(shown.contains("sing") && !shown.contains('\x1b'), "{shown}");
        assert!(!destination.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_written_is_named_wherever_it_is() {
    let (dir, source, _) = place(1);
    let nowhere = dir.path().join("no/such/dir/file");
    for direction in BOTH {
        let case = Case::new(direction, &source, &nowhere);
        let code = ErrorCode::DestinationUnwritable;
        let (ours, _) = fails(case, code, code).await;
        assert!(ours.to_string().contains("no/such/dir"), "{ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_full_disk_at_both_ends() {
    let (_dir, source, _) = place(4 << 20);
    let Some(small) = Mounted::new("size=1m") else {
        return;
    };
    for direction in BOTH {
        let case = Case::new(direction, &source, &small.0.path().join("copy"));
        fails(case, ErrorCode::DiskFull, ErrorCode::DiskFull).await;
        assert!(!small.0.path().join("copy").exists());
    }
}

/// A small file system in memory.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// `None` where that is not allowed.
    fn new(options: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "haul-test"])
            .arg(at.path());
        mount
            .output()
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_fail_alone_make_a_partial_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir(&source).unwrap();
    fs::create_dir_all(destination.join("in/taken")).unwrap();
    for name in ["fine", "taken"] {
        fs::write(source.join(name), name).unwrap();
    }
    for direction in BOTH {
        let case = Case::new(direction, &source, &destination);
        let (ours, theirs) = fails(case, ErrorCode::Partial, ErrorCode::Partial).await;
        for error in [ours, theirs] {
            let TransferError::Partial { failures, summary } = error else {
                panic!("{error}");
            };
            assert_eq!((summary.files, summary.failed), (1, 1));
            assert_eq!(failures[0].path, "in/taken");
        }
        assert_eq!(fs::read(destination.join("in/fine")).unwrap(), b"fine");
        fs::remove_file(destination.join("in/fine")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_both_ends_and_keeps_what_has_arrived() {
    let (dir, source, destination) = place(8 << 20);
    for direction in BOTH {
        let mut case = Case::new(direction, &source, &destination);
        slowly(&mut case, 20_000_000);
        let mut under = case.start();
        under.until_bytes(500_000).await;
        under.cancel.send(true).unwrap();
        let (ours, theirs) = under.end().await.failed();
        assert!(
            matches!(ours, TransferError::Cancelled { by_peer: false }),
            "{ours}"
        );
        assert!(
            matches!(theirs, TransferError::Cancelled { by_peer: true }),
            "{theirs}"
        );
        assert!(!destination.exists());
        let kept: Vec<_> = tree::names(dir.path())
            .into_iter()
            .filter(|name| name != Path::new("source"))
            .collect();
        let names = [".haul-journal", ".landed.haul-part"].map(Path::new);
        assert_eq!(kept, names, "what the next run goes on with");
        for name in kept {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responder_that_is_stopped_says_so() {
    let (_dir, source, destination) = place(8 << 20);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    slowly(&mut case, 20_000_000);
    case.setup.cancel = Some(stopped);
    let mut under = case.start();
    under.until_bytes(500_000).await;
    stop.send(true).unwrap();
    let (ours, theirs) = under.end().await.failed();
    assert!(
        matches!(ours, TransferError::Cancelled { by_peer: true }),
        "{ours}"
    );
    assert!(
        matches!(theirs, TransferError::Cancelled { by_peer: false }),
        "{theirs}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c49_a_control_channel_that_ends_mid_way_ends_both_ends() {
    let (_dir, source, destination) = place(8 << 20);
    for direction in BOTH {
        let mut case = Case::new(direction, &source, &destination);
        slowly(&mut case, 20_000_000);
        let (near, mut near_middle) = duplex(64 * 1024);
        let (far, mut far_middle) = duplex(64 * 1024);
        let wire = tokio::spawn(async move {
            // Ends when it is aborted: both streams are dropped then.
            let _ = copy_bidirectional(&mut near_middle, &mut far_middle).await;
        });
        let mut under = case.start_over(near, far);
        under.until_bytes(500_000).await;
        wire.abort();
        let (ours, theirs) = under.end().await.failed();
        for error in [ours, theirs] {
            let TransferError::ConnectionLost { during, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(
                (*during, error.code()),
                (Phase::Data, ErrorCode::ConnectionLost)
            );
        }
    }
}

/// The channel ends after each number of bytes that leads into another phase of the set-up.
#[tokio::test(flavor = "multi_thread")]
async fn c49_a_control_channel_that_ends_during_the_set_up_ends_both_ends() {
    let (_dir, source, destination) = place(100);
    for passed in [0, 3, 7, 50, 105, 120, 142] {
        let case = Case::new(Direction::Upload, &source, &destination);
        let (near, near_middle) = duplex(64 * 1024);
        let (far, far_middle) = duplex(64 * 1024);
        tokio::spawn(async move {
            let (mut from_near, mut to_near) = tokio::io::split(near_middle);
            let (mut from_far, mut to_far) = tokio::io::split(far_middle);
            let down = async {
                let mut limited = (&mut from_far).take(passed);
                let _ = tokio::io::copy(&mut limited, &mut to_near).await;
            };
            let up = async {
                let _ = tokio::io::copy(&mut from_near, &mut to_far).await;
            };
            tokio::select! { () = down => {}, () = up => {} }
            let _ = to_near.shutdown().await;
            let _ = to_far.shutdown().await;
        });
        let ended = case.start_over(near, far).end().await;
        let (ours, theirs) = ended.failed();
        let expected = if passed < 7 {
            ErrorCode::RemoteMissing
        } else {
            ErrorCode::ConnectionLost
        };
        assert_eq!(ours.code(), expected, "{passed}: {ours}");
        assert_eq!(
            theirs.code(),
            ErrorCode::ConnectionLost,
            "{passed}: {theirs}"
        );
        assert!(!destination.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_responder_does_not_allow_is_refused_with_its_reason() {
    let (dir, source, destination) = place(100);
    let case = |change: fn(&mut Case)| {
        let mut case = Case::new(Direction::Upload, &source, &destination);
        change(&mut case);
        case
    };
    let denied = ErrorCode::NotPermitted;
    fails(case(|case| case.setup.allow_upload = false), denied, denied).await;
    let ports = case(|case| {
        case.setup.udp_ports = 33001..=33100;
        case.job.options.udp_ports = 40000..=40010;
    });
    fails(ports, denied, denied).await;
    let mut download = Case::new(Direction::Download, &source, &destination);
    download.setup.allow_download = false;
    fails(download, denied, denied).await;
    let mut jailed = Case::new(Direction::Upload, &source, Path::new("../up"));
    jailed.setup.jail = Some(dir.path().to_path_buf());
    fails(jailed, denied, denied).await;

    let cipher = ErrorCode::NoCommonCipher;
    let none = case(|case| {
        case.job.options.suites = vec![SuiteId::NoneCmac];
        case.setup.allow_none = false;
    });
    fails(none, cipher, cipher).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anything_moves() {
    let (_dir, source, destination) = place(100);
    for direction in BOTH {
        for change in [
            (|case| case.job.options.policy = Policy::Fixed) as fn(&mut Case),
            |case| case.job.sources.clear(),
        ] {
            let mut case = Case::new(direction, &source, &destination);
            change(&mut case);
            let (ours, _) = case.run().await.failed();
            assert_eq!(ours.code(), ErrorCode::Usage, "{direction:?}: {ours}");
            assert!(!destination.exists());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_from_the_wrong_address_opens_nothing() {
    let (_dir, source, destination) = place(100);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.job.options.fallback = false;
    // SSH came from elsewhere, so that every hello is a stranger's.
    case.setup.ssh_peer = Some("192.0.2.1".parse().unwrap());
    let (ours, theirs) = case.run().await.failed();
    let TransferError::UdpClosed { direction, .. } = ours else {
        panic!("{ours}");
    };
    assert_eq!(direction, UdpDirection::ToServer);
    assert_eq!(
        theirs.code(),
        ErrorCode::UdpClosed,
        "the initiator has told: {theirs}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_source_is_an_option() {
    let (_dir, source, destination) = place(100);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.setup.ssh_peer = Some("192.0.2.1".parse().unwrap());
    case.setup.any_source = true;
    case.run().await.succeeded();
    assert_eq!(fs::metadata(&destination).unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn special_files_are_skipped_and_warned_of_at_the_initiator() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("in");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"x").unwrap();
    let made = Command::new("mkfifo").arg(source.join("pi\x1bpe")).status();
    assert!(made.unwrap().success());
    for direction in BOTH {
        let destination = dir.path().join(format!("{direction:?}"));
        fs::create_dir(&destination).unwrap();
        let ended = Case::new(direction, &source, &destination).run().await;
        let warned = ended.events.iter().any(|event| {
            matches!(event, Event::Warning(w) if w.text.contains("pe")
                && !w.text.contains('\x1b')
                && w.remote == (direction == Direction::Download))
        });
        assert!(warned, "{direction:?}: {:?}", ended.events);
        assert_eq!(ended.succeeded().0.files, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_not_haul_is_told_by_its_words() {
    let (_dir, source, destination) = place(1);
    let (near, mut far) = duplex(1024);
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let case = Case::new(Direction::Upload, &source, &destination);
    let initiator = tokio::spawn(haul_transfer::initiate(
        case.job, near, LOCALHOST, events, cancelled,
    ));
    far.write_all(b"bash: line 1: haul: command not found\n")
        .await
        .unwrap();
    drop(far);
    let error = initiator.await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteMissing);
    assert!(error.to_string().contains("command not found"), "{error}");
    assert!(error.hint().contains("-S"), "{}", error.hint());
}
