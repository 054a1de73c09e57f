//! What is left out, whichever end has it.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{fs, time::Duration};

use haul_transfer::{ErrorCode, Selection};
use pair::{BOTH, Case, tree};

fn selection(rules: &[&str]) -> Selection {
    let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
    Selection::new(rules, None, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_selected_arrives() {
    for direction in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (source, destination) = (dir.path().join("tree"), dir.path().join("to"));
        fs::create_dir(&destination).unwrap();
        for name in [
            "a.txt",
            "a.tmp",
            "keep.tmp",
            "sub/b.tmp",
            "sub/b",
            "cache/x",
            "old",
        ] {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let file = fs::File::options()
            .write(true)
            .open(source.join("old"))
            .unwrap();
        let year = Duration::from_secs(365 * 24 * 3600);
        file.set_modified(std::time::SystemTime::now() - year)
            .unwrap();

        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.recursive = true;
        case.job.options.taking.selection = selection(&["*.tmp", "!keep.tmp", "cache/"]);
        let oldest = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - year / 2;
        case.job.options.taking.selection.oldest = Some(oldest.as_secs() as i64);
        let (summary, _) = case.run().await.succeeded();
        let names: Vec<_> = tree::names(&destination).into_iter().collect();
        let names: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
        let expected = [
            "tree",
            "tree/a.txt",
            "tree/keep.tmp",
            "tree/sub",
            "tree/sub/b",
        ];
        assert_eq!(names, expected, "{direction:?}");
        assert_eq!(summary.files, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_pattern_is_refused() {
    for direction in BOTH {
        let (_dir, source, destination) = pair::place(10);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.taking.selection = selection(&["[z-a]"]);
        let (ours, _) = case.run().await.failed();
        assert_eq!(ours.code(), ErrorCode::Usage, "{ours}");
        assert!(ours.to_string().contains("[z-a]"), "{ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_replaced_as_was_asked_for() {
    use haul_transfer::Overwrite::{Always, Diff, DiffOlder, Never, Older};
    // Which of: the same, another that is older, another that is newer, a link; then of them kept.
    for (overwrite, replaced, there, kept) in [
        (Diff, [false, true, true, true], 1, 0),
        (Always, [true; 4], 0, 0),
        (Never, [false; 4], 1, 3),
        (Older, [false, true, false, false], 1, 2),
        (DiffOlder, [false, true, false, false], 1, 2),
    ] {
        for direction in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let (source, destination) = (dir.path().join("tree"), dir.path().join("to"));
            let copies = destination.join("tree");
            fs::create_dir_all(&source).unwrap();
            fs::create_dir_all(&copies).unwrap();
            let now = std::time::SystemTime::now();
            let write = |path: &std::path::Path, text: &str, ago: u64| {
                fs::write(path, text).unwrap();
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(now - Duration::from_secs(ago)).unwrap();
            };
            for (name, ago) in [("same", 100), ("older", 200), ("newer", 50)] {
                write(&source.join(name), "source", 100);
                write(
                    &copies.join(name),
                    if name == "same" { "before" } else { "other" },
                    ago,
                );
            }
            write(&source.join("link"), "source", 100);
            std::os::unix::fs::symlink("nowhere", copies.join("link")).unwrap();
            let mut case = Case::new(direction, &source, &destination);
            case.job.options.taking.recursive = true;
            case.job.options.placing.overwrite = overwrite;
            let (summary, _) = case.run().await.succeeded();
            let is_replaced = ["same", "older", "newer", "link"]
                .map(|name| fs::read(copies.join(name)).is_ok_and(|bytes| bytes == b"source"));
            assert_eq!(is_replaced, replaced, "{overwrite:?} {direction:?}");
            assert_eq!(
                (summary.there_files, summary.kept),
                (there, kept),
                "{overwrite:?}"
            );
            assert_eq!(summary.files + summary.kept, 4);
        }
    }
}
