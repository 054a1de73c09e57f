use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::CWD;

use super::*;

const HERE: &str = "this start of the machine";
const LATER: &str = "the next one";

/// A journal in a directory, at some start of the machine.
fn journal(top: &Path, boot: &str) -> Journal {
    with_boot(top, boot, Journal::open)
}

/// What it would say, without touching it.
fn said(top: &Path, boot: &str) -> BTreeMap<u64, Claim> {
    let peeked = with_boot(top, boot, Journal::peek);
    peeked.claims.into_iter().collect()
}

fn with_boot(top: &Path, boot: &str, look: fn(Arc<OwnedFd>, bool, BootId) -> Journal) -> Journal {
    let fd = openat(CWD, top, OFlags::PATH, Mode::empty()).unwrap();
    look(Arc::new(fd), true, Some(boot.to_owned()))
}

fn source(size: u64) -> Source {
    let modified = haul_manifest::Timestamp::default();
    Source { size, modified }
}

/// Some file to speak of.
fn some(top: &Path) -> (Made, Stamp) {
    let path = top.join("some");
    fs::write(&path, b"").unwrap();
    let fd = OwnedFd::from(File::open(&path).unwrap());
    let stamp = Stamp::of(&fstat(&fd).unwrap());
    (Made::of(&fd, stamp.file), stamp)
}

/// As many ranges as there are bytes in `len`, each with a gap before it.
fn gappy(len: u64) -> RangeSet {
    let mut set = RangeSet::new();
    for at in 0..len {
        set.insert(300 * at + 1..300 * at + 300);
    }
    set
}

fn path_of(top: &Path, name: &str) -> PathBuf {
    top.join(name)
}

const NAME: &str = ".haul-journal";
const NAME_NEW: &str = ".haul-journal.new";

/// One in which everything is: files finished and not, of this start and of an earlier one, on the disk and
/// not, taken back and not. Most of it has been said again.
fn full(top: &Path) -> Journal {
    let (made, stamp) = some(top);
    let mut earlier = journal(top, "an earlier one");
    for path in 0..10 {
        earlier.done(path, source(path), stamp, path % 2 == 0);
        earlier.part(100 + path, source(path), (made, &gappy(3)), path % 2 == 0);
    }
    earlier.flush();
    drop(earlier);
    let mut this = journal(top, HERE);
    for round in 1..10 {
        for path in 0..20 {
            let holds = round == 5 && path % 4 < 2;
            this.part(200 + path, source(path), (made, &gappy(round)), holds);
        }
        this.void(200 + round);
        this.void(100 + round % 3);
        this.done(300 + round, source(round), stamp, round % 2 == 0);
        this.done(200 + 10 + round, source(round), stamp, round % 3 == 0);
    }
    this.part(105, source(5), (made, &gappy(9)), false);
    this.flush();
    this
}

#[test]
fn written_anew_it_says_the_same_at_this_start_of_the_machine_and_at_the_next() {
    let top = tempfile::tempdir().unwrap();
    let mut this = full(top.path());
    let before = (said(top.path(), HERE), said(top.path(), LATER));
    assert!(before.0.len() > 20 && before.1.len() > 10);
    assert_ne!(before.0, before.1);
    let len = this.len;
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    assert!(this.len < len / 3, "{} of {len}", this.len);
    let written = fs::metadata(path_of(top.path(), NAME)).unwrap().len();
    assert_eq!(this.len, written);
    let after = (said(top.path(), HERE), said(top.path(), LATER));
    assert!(before == after);

    // Nothing of it can be left out a second time, and it is gone on with.
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    assert_eq!(this.len, written);
    this.void(105);
    drop(this);
    assert!(!said(top.path(), HERE).contains_key(&105));
    assert_eq!(said(top.path(), HERE).len(), before.0.len() - 1);
}

/// The instants at which a run may be killed while it writes one anew: the new one has any length, or has
/// the name.
#[test]
fn k110_killed_while_it_is_written_anew_it_says_the_same() {
    let top = tempfile::tempdir().unwrap();
    let name = path_of(top.path(), NAME);
    let mut this = full(top.path());
    let (before, old) = (said(top.path(), HERE), fs::read(&name).unwrap());
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    drop(this);
    let new = fs::read(&name).unwrap();
    assert!(new.len() < old.len());
    for len in 0..=new.len() {
        fs::write(&name, &old).unwrap();
        fs::write(path_of(top.path(), NAME_NEW), &new[..len]).unwrap();
        let next = journal(top.path(), HERE);
        let claims: BTreeMap<_, _> = next.claims.clone().into_iter().collect();
        assert!(claims == before, "{len} bytes of the new one");
        assert!(!path_of(top.path(), NAME_NEW).exists());
    }
    fs::write(&name, &new).unwrap();
    assert!(said(top.path(), HERE) == before);
}

/// Torn at any byte, a journal says what it said at some moment before.
#[test]
fn k112_cut_at_any_byte_it_says_what_it_once_said() {
    let top = tempfile::tempdir().unwrap();
    let (made, stamp) = some(top.path());
    let mut this = journal(top.path(), HERE);
    let mut moments = vec![BTreeMap::new()];
    for round in 1..6 {
        this.part(1, source(1), (made, &gappy(round)), round == 2);
        this.flush();
        moments.push(said(top.path(), HERE));
        this.done(10 + round, source(2), stamp, true);
        this.flush();
        moments.push(said(top.path(), HERE));
    }
    this.void(1);
    moments.push(said(top.path(), HERE));
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    drop(this);
    let name = path_of(top.path(), NAME);
    let bytes = fs::read(&name).unwrap();
    let last = said(top.path(), HERE);
    for len in 0..bytes.len() {
        fs::write(&name, &bytes[..len]).unwrap();
        let mut said = said(top.path(), HERE);
        assert!(said.len() < last.len());
        said.retain(|path, claim| last.get(path) != Some(claim));
        assert!(said.is_empty(), "{len} bytes say more than all");
    }
}

#[test]
fn only_what_was_on_the_disk_holds_at_the_next_start() {
    let top = tempfile::tempdir().unwrap();
    let (made, stamp) = some(top.path());
    let mut this = journal(top.path(), HERE);
    this.done(1, source(1), stamp, true);
    this.done(2, source(2), stamp, false);
    this.part(3, source(3), (made, &gappy(3)), true);
    this.part(3, source(3), (made, &gappy(5)), false);
    this.part(4, source(4), (made, &gappy(4)), true);
    this.void(4);
    this.part(4, source(4), (made, &gappy(6)), false);
    this.flush();
    let held = BTreeMap::from([
        (1, Claim::done(source(1), stamp)),
        (3, Claim::part(source(3), made, &gappy(3))),
    ]);
    assert_eq!(said(top.path(), LATER), held);
    assert_eq!(said(top.path(), HERE).len(), 4);

    // Once all has been written back, all does, but for what this run has not been told of.
    drop(this);
    let mut next = journal(top.path(), HERE);
    assert!(next.take_claim(2).is_some() && next.take_claim(3).is_some());
    next.done(5, source(5), stamp, false);
    next.hold();
    drop(next);
    let all = said(top.path(), HERE);
    let mut held = all.clone();
    held.remove(&4);
    assert_eq!((all.len(), said(top.path(), LATER)), (5, held));
}

#[test]
fn it_does_not_grow_with_what_is_said_again() {
    let top = tempfile::tempdir().unwrap();
    let (made, stamp) = some(top.path());
    let mut this = journal(top.path(), HERE);
    let name = path_of(top.path(), NAME);
    let (mut appended, mut longest) = (0, 0);
    for round in 0..400 {
        this.part(1, source(1), (made, &gappy(5_000 + round)), round % 8 == 0);
        this.done(1_000 + round, source(2), stamp, false);
        appended += this.buffer.len() as u64;
        this.flush();
        longest = longest.max(fs::metadata(&name).unwrap().len());
    }
    assert!(appended > 5 << 20, "{appended}");
    assert!(longest < 2 << 20, "{longest} of {appended}");
    let said = said(top.path(), HERE);
    assert_eq!(said.len(), 401);
    assert_eq!(said[&1], Claim::part(source(1), made, &gappy(5_399)));
}

/// Cut off again and again, each run adds less than would be written anew by itself.
#[test]
fn it_does_not_grow_from_run_to_run() {
    let top = tempfile::tempdir().unwrap();
    let (made, _) = some(top.path());
    for round in 0..100 {
        let mut this = journal(top.path(), HERE);
        this.part(1, source(1), (made, &gappy(10_000 + round)), false);
        this.flush();
    }
    let len = fs::metadata(path_of(top.path(), NAME)).unwrap().len();
    assert!(len < 2 << 20, "{len}");
    assert_eq!(said(top.path(), HERE).len(), 1);
}

#[test]
fn another_run_has_neither_the_old_one_nor_the_new() {
    let top = tempfile::tempdir().unwrap();
    let (made, stamp) = some(top.path());
    let name = path_of(top.path(), NAME);
    let mut this = journal(top.path(), HERE);
    this.part(1, source(1), (made, &gappy(9)), false);
    this.flush();
    // Another one has opened it just before it is replaced.
    let old = File::open(&name).unwrap();
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    assert!(flock(&old, FlockOperation::NonBlockingLockExclusive).is_ok());
    assert!(!is_ours(&fstat(&old).unwrap()), "which it sees then");

    let mut other = journal(top.path(), HERE);
    assert!(other.files.is_empty() && other.claims.is_empty());
    other.done(2, source(2), stamp, false);
    other.flush();
    assert!(path_of(top.path(), ".haul-journal.1").exists());
    other.rewrite(0, &|_, _| Fate::Kept).unwrap();
    this.rewrite(0, &|_, _| Fate::Kept).unwrap();
    assert_eq!(said(top.path(), HERE).len(), 2);
    other.close();
    assert_eq!(said(top.path(), HERE).len(), 1);
    this.close();
    assert!(!name.exists() && !path_of(top.path(), ".haul-journal.1").exists());
}

/// What is taken back in one of two must not come back from the other, at whichever instant a run ends.
#[test]
fn what_an_earlier_one_says_is_taken_back_for_good() {
    let top = tempfile::tempdir().unwrap();
    let (made, stamp) = some(top.path());
    let mut first = journal(top.path(), HERE);
    let mut second = journal(top.path(), HERE);
    for path in [1, 2] {
        first.part(path, source(path), (made, &gappy(2)), true);
    }
    first.flush();
    second.done(3, source(3), stamp, false);
    second.flush();
    drop((first, second));

    let mut this = journal(top.path(), HERE);
    assert_eq!(this.files.len(), 2);
    assert!(this.take_claim(1).is_some());
    this.void(1);
    this.rewrite(1, &|_, _| Fate::Kept).unwrap();
    let left = BTreeMap::from([
        (2, Claim::part(source(2), made, &gappy(2))),
        (3, Claim::done(source(3), stamp)),
    ]);
    assert_eq!(said(top.path(), HERE), left);

    let first = fs::read(path_of(top.path(), NAME)).unwrap();
    this.close();
    assert_eq!(said(top.path(), HERE), left);
    fs::write(path_of(top.path(), NAME), first).unwrap();
    assert_eq!(said(top.path(), HERE), left, "killed before it was removed");
}

#[test]
fn k112_one_of_another_version_says_nothing_and_neither_does_what_is_before_it() {
    let top = tempfile::tempdir().unwrap();
    let this = full(top.path());
    drop(this);
    let name = path_of(top.path(), NAME);
    let mut bytes = fs::read(&name).unwrap();
    let (version, boot) = (VERSION - 1, Some(HERE.to_owned()));
    Record::Run { version, boot }.frame(&mut bytes);
    fs::write(&name, bytes).unwrap();
    assert!(said(top.path(), HERE).is_empty());
    let mut next = journal(top.path(), HERE);
    assert!(next.claims.is_empty());
    let (_, stamp) = some(top.path());
    next.done(1, source(1), stamp, false);
    next.flush();
    drop(next);
    assert_eq!(said(top.path(), HERE).len(), 1, "it begins anew");
}
