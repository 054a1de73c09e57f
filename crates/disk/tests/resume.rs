//! A run that was cut off, and the one after it.
#![allow(clippy::unwrap_used, missing_docs)]

mod pair;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use pair::{
    BLOCK_LEN, CLEAN, Network, ROUGH, Random, Seed, drive, outgoing,
    place::{MIB, Place, blocks, files},
};

#[test]
fn nothing_is_there_at_a_new_destination_and_a_small_run_leaves_no_journal() {
    let place = Place::new();
    place.write("a", b"content");
    assert!(!place.incoming().tells_had());
    place.run(CLEAN, 1, u64::MAX);
    assert!(!place.journal().exists());
    assert!(place.incoming().tells_had());
}

#[test]
fn one_large_file_goes_on_where_it_was_cut() {
    let place = Place::new();
    let mut random = Random(7);
    place.write("large", &random.bytes(24 * MIB));
    let all = blocks(24 * MIB);
    let (none, _) = place.run(ROUGH, 7, all / 2);
    assert_eq!(none, None);
    assert!(place.journal().exists());
    let (received, sent) = place.complete(8);
    assert!(received.there_bytes as usize > 11 * MIB, "{received:?}");
    let missing = all - received.there_bytes / BLOCK_LEN as u64;
    assert!(
        sent <= missing + missing / 2,
        "{sent} of {all} for {missing}"
    );
}

#[test]
fn many_small_files_are_not_sent_again() {
    let place = Place::new();
    let mut random = Random(3);
    for n in 0..1_000 {
        let len = random.below(6_000);
        place.write(&format!("{}/{n}", n % 10), &random.bytes(len));
    }
    let (none, _) = place.run(CLEAN, 3, 1_200);
    assert_eq!(none, None);
    let (received, sent) = place.complete(4);
    assert!(received.there_files > 300, "{received:?}");
    assert_eq!(received.files, 1_000);
    assert!(sent < 1_800, "{sent}");
}

#[test]
fn a_run_repeated_sends_nothing_where_times_were_kept() {
    let place = Place::new();
    place.write("sub/a", &[1; 5_000]);
    place.write("b", &[2; 70_000]);
    place.write("empty", b"");
    place.complete(1);
    place.keep_times();
    let (received, sent) = place.complete(2);
    assert_eq!((received.there_files, received.there_bytes), (3, 75_000));
    assert_eq!(sent, 0);
}

#[test]
fn without_resuming_all_is_sent_and_no_journal_is_left() {
    let place = Place::new();
    let mut random = Random(5);
    place.write("large", &random.bytes(12 * MIB));
    place.run(CLEAN, 5, blocks(10 * MIB));
    assert!(place.journal().exists());
    let source = place.source();
    let incoming = pair::incoming(&[&source], &place.work.path().join("to"), false).unwrap();
    let all = drive(&outgoing(&[&source]), incoming, CLEAN, 6, &mut |_| true).unwrap();
    assert_eq!(all.1, blocks(12 * MIB));
    assert!(!place.journal().exists());
}

#[test]
fn a_run_that_completes_leaves_the_journal_of_another_that_did_not() {
    for resumes in [true, false] {
        let place = Place::new();
        let mut random = Random(5);
        place.write("large", &random.bytes(12 * MIB));
        place.run(CLEAN, 5, blocks(10 * MIB));
        let other = place.work.path().join("other");
        fs::write(&other, random.bytes(9 * MIB)).unwrap();
        let incoming = if resumes {
            place.incoming()
        } else {
            pair::incoming(&[&other], &place.work.path().join("to"), false).unwrap()
        };
        drive(&outgoing(&[&other]), incoming, CLEAN, 6, &mut |_| true).unwrap();
        assert!(place.journal().exists());
        fs::remove_file(place.work.path().join("to/other")).unwrap();
        let (received, _) = place.complete(7);
        assert!(received.there_bytes as usize > 8 * MIB, "{received:?}");
    }
}

#[test]
fn a_source_that_changed_is_sent_whole() {
    let place = Place::new();
    let mut random = Random(5);
    place.write("large", &random.bytes(8 * MIB));
    place.write("shrinks", &random.bytes(8 * MIB));
    place.run(CLEAN, 5, blocks(12 * MIB));
    place.write("large", &random.bytes(8 * MIB));
    place.write("shrinks", &random.bytes(3 * MIB));
    let (received, _) = place.complete(6);
    assert_eq!(received.there_bytes, 0, "{received:?}");
}

#[test]
fn a_copy_that_was_touched_since_is_sent_again() {
    let place = Place::new();
    place.write("a", &[1; 5_000]);
    place.write("b", &[2; 20 * MIB]);
    place.run(CLEAN, 5, blocks(10 * MIB));
    fs::write(place.target().join("a"), [9; 5_000]).unwrap();
    let (received, _) = place.complete(6);
    assert_eq!(received.there_files, 0);
}

#[test]
fn k112_a_journal_that_is_gone_cut_or_foreign_costs_sending_again_and_nothing_else() {
    type Harm = fn(&Place, &mut Random);
    let harms: [Harm; 6] = [
        |place, _| fs::remove_file(place.journal()).unwrap(),
        |place, random| {
            let len = fs::metadata(place.journal()).unwrap().len() as usize;
            let file = File::options().write(true).open(place.journal()).unwrap();
            file.set_len(random.below(len) as u64).unwrap();
        },
        |place, random| {
            let file = File::options().write(true).open(place.journal()).unwrap();
            let len = file.metadata().unwrap().len() as usize;
            let at = random.below(len) as u64;
            file.write_all_at(&random.bytes(9), at).unwrap();
        },
        |place, random| fs::write(place.journal(), random.bytes(10_000)).unwrap(),
        // The journal of another tree with the same names, sizes and times.
        |place, random| {
            let other = Place::new();
            other.write("large", &random.bytes(10 * MIB));
            other.write("small", &random.bytes(3_000));
            for name in ["large", "small"] {
                let found = fs::metadata(place.source().join(name)).unwrap();
                let file = File::options().write(true).open(other.source().join(name));
                file.unwrap()
                    .set_modified(found.modified().unwrap())
                    .unwrap();
            }
            other.run(CLEAN, 1, blocks(9 * MIB));
            fs::copy(other.journal(), place.journal()).unwrap();
        },
        |place, _| {
            let partial = place.target().join(".large.haul-part");
            File::options()
                .write(true)
                .open(partial)
                .unwrap()
                .set_len(5_000_000)
                .unwrap();
        },
    ];
    for round in 0..30 {
        for harm in harms {
            let seed = 100 + round;
            let _seed = Seed(seed);
            let mut random = Random(seed);
            let place = Place::new();
            place.write("large", &random.bytes(10 * MIB));
            place.write("small", &random.bytes(3_000));
            place.run(CLEAN, seed, blocks(5 * MIB));
            harm(&place, &mut random);
            place.complete(seed);
            if round > 3 && !std::env::var("HAUL_LONG").is_ok_and(|long| long == "1") {
                break;
            }
        }
    }
}

#[test]
fn cut_again_and_again_it_still_arrives() {
    for seed in 1..=6 {
        let _seed = Seed(seed);
        let mut random = Random(seed);
        let place = Place::new();
        place.write("large", &random.bytes(6 * MIB));
        for n in 0..50 {
            let len = random.below(200_000);
            place.write(&format!("d/{n}"), &random.bytes(len));
        }
        let mut sent = 0;
        for _ in 0..5 {
            let stop_at = 200 + random.below(3_000) as u64;
            sent += place.run(ROUGH, random.next(), stop_at).1;
        }
        let (_, last) = place.complete(random.next());
        let bytes: u64 = files(&place.source())
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(
            sent + last < 4 * blocks(bytes as usize),
            "{sent} and {last}"
        );
    }
}

/// File systems give the numbers of removed files to new ones, most of them to the very next.
#[test]
fn what_the_journal_says_of_a_tree_that_was_removed_is_taken_back() {
    let place = Place::new();
    let mut random = Random(9);
    place.write("large", &random.bytes(12 * MIB));
    place.run(CLEAN, 1, blocks(10 * MIB));
    let before = fs::read(place.journal()).unwrap().len();
    fs::remove_dir_all(place.target()).unwrap();
    // As it would be found if this run were killed, before its journal speaks of what came anew.
    let mut killed = Vec::new();
    let source = place.source();
    let mut look = |delivered| {
        killed = fs::read(place.journal()).unwrap();
        delivered < 40
    };
    drive(&outgoing(&[&source]), place.incoming(), CLEAN, 2, &mut look).unwrap();
    assert!(killed.len() > before, "taken back at once");
    fs::write(place.journal(), killed).unwrap();
    place.complete(3);
}

#[test]
fn a_partial_file_that_took_its_place_is_not_mistaken_for_the_one_of_the_journal() {
    let place = Place::new();
    let mut random = Random(9);
    let first = random.bytes(12 * MIB);
    place.write("large", &first);
    let modified = fs::metadata(place.source().join("large"))
        .unwrap()
        .modified()
        .unwrap();
    place.run(CLEAN, 1, blocks(10 * MIB));
    // Another source begins and is cut before its journal speaks of it; then the first comes back.
    place.write("large", &random.bytes(12 * MIB));
    place.run(CLEAN, 2, 40);
    place.write("large", &first);
    let file = File::options()
        .write(true)
        .open(place.source().join("large"))
        .unwrap();
    file.set_modified(modified).unwrap();
    place.complete(3);
}

/// Two journals may speak of one place: that of a run into the folder above, and that of one into the folder
/// itself. File systems give the number of a partial file that the other has removed to the next, if nobody
/// else is quicker.
#[test]
fn a_partial_file_that_a_run_into_another_folder_has_replaced_is_not_mistaken_for_the_one_before() {
    for seed in 1..=6 {
        let place = Place::new();
        let mut random = Random(seed);
        place.write("large", &random.bytes(6 * MIB));
        place.run(CLEAN, 1, blocks(5 * MIB));
        let other = place.work.path().join("large");
        fs::write(&other, random.bytes(6 * MIB)).unwrap();
        let incoming = pair::incoming(&[&other], &place.target(), false).unwrap();
        let cut = &mut |delivered| delivered < 40;
        drive(&outgoing(&[&other]), incoming, CLEAN, 2, cut).unwrap();
        let (received, _) = place.complete(3);
        assert_eq!(received.there_bytes, 0);
    }
}

/// Blocks come in any order, so that what the journal says of the file is as long as can be.
#[test]
fn a_journal_of_very_many_gaps_stays_short_and_another_run_leaves_it_alone() {
    const LEN: usize = 136 * MIB;
    const SHUFFLED: Network = Network {
        shuffle: true,
        window: 1 << 20,
        ..CLEAN
    };
    let place = Place::new();
    let mut random = Random(11);
    place.write("large", &random.bytes(LEN));
    let aside = place.work.path().join("aside");
    fs::write(&aside, random.bytes(6 * MIB)).unwrap();
    let (mut len_before, mut longest, mut rewritten) = (0, 0, 0);
    let mut look = |delivered| {
        let len = fs::metadata(place.journal()).map_or(0, |found| found.len());
        longest = longest.max(len);
        if len < len_before {
            rewritten += 1;
            // Another run at the same time, cut off as well.
            let outgoing = outgoing(&[&aside]);
            let cut = &mut |delivered| delivered < blocks(5 * MIB);
            let incoming = place.incoming();
            assert!(incoming.tells_had());
            let (none, sent) = drive(&outgoing, incoming, CLEAN, 1, cut).unwrap();
            assert!(none.is_none() && sent > blocks(4 * MIB));
        }
        len_before = len;
        delivered < blocks(LEN) * 9 / 10
    };
    let source = place.source();
    let sending = outgoing(&[&source]);
    drive(
        &Arc::clone(&sending),
        place.incoming(),
        SHUFFLED,
        1,
        &mut look,
    )
    .unwrap();
    assert!(rewritten > 0 && longest < 5 << 18, "{rewritten}, {longest}");
    assert!(place.journal().exists());
    let second = place.journal().with_file_name(".haul-journal.1");
    assert!(second.exists(), "the other run had one of its own");

    let (received, sent) = place.run(CLEAN, 2, u64::MAX);
    assert!(received.unwrap().there_bytes as usize > LEN * 8 / 10);
    assert!(sent < blocks(LEN) / 5, "{sent}");
    let arrived = fs::read(place.target().join("large")).unwrap();
    assert!(arrived == fs::read(source.join("large")).unwrap());

    // What the other one has got has stayed, and is known.
    let left = drive(
        &outgoing(&[&aside]),
        place.incoming(),
        CLEAN,
        3,
        &mut |_| true,
    )
    .unwrap();
    assert!(left.0.unwrap().there_bytes as usize > 4 * MIB);
    assert!(!place.journal().exists() && !second.exists());
}
