//! A dry run: everything is told, nothing is changed.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{collections::BTreeMap, fs, path::Path};

use haul_transfer::{Act, After, ErrorCode, Event, Resume};
use pair::{BOTH, Case, Ended, tree};

fn told(ended: &Ended) -> BTreeMap<String, Act> {
    let changes = ended.events.iter().filter_map(|event| match event {
        Event::Change(change) => Some(change),
        _ => None,
    });
    let told = changes.map(|change| {
        assert!(!change.done);
        (String::from_utf8(change.path.clone()).unwrap(), change.act)
    });
    told.collect()
}

fn plant(top: &Path, names: &[&str]) {
    for name in names {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_hears_what_would_become_of_each_name_wherever_it_is() {
    for direction in BOTH {
        for resume in [Resume::Attributes, Resume::Never] {
            let dir = tempfile::tempdir().unwrap();
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            plant(&from, &["new", "other", "sub/new"]);
            plant(&to, &["gone/x", "other"]);
            fs::write(from.join("large"), tree::noise(1, 3_000_000)).unwrap();
            let before = tree::describe(dir.path());

            let mut case = Case::new(direction, &from.join("."), &to);
            case.job.options.resume = resume;
            case.job.options.placing.delete = true;
            case.job.options.placing.dry_run = true;
            case.job.options.taking.after = After::Remove;
            case.job.options.taking.remove_empty_dirs = true;
            let ended = case.run().await;
            let told = told(&ended);
            let files = ended
                .events
                .iter()
                .filter(|event| matches!(event, Event::File(_)));
            assert_eq!(files.count(), 0);
            let (summary, responder) = ended.succeeded();
            assert_eq!(tree::describe(dir.path()), before, "{direction:?}");
            let expected = [
                ("gone", Act::Delete),
                ("gone/x", Act::Delete),
                ("large", Act::Create),
                ("new", Act::Create),
                ("other", Act::Replace),
                ("sub", Act::Create),
                ("sub/new", Act::Create),
            ];
            let expected = expected.map(|(name, act)| (name.to_owned(), act));
            assert_eq!(told, BTreeMap::from(expected), "{direction:?} {resume:?}");
            assert!(summary.is_rehearsal && responder.is_rehearsal);
            assert_eq!((summary.files, summary.deleted), (4, 2));
            assert!(
                summary.udp_bytes < 200_000,
                "no content: {}",
                summary.udp_bytes
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_missing_stays_missing() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        plant(&from, &["a"]);
        let before = tree::describe(dir.path());
        let mut case = Case::new(direction, &from, &dir.path().join("to/be/made"));
        case.job.options.placing.create_dir = true;
        case.job.options.placing.dry_run = true;
        let ended = case.run().await;
        let told = told(&ended);
        let names: Vec<_> = told.keys().collect();
        assert_eq!(names, [".", "from", "from/a"], "{direction:?}");
        ended.succeeded();
        assert_eq!(tree::describe(dir.path()), before, "{direction:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_names_than_one_message_holds_are_all_told() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        // Some 70 messages: more than the other end is sent before it has read any.
        for index in 0..9_000 {
            fs::File::create(from.join(format!("file {index}"))).unwrap();
        }
        let mut case = Case::new(direction, &from, &to);
        case.job.options.placing.dry_run = true;
        let ended = case.run().await;
        assert_eq!(told(&ended).len(), 9_001, "{direction:?}");
        let (summary, _) = ended.succeeded();
        assert_eq!(summary.files, 9_000);
        assert!(!to.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_fails() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        plant(&from, &["a", "b"]);
        plant(&to, &["from/a/x"]);
        let mut case = Case::new(direction, &from, &to);
        case.job.options.placing.dry_run = true;
        let ended = case.run().await;
        assert_eq!(told(&ended).len(), 2, "the directory and b");
        let (error, _) = ended.failed();
        assert_eq!(error.code(), ErrorCode::Partial, "{error}");
    }
}
