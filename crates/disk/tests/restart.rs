//! What is believed of a run that was cut off, once the machine has restarted.
#![allow(clippy::unwrap_used, missing_docs)]

mod pair;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use haul_disk::Fsync;
use pair::{
    BLOCK_LEN, CLEAN, Random, Seed,
    mounted::Mounted,
    place::{MIB, Place, blocks, files},
};

/// Makes a journal one that was written before the machine restarted, record by record.
fn restart(place: &Place) {
    let mut bytes = fs::read(place.journal()).unwrap();
    let mut at = 0;
    let mut runs = 0;
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let body = at + 8..at + 8 + len;
        // Which kind of record, which version, whether a boot is told, and how long that is.
        if bytes[body.start] == 0 {
            assert_eq!(bytes[body.start..body.start + 4], [0, 2, 1, 36]);
            bytes[body.start + 4..body.end].reverse();
            runs += 1;
        }
        let crc = crc32fast::hash(&bytes[body.clone()]);
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at = body.end;
    }
    assert!(runs > 0);
    fs::write(place.journal(), bytes).unwrap();
}

/// A power cut: bytes that had been written and were not on the disk are zeros, and nothing else tells.
fn lose(path: &Path, from: usize) {
    let file = File::options().write(true).open(path).unwrap();
    let found = file.metadata().unwrap();
    let len = found.len() as usize - from;
    file.write_all_at(&vec![0; len], from as u64).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
}

/// How many files have their names.
fn finished(place: &Place) -> usize {
    let is_partial = |path: &PathBuf| path.extension().is_some_and(|end| end == "haul-part");
    let there = files(&place.target());
    there.iter().filter(|path| !is_partial(path)).count()
}

/// Many small files, cut off when some of them are there, and a large one, cut off in the midst of it.
fn cut_off(fsync: Fsync, seed: u64) -> Place {
    let mut random = Random(seed);
    let place = Place::with(fsync);
    for n in 0..200 {
        place.write(&n.to_string(), &random.bytes(1_000));
    }
    assert_eq!(place.run(CLEAN, seed, 100).0, None);
    place.write("z/large", &random.bytes(60 * MIB));
    assert_eq!(place.run(CLEAN, seed, blocks(50 * MIB)).0, None);
    let there = finished(&place);
    assert!(there > 50 && there < 201, "{there}");
    restart(&place);
    place
}

#[test]
fn k111_what_was_written_back_is_not_sent_again_after_a_restart() {
    let place = cut_off(Fsync::Each, 1);
    // It was written back whenever this much more of it had come.
    lose(&place.target().join("z/.large.haul-part"), 33 * MIB);
    let finished = finished(&place);
    let (received, sent) = place.complete(2);
    assert_eq!(received.there_files as usize, finished);
    let there = received.there_bytes as usize - finished * 1_000;
    assert!((32 * MIB - BLOCK_LEN..33 * MIB).contains(&there), "{there}");
    let missing = 60 * MIB - there + (200 - finished) * 1_000;
    assert!(sent <= blocks(missing) + 2, "{sent}");
}

#[test]
fn k111_what_was_not_written_back_is_sent_again_after_a_restart() {
    for fsync in [Fsync::Never, Fsync::End] {
        let place = cut_off(fsync, 1);
        for file in files(&place.target()) {
            lose(&file, 0);
        }
        let (received, _) = place.complete(2);
        assert_eq!((received.there_files, received.there_bytes), (0, 0));
        assert_eq!(received.files, 201);
    }
}

#[test]
fn k112_what_holds_and_is_damaged_costs_sending_again_and_nothing_else() {
    for seed in 1..=4 {
        let _seed = Seed(seed);
        let mut random = Random(seed);
        let place = cut_off(Fsync::Each, seed);
        let partial = place.target().join("z/.large.haul-part");
        lose(&partial, 33 * MIB);
        let file = File::options().write(true).open(place.journal()).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        match seed {
            1 => file.set_len(random.below(len) as u64).unwrap(),
            2 => file
                .write_all_at(&random.bytes(9), random.below(len) as u64)
                .unwrap(),
            // Not the file that it speaks of, though it has its name and its length.
            3 => {
                fs::rename(&partial, place.work.path().join("other")).unwrap();
                fs::write(&partial, vec![0; 60 * MIB]).unwrap();
            }
            _ => {
                for copy in files(&place.target())
                    .iter()
                    .filter(|copy| **copy != partial)
                {
                    fs::write(copy, [9; 1_000]).unwrap();
                }
            }
        }
        place.complete(seed);
    }
}

/// A run that came to its end, and failed in part.
#[test]
fn with_everything_written_back_at_the_end_all_of_it_holds() {
    for (fsync, holds) in [(Fsync::Never, 0), (Fsync::End, 50), (Fsync::Each, 50)] {
        let place = Place::with(fsync);
        for n in 0..50 {
            place.write(&format!("a/{n}"), &[n; 100_000]);
        }
        place.write("is a folder there", b"and stays one");
        let in_the_way = place.target().join("is a folder there");
        fs::create_dir_all(&in_the_way).unwrap();
        let (received, _) = place.run(CLEAN, 1, u64::MAX);
        assert_eq!(received.unwrap().failed_count, 1);
        restart(&place);
        fs::remove_dir(in_the_way).unwrap();
        if holds == 0 {
            for file in files(&place.target()) {
                lose(&file, 0);
            }
        }
        let (received, _) = place.complete(2);
        assert_eq!(received.there_files, holds, "{fsync:?}");
    }
}

/// What is written back at the end is one file system.
#[test]
fn k111_with_another_file_system_mounted_inside_nothing_of_that_holds() {
    let place = Place::with(Fsync::End);
    place.write("mounted/a", &[1; 100_000]);
    place.write("b", &[2; 100_000]);
    place.write("is a folder there", b"and stays one");
    let [in_the_way, inside] =
        ["is a folder there", "mounted"].map(|name| place.target().join(name));
    fs::create_dir_all(&in_the_way).unwrap();
    fs::create_dir(&inside).unwrap();
    let mounted = Mounted::on(&inside, "size=1m");
    let (received, _) = place.run(CLEAN, 1, u64::MAX);
    assert_eq!(received.unwrap().failed_count, 1);
    restart(&place);
    lose(&mounted.path().join("a"), 0);
    fs::remove_dir(in_the_way).unwrap();
    let (received, _) = place.complete(2);
    assert_eq!(received.there_files, 0);
}

/// It held beyond a restart, and so must it that it does not any more.
#[test]
fn k111_what_is_taken_back_stays_so_after_a_restart() {
    let place = cut_off(Fsync::Each, 3);
    fs::remove_dir_all(place.target()).unwrap();
    // The next run is cut off before it has anything to say but that.
    let (none, _) = place.run(CLEAN, 4, 500);
    assert_eq!(none, None);
    restart(&place);
    let (received, _) = place.complete(5);
    assert!(
        received.there_bytes <= 300 * BLOCK_LEN as u64,
        "{received:?}"
    );
}
