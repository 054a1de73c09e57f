//! Many writers, one directory: lines stay whole and in order, files stay short, and few.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path, thread};

use haul_log::{KEPT, Log, LogPlace};

const SIZE_MAX: u64 = 4_000;

fn place(dir: &Path) -> LogPlace {
    LogPlace::Directory {
        dir: dir.to_owned(),
        size_max: SIZE_MAX,
    }
}

/// All files, oldest first.
fn files(dir: &Path) -> Vec<String> {
    let old = (1..=KEPT).rev().map(|number| format!("haul.log.{number}"));
    old.chain(["haul.log".to_owned()])
        .filter_map(|name| fs::read_to_string(dir.join(name)).ok())
        .collect()
}

#[test]
fn writers_that_rotate_at_once_lose_nothing_but_the_oldest() {
    const WRITERS: usize = 8;
    const LINES: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let place = place(dir.path());
            // Each has the file open for itself, as a process of its own would.
            scope.spawn(move || {
                let mut log = Log::open(&place, &format!("w{writer}")).unwrap();
                for line in 0..LINES {
                    log.line(&format!("line {line} {}", "x".repeat(line % 70)))
                        .unwrap();
                }
            });
        }
    });

    let files = files(dir.path());
    assert_eq!(files.len(), KEPT as usize + 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files.len());
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        assert!(file.len() as u64 <= SIZE_MAX && file.ends_with('\n'));
        for line in file.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [time, writer, "line", number, xs] = words[..] else {
                panic!("not whole: {line}");
            };
            assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
            let number: usize = number.parse().unwrap();
            assert_eq!(xs.len(), number % 70, "{line}");
            if let Some(before) = last.insert(writer.to_owned(), number) {
                assert_eq!(number, before + 1, "{writer}");
            }
        }
    }
    // Somebody wrote last of all.
    assert!(last.values().any(|number| *number == LINES - 1));
}

#[test]
fn a_file_that_somebody_moves_away_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(&place(dir.path()), "haul").unwrap();
    log.line("first").unwrap();
    fs::rename(dir.path().join("haul.log"), dir.path().join("elsewhere")).unwrap();
    log.line("second\nline").unwrap();
    let [file] = &files(dir.path())[..] else {
        panic!("one file");
    };
    let pid = std::process::id();
    assert!(
        file.ends_with(&format!(" haul[{pid}] second line\n")),
        "{file}"
    );
}

#[test]
fn a_line_longer_than_a_file_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(&place(dir.path()), "haul").unwrap();
    for _ in 0..3 {
        log.line(&"y".repeat(5_000)).unwrap();
    }
    assert_eq!(files(dir.path()).len(), 3);
}

#[test]
fn a_directory_that_is_not_there_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let error = Log::open(&place(&dir.path().join("no\nne")), "haul").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no\\nne: No such file"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}
