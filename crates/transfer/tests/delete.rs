//! What the source does not have, and the destination does.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use haul_transfer::{Act, Direction, ErrorCode, Event, Selection, TransferError};
use pair::{BOTH, Case, Ended, tree};

/// A source of these names, and a destination of those.
fn site(source: &[&str], there: &[&str]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (top, names) in [(&from, source), (&to, there)] {
        fs::create_dir(top).unwrap();
        for name in names {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
    }
    (dir, from, to)
}

fn deleting(direction: Direction, source: &Path, destination: &Path) -> Case {
    let mut case = Case::new(direction, source, destination);
    case.job.options.placing.delete = true;
    case
}

/// What is there, but for the journal of a run that failed.
fn left(top: &Path) -> Vec<String> {
    let names = tree::names(top).into_iter();
    let names = names.map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != ".haul-journal").collect()
}

fn warnings(ended: &Ended) -> Vec<&str> {
    let texts = ended.events.iter().filter_map(|event| match event {
        Event::Warning(warning) => Some(warning.text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_whichever_end_it_is_at() {
    for direction in BOTH {
        let (_dir, from, to) = site(&["a", "sub/b"], &["a", "gone", "old/x", "sub/y", "x.tmp"]);
        let mut case = deleting(direction, &from.join("."), &to);
        case.job.options.taking.selection = Selection::new(vec!["*.tmp".to_owned()], None, None);
        let ended = case.run().await;
        let told = ended.events.iter().filter_map(|event| match event {
            Event::Change(change) => Some((change.act, change.path.to_vec())),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told.len(),
            if direction == Direction::Download {
                4
            } else {
                0
            }
        );
        assert!(told.iter().all(|(act, _)| *act == Act::Delete), "{told:?}");
        let (summary, responder) = ended.succeeded();
        assert_eq!(left(&to), ["a", "sub", "sub/b", "x.tmp"], "{direction:?}");
        assert_eq!((summary.deleted, responder.deleted), (4, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_sent_is_looked_through() {
    for direction in BOTH {
        for slash in ["", "/"] {
            let (_dir, from, to) = site(&["a"], &["beside", "from/gone"]);
            let source = format!("{}{slash}", from.to_str().unwrap());
            let case = deleting(direction, Path::new(&source), &to);
            let (summary, _) = case.run().await.succeeded();
            assert_eq!(left(&to), ["beside", "from", "from/a"], "{direction:?}");
            assert_eq!(summary.deleted, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_when_something_failed_and_the_user_is_told() {
    for direction in BOTH {
        // A directory is in the way of a file.
        let (_dir, from, to) = site(&["a", "b"], &["gone", "b/in the way"]);
        let ended = deleting(direction, &from.join("."), &to).run().await;
        let warnings = warnings(&ended);
        assert!(
            warnings
                .iter()
                .any(|text| text.starts_with("nothing was deleted")),
            "{direction:?} {warnings:?}"
        );
        let (error, _) = ended.failed();
        assert_eq!(error.code(), ErrorCode::Partial, "{error}");
        assert!(matches!(error, TransferError::Partial { summary, .. } if summary.deleted == 0));
        assert_eq!(left(&to), ["a", "b", "b/in the way", "gone"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn special_files_of_the_source_are_no_failure() {
    for direction in BOTH {
        let (_dir, from, to) = site(&["a"], &["gone", "socket"]);
        let _socket = UnixListener::bind(from.join("socket")).unwrap();
        symlink("a", from.join("link")).unwrap();
        let (summary, _) = deleting(direction, &from.join("."), &to)
            .run()
            .await
            .succeeded();
        assert_eq!(left(&to), ["a", "link", "socket"], "{direction:?}");
        assert_eq!(summary.deleted, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_nothing_goes() {
    for direction in BOTH {
        let (_dir, from, to) = site(&["a"], &["gone", "from/gone"]);
        let case = Case::new(direction, &from.join("."), &to);
        let (summary, _) = case.run().await.succeeded();
        assert_eq!(left(&to), ["a", "from", "from/gone", "gone"]);
        assert_eq!(summary.deleted, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_choice_are_refused() {
    for direction in BOTH {
        let (_dir, from, to) = site(&["a"], &["x/y"]);
        let mut case = deleting(direction, &from.join("a"), &to);
        case.job.options.taking.targets = vec![b"x/a".to_vec().into()];
        let (error, _) = case.run().await.failed();
        assert_eq!(error.code(), ErrorCode::Usage, "{error}");
        assert_eq!(left(&to), ["x", "x/y"]);
    }
}
