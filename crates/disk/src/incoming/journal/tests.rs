//! Journals that are made shorter while a run lasts.

use std::{fs, path::Path};

use super::*;

/// Some file.
fn file() -> Identity {
    Identity::of(&fstat(File::open("/dev/null").unwrap()).unwrap())
}

fn source(size: u64) -> Source {
    Source {
        size,
        modified: Timestamp::default(),
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(Arc::new(File::open(dir).unwrap().into()), true)
}

/// So many ranges with gaps between them.
fn written(count: u64) -> RangeSet {
    let mut set = RangeSet::new();
    for number in 0..count {
        set.insert(number * 200_000..number * 200_000 + 100_000);
    }
    set
}

fn len(dir: &Path) -> u64 {
    fs::metadata(dir.join(".haul-journal")).unwrap().len()
}

/// What the next run is told of these paths.
fn told(dir: &Path, paths: impl IntoIterator<Item = u64>) -> Vec<Option<RangeSet>> {
    let mut next = open(dir);
    let of = |claim| match claim {
        Claim::Part(part) => ranges(&part.ranges, u64::MAX),
        Claim::Done(_) => RangeSet::new(),
    };
    let paths = paths.into_iter();
    paths.map(|path| next.take_claim(path).map(of)).collect()
}

/// Says a thousand times what two files hold, a third one that is taken back, and some that are done.
fn say_much(journal: &mut Journal) {
    journal.part(3, source(3), file(), &written(10));
    for count in 1..=1000 {
        journal.part(1, source(1), file(), &written(count));
        journal.part(2, source(2), file(), &written(count / 2));
        if count % 10 == 0 {
            let stat = fstat(File::open("/dev/null").unwrap()).unwrap();
            journal.done(1000 + count, source(count), Stamp::of(&stat));
        }
        journal.flush();
    }
    journal.void(3, source(3), file());
}

#[test]
fn what_is_said_again_and_again_does_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    say_much(&mut journal);
    // All of it together were five megabytes, and half of the last ones is no more than that.
    assert!(len(dir.path()) < 3 * STALE_MIN, "{}", len(dir.path()));
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "a journal was left behind");
    drop(journal);
    let expected = [Some(written(1000)), Some(written(500)), None];
    assert_eq!(told(dir.path(), [1, 2, 3]), expected);
    let done = told(dir.path(), (1..=100).map(|number| 1000 + number * 10));
    assert!(done.iter().all(Option::is_some));
}

#[test]
fn a_journal_that_is_being_written_is_not_believed_however_often_it_was_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    // One that has the old file open already, as a run that begins just then.
    journal.part(1, source(1), file(), &written(1));
    journal.flush();
    let old = File::open(dir.path().join(".haul-journal")).unwrap();
    say_much(&mut journal);
    assert_eq!(told(dir.path(), [1, 2]), [None, None]);
    assert!(!is_ours(&fstat(&old).unwrap()), "it still has its name");
    journal.part(1, source(1), file(), &written(7));
    journal.flush();
    drop(journal);
    assert_eq!(told(dir.path(), [1]), [Some(written(7))]);
}

#[test]
fn cut_off_while_it_is_shortened_it_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    for count in 1..=50 {
        journal.part(1, source(1), file(), &written(count));
        journal.part(2, source(2), file(), &written(count + 5));
    }
    journal.void(2, source(2), file());
    drop(journal);
    let path = dir.path().join(".haul-journal");
    let (old, new) = (fs::read(&path).unwrap(), dir.path().join(".haul-journal.1"));
    let mut shorter = File::create_new(&new).unwrap();
    let boot = boot_id();
    copy_what_counts(&mut File::open(&path).unwrap(), &mut shorter, boot.as_ref()).unwrap();
    let whole = fs::read(&new).unwrap();
    assert!(
        whole.len() * 10 < old.len(),
        "{} {}",
        whole.len(),
        old.len()
    );
    for end in 0..=whole.len() {
        fs::write(&path, &old).unwrap();
        fs::write(&new, &whole[..end]).unwrap();
        assert_eq!(told(dir.path(), [1, 2]), [Some(written(50)), None], "{end}");
    }
    fs::rename(&new, &path).unwrap();
    assert_eq!(told(dir.path(), [1, 2]), [Some(written(50)), None]);
}

#[test]
fn what_was_taken_back_stays_so_beside_an_earlier_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    first.part(9, source(9), file(), &written(4));
    first.flush();
    // Another run beside it leaves one of its own, and both are cut off.
    let mut second = open(dir.path());
    second.part(1, source(1), file(), &written(4));
    second.flush();
    drop((first, second));
    let mut third = open(dir.path());
    assert!(third.take_claim(9).is_some());
    third.void(9, source(9), file());
    say_much(&mut third);
    drop(third);
    assert_eq!(told(dir.path(), [9, 1]), [None, Some(written(1000))]);
}

#[test]
fn where_there_is_no_name_left_it_stays_long() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.part(1, source(1), file(), &written(1));
    journal.flush();
    for number in 1..10 {
        fs::write(dir.path().join(format!(".haul-journal.{number}")), "").unwrap();
    }
    say_much(&mut journal);
    assert!(len(dir.path()) > 3 * STALE_MIN, "{}", len(dir.path()));
    drop(journal);
    assert_eq!(told(dir.path(), [1]), [Some(written(1000))]);
}
