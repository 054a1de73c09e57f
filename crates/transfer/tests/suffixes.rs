//! Names beside the final one, whichever end has the destination.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use haul_transfer::{ErrorCode, Policy};
use pair::{BOTH, Case, tree};

fn suffix(text: &str) -> Option<serde_bytes::ByteBuf> {
    Some(text.as_bytes().to_vec().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_is_kept() {
    for direction in BOTH {
        let (_dir, source, destination) = pair::place(100_000);
        fs::write(&destination, "before").unwrap();
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.placing.backup_suffix = suffix(".bak");
        case.run().await.succeeded();
        let backup = destination.with_extension("bak");
        assert_eq!(fs::read(backup).unwrap(), b"before", "{direction:?}");
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_is_gone_on_with_under_that_name() {
    for direction in BOTH {
        let (dir, source, destination) = pair::place(16_000_000);
        let case = || {
            let mut case = Case::new(direction, &source, &destination);
            case.job.options.placing.partial_suffix = suffix(".incomplete");
            case
        };
        let mut slow = case();
        slow.job.options.policy = Policy::Fixed;
        slow.job.options.rate_target_bps = Some(60_000_000);
        let mut under = slow.start();
        under.until_bytes(8_000_000).await;
        under.cancel.send(true).unwrap();
        under.end().await.failed();
        let mut left = tree::names(dir.path());
        left.retain(|name| name.as_os_str() != "source");
        let names = [".haul-journal", "landed.incomplete"].map(std::path::PathBuf::from);
        assert_eq!(left, names, "{direction:?}");

        let (summary, _) = case().run().await.succeeded();
        assert!(summary.there_bytes > 4 << 20, "{}", summary.there_bytes);
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
        assert_eq!(tree::names(dir.path()).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_part_of_a_name_is_refused() {
    for direction in BOTH {
        let (_dir, source, destination) = pair::place(10);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.placing.backup_suffix = suffix("/../../x");
        let (ours, _) = case.run().await.failed();
        assert_eq!(ours.code(), ErrorCode::Usage, "{ours}");
        assert!(!destination.exists());
    }
}
