//! A file made in any order is the file that any age program reads, and a source that changes is noticed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixture;

use std::io::{self, Read as _};

use haul_vault::{CHUNK_LEN, Kept, Recipients, Sealer, VaultError, seal};

use fixture::{Pair, contents, open, read_at};

/// Lengths around which something changes.
const LENGTHS: [usize; 7] = [
    0,
    1,
    CHUNK_LEN - 1,
    CHUNK_LEN,
    CHUNK_LEN + 1,
    2 * CHUNK_LEN,
    3 * CHUNK_LEN + 4_711,
];

/// All of a file, in pieces of at most `piece` bytes from front to back.
fn in_order(sealer: &mut Sealer, plain: &[u8], piece: usize) -> Vec<u8> {
    let mut file = vec![0; sealer.sealed_len() as usize];
    let (mut kept, mut at) = (Kept::default(), 0);
    for out in file.chunks_mut(piece) {
        let len = out.len();
        sealer
            .fill(at, out, &mut kept, &mut read_at(plain))
            .unwrap();
        at += len as u64;
    }
    file
}

/// What the age crate makes of a file.
fn age_opens(file: &[u8], pair: &Pair) -> Vec<u8> {
    let key: age::x25519::Identity = pair.secret.parse().unwrap();
    let decryptor = age::Decryptor::new(file).unwrap();
    let mut reader = decryptor
        .decrypt(std::iter::once(&key as &dyn age::Identity))
        .unwrap();
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn every_recipient_reads_it_with_the_age_crate_and_with_us() {
    let (first, second) = (Pair::new(), Pair::new());
    let mut recipients = Recipients::default();
    recipients.add(&first.public).unwrap();
    recipients.add(&second.public).unwrap();
    for len in LENGTHS {
        let plain = contents(len);
        let mut sealer = Sealer::new(&recipients, len as u64).unwrap();
        let file = in_order(&mut sealer, &plain, 1_400);
        for pair in [&first, &second] {
            assert!(age_opens(&file, pair) == plain, "{len}");
            assert!(open(&file, &pair.identities()).unwrap() == plain, "{len}");
        }
    }
}

#[test]
fn a_stream_of_unknown_length_becomes_such_a_file_too() {
    let pair = Pair::new();
    for len in LENGTHS {
        let plain = contents(len);
        let mut file = Vec::new();
        let went_in = seal(&pair.recipients(), &mut &*plain, &mut file).unwrap();
        assert_eq!(went_in, len as u64);
        assert!(age_opens(&file, &pair) == plain, "{len}");
    }
}

#[test]
fn what_the_age_crate_makes_is_read() {
    let pair = Pair::new();
    let key: age::x25519::Recipient = pair.public.parse().unwrap();
    for len in LENGTHS {
        let plain = contents(len);
        let file = age::encrypt(&key, &plain).unwrap();
        assert!(open(&file, &pair.identities()).unwrap() == plain, "{len}");
    }
}

#[test]
fn ranges_in_random_order_are_bytes_of_one_file() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let plain = contents(6 * CHUNK_LEN + 9);
    let pair = Pair::new();
    let mut sealer = Sealer::new(&pair.recipients(), plain.len() as u64).unwrap();
    let mut kept = Kept::default();
    let mut file = vec![0; sealer.sealed_len() as usize];
    let mut starts: Vec<usize> = (0..file.len()).step_by(7_000).collect();
    random.shuffle(&mut starts);
    for start in starts {
        let end = (start + 7_000).min(file.len());
        let out = &mut file[start..end];
        sealer
            .fill(start as u64, out, &mut kept, &mut read_at(&plain))
            .unwrap();
    }
    assert!(age_opens(&file, &pair) == plain);
    for _ in 0..200 {
        let start = random.usize(..file.len());
        let end = random.usize(start..=file.len().min(start + 3 * CHUNK_LEN));
        let mut again = vec![0; end - start];
        sealer
            .fill(start as u64, &mut again, &mut kept, &mut read_at(&plain))
            .unwrap();
        assert!(again == file[start..end], "{start}..{end}");
    }
}

#[test]
fn a_chunk_is_read_once_for_pieces_that_follow_each_other() {
    let plain = contents(3 * CHUNK_LEN);
    let mut sealer = Sealer::new(&Pair::new().recipients(), plain.len() as u64).unwrap();
    let (mut kept, mut reads, mut at) = (Kept::default(), Vec::new(), 0);
    let mut piece = [0; 1_391];
    while at < sealer.sealed_len() {
        let len = piece.len().min((sealer.sealed_len() - at) as usize);
        let mut read = |offset: u64, out: &mut [u8]| {
            reads.push(offset);
            read_at(&plain)(offset, out)
        };
        sealer
            .fill(at, &mut piece[..len], &mut kept, &mut read)
            .unwrap();
        at += len as u64;
    }
    assert_eq!(reads, [0, CHUNK_LEN as u64, 2 * CHUNK_LEN as u64]);
}

#[test]
fn a_chunk_that_has_changed_is_not_sealed_again() {
    let mut plain = contents(4 * CHUNK_LEN);
    let mut sealer = Sealer::new(&Pair::new().recipients(), plain.len() as u64).unwrap();
    let file = in_order(&mut sealer, &plain, 10_000);
    plain[2 * CHUNK_LEN + 5] ^= 1;
    let start = file.len() - CHUNK_LEN - 16 - 10;
    // Nothing is kept: everything is read again.
    let mut out = [0; 5];
    let mut again = |at: usize, plain: &[u8], kept: &mut Kept| {
        sealer.fill(at as u64, &mut out, kept, &mut read_at(plain))?;
        assert_eq!(out, file[at..at + 5]);
        Ok(())
    };
    let error: Result<(), VaultError> = again(start, &plain, &mut Kept::default());
    let error = error.unwrap_err();
    let place = 2 * CHUNK_LEN as u64;
    assert!(matches!(error, VaultError::SourceChanged { at } if at == place));
    // The others still can be had, and the changed one when it is what it was.
    again(300, &plain, &mut Kept::default()).unwrap();
    again(file.len() - 20, &plain, &mut Kept::default()).unwrap();
    plain[2 * CHUNK_LEN + 5] ^= 1;
    again(start, &plain, &mut Kept::default()).unwrap();
}

#[test]
fn a_source_that_became_shorter_has_changed() {
    let plain = contents(CHUNK_LEN + 10);
    let mut sealer = Sealer::new(&Pair::new().recipients(), plain.len() as u64).unwrap();
    let mut file = vec![0; sealer.sealed_len() as usize];
    let cut = &plain[..CHUNK_LEN + 9];
    let error = sealer
        .fill(0, &mut file, &mut Kept::default(), &mut read_at(cut))
        .unwrap_err();
    let place = CHUNK_LEN as u64;
    assert!(matches!(error, VaultError::SourceChanged { at } if at == place));
}

#[test]
fn a_failed_read_is_told_and_seals_nothing() {
    let plain = contents(100);
    let mut sealer = Sealer::new(&Pair::new().recipients(), 100).unwrap();
    let mut file = vec![0; sealer.sealed_len() as usize];
    let mut kept = Kept::default();
    let mut fails = |_: u64, _: &mut [u8]| Err(io::ErrorKind::PermissionDenied.into());
    let error = sealer
        .fill(0, &mut file, &mut kept, &mut fails)
        .unwrap_err();
    assert!(matches!(error, VaultError::Io(_)));
    sealer
        .fill(0, &mut file, &mut kept, &mut read_at(&plain))
        .unwrap();
    let beyond = sealer.fill(1, &mut file, &mut kept, &mut read_at(&plain));
    assert!(matches!(beyond, Err(VaultError::OutOfRange)));
}

#[test]
fn two_files_of_one_source_have_nothing_in_common() {
    let plain = contents(1_000);
    let recipients = Pair::new().recipients();
    let mut first = Sealer::new(&recipients, 1_000).unwrap();
    let mut second = Sealer::new(&recipients, 1_000).unwrap();
    assert_ne!(first.identity(), second.identity());
    let mut kept = Kept::default();
    let len = first.sealed_len() as usize;
    let (mut one, mut other) = (vec![0; len], vec![0; len]);
    for (sealer, out) in [(&mut first, &mut one), (&mut second, &mut other)] {
        sealer
            .fill(0, out, &mut kept, &mut read_at(&plain))
            .unwrap();
    }
    let equal = one.iter().zip(&other).rev().take(1_000);
    let equal = equal.filter(|(a, b)| a == b).count();
    assert!(equal < 50, "{equal} of 1000 bytes");
}

#[test]
fn nobody_to_seal_for_is_an_error() {
    let nobody = Sealer::new(&Recipients::default(), 1);
    assert!(matches!(nobody, Err(VaultError::NoRecipient)));
}
