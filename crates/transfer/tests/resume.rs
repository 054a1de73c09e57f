//! A transfer that was cancelled, and the same job again: what is there does not come twice.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use haul_transfer::{Policy, Summary};
use pair::{BOTH, Case, place, tree};

const SIZE: u64 = 12 << 20;

fn assert_sent_about(summary: &Summary, missing: u64) {
    let most = missing + missing / 4 + 500_000;
    assert!(
        summary.udp_bytes <= most,
        "{missing} were missing: {summary:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_transfer_goes_on() {
    for direction in BOTH {
        let (dir, source, destination) = place(SIZE as usize);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(60_000_000);
        let mut under = case.start();
        under.until_bytes(7 << 20).await;
        under.cancel.send(true).unwrap();
        under.end().await.failed();

        let case = Case::new(direction, &source, &destination);
        let (here, there) = case.run().await.succeeded();
        assert!(here.there_bytes >= 6 << 20, "{here:?}");
        assert_eq!(here.there_bytes, there.there_bytes);
        assert_eq!((here.bytes, here.files, here.there_files), (SIZE, 1, 0));
        assert_sent_about(&here, SIZE - here.there_bytes);
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
        assert_eq!(tree::names(dir.path()).len(), 2, "nothing else is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_which_some_is_there_is_completed() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (source, destination) = (dir.path().join("tree"), dir.path().join("to"));
        fs::create_dir(&destination).unwrap();
        for n in 0..400_u64 {
            let folder = source.join((n % 7).to_string());
            fs::create_dir_all(&folder).unwrap();
            let bytes = tree::noise(n, (n as usize * 37) % 9_000);
            fs::write(folder.join(n.to_string()), bytes).unwrap();
        }
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.recursive = true;
        let (first, _) = case.run().await.succeeded();
        assert_eq!(first.there_files, 0);

        for n in (0..400).step_by(3) {
            let copy = destination.join(format!("tree/{}/{n}", n % 7));
            fs::remove_file(copy).unwrap();
        }
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.recursive = true;
        let (second, _) = case.run().await.succeeded();
        assert_eq!((second.files, second.there_files), (400, 400 - 134));
        assert_sent_about(&second, second.bytes - second.there_bytes);
        for n in 0..400 {
            let name = format!("{}/{n}", n % 7);
            let (from, to) = (source.join(&name), destination.join("tree").join(&name));
            assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{name}");
        }
    }
}
