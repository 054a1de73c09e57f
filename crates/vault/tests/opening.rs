//! What is not what was sealed does not open, and says why.
#![allow(clippy::unwrap_used)]

mod fixture;

use haul_vault::{
    CHUNK_LEN, Identities, PASSPHRASE_WORK, PASSPHRASE_WORK_MAX, Recipients, VaultError, Zeroizing,
    add_recipients, inspect, is_age, seal,
};

use fixture::{Pair, contents, open};

const SEALED: usize = CHUNK_LEN + 16;

/// A file of four chunks, the last short, and where the chunks begin.
fn sealed(pair: &Pair) -> (Vec<u8>, usize) {
    let plain = contents(3 * CHUNK_LEN + 100);
    let mut file = Vec::new();
    seal(&pair.recipients(), &mut &*plain, &mut file).unwrap();
    let head = inspect(&mut &*file).unwrap().header_len as usize + 16;
    (file, head)
}

fn passphrase(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[test]
fn a_file_cut_at_the_edge_of_a_chunk_is_cut() {
    let pair = Pair::new();
    let (file, head) = sealed(&pair);
    for chunks in 0..=3 {
        let cut = &file[..head + chunks * SEALED];
        let error = open(cut, &pair.identities()).unwrap_err();
        assert!(matches!(error, VaultError::Truncated), "{chunks}: {error}");
    }
    for len in [0, 5, 22, 100, head - 20, head - 1] {
        let error = open(&file[..len], &pair.identities()).unwrap_err();
        let expected = match len {
            0 | 5 => matches!(error, VaultError::NotAge),
            _ => matches!(error, VaultError::Truncated),
        };
        assert!(expected, "{len}: {error}");
    }
}

#[test]
fn a_file_cut_within_a_chunk_is_damaged_there() {
    let pair = Pair::new();
    let (file, head) = sealed(&pair);
    for len in [
        head + 3,
        head + SEALED - 1,
        head + SEALED + 1,
        file.len() - 1,
    ] {
        let error = open(&file[..len], &pair.identities()).unwrap_err();
        let chunk = (len - head) / SEALED;
        let place = (chunk * CHUNK_LEN) as u64;
        assert!(
            matches!(error, VaultError::Damaged { at } if at == place),
            "{len}: {error}"
        );
    }
}

#[test]
fn swapped_chunks_are_damaged_and_every_flipped_bit_is_found() {
    let pair = Pair::new();
    let (file, head) = sealed(&pair);
    let mut swapped = file.clone();
    let (first, second) = swapped[head..].split_at_mut(SEALED);
    first.swap_with_slice(&mut second[..SEALED]);
    let error = open(&swapped, &pair.identities()).unwrap_err();
    assert!(matches!(error, VaultError::Damaged { at: 0 }), "{error}");
    for at in (head..file.len()).step_by(9_973) {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        let place = ((at - head) / SEALED * CHUNK_LEN) as u64;
        let error = open(&flipped, &pair.identities()).unwrap_err();
        assert!(matches!(error, VaultError::Damaged { at } if at == place));
    }
    for at in 0..head {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        assert!(open(&flipped, &pair.identities()).is_err(), "{at}");
    }
}

#[test]
fn what_was_added_behind_is_found() {
    let pair = Pair::new();
    let plain = contents(CHUNK_LEN);
    let mut file = Vec::new();
    seal(&pair.recipients(), &mut &*plain, &mut file).unwrap();
    file.push(0);
    let error = open(&file, &pair.identities()).unwrap_err();
    assert!(matches!(error, VaultError::Trailing), "{error}");
}

#[test]
fn another_key_is_not_damage() {
    let (pair, other) = (Pair::new(), Pair::new());
    let (file, _) = sealed(&pair);
    let error = open(&file, &other.identities()).unwrap_err();
    assert!(matches!(error, VaultError::NotForUs), "{error}");
    let mut identities = Identities::default();
    identities.set_passphrase(&passphrase("x")).unwrap();
    let error = open(&file, &identities).unwrap_err();
    assert!(matches!(error, VaultError::NeedsIdentity), "{error}");
}

#[test]
fn other_files_are_told_from_age_files() {
    let pair = Pair::new();
    for (text, is_expected) in [
        ("hello\n", VaultError::NotAge),
        ("age-encryption.org/v2\n", VaultError::UnknownVersion),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", VaultError::Armored),
        (
            "age-encryption.org/v1\nnonsense\n---\n",
            VaultError::BadHeader,
        ),
    ] {
        let error = open(text.as_bytes(), &pair.identities()).unwrap_err();
        assert_eq!(error.to_string(), is_expected.to_string());
    }
    assert!(is_age(b"age-encryption.org/v1\n") && !is_age(b"age-encryption"));
    let endless = [b"age-encryption.org/v1\n".to_vec(), vec![b'-'; 3 << 20]].concat();
    let error = open(&endless, &pair.identities()).unwrap_err();
    assert!(matches!(error, VaultError::BadHeader), "{error}");
}

#[test]
fn a_passphrase_opens_what_it_sealed_here_and_in_the_age_crate() {
    let plain = contents(CHUNK_LEN + 1);
    let recipients = Recipients::passphrase(&passphrase("correct horse")).unwrap();
    let mut file = Vec::new();
    seal(&recipients, &mut &*plain, &mut file).unwrap();
    let seen = inspect(&mut &*file).unwrap();
    assert_eq!(seen.stanzas, ["scrypt"], "it is alone");
    assert_eq!(seen.passphrase_work, Some(PASSPHRASE_WORK));
    assert_eq!(seen.plain_len(file.len() as u64), Some(plain.len() as u64));
    let mut identities = Identities::default();
    identities
        .set_passphrase(&passphrase("correct horse"))
        .unwrap();
    assert!(open(&file, &identities).unwrap() == plain);
    let mut theirs = age::scrypt::Identity::new("correct horse".to_owned().into());
    theirs.set_max_work_factor(PASSPHRASE_WORK);
    assert!(age::decrypt(&theirs, &file).unwrap() == plain);
    identities
        .set_passphrase(&passphrase("wrong horse"))
        .unwrap();
    let error = open(&file, &identities).unwrap_err();
    assert!(matches!(error, VaultError::WrongPassphrase), "{error}");
    let error = open(&file, &Pair::new().identities()).unwrap_err();
    assert!(matches!(error, VaultError::NeedsPassphrase), "{error}");
}

#[test]
fn too_much_work_is_refused_before_it_is_done() {
    let mut recipient = age::scrypt::Recipient::new("p".to_owned().into());
    recipient.set_work_factor(10);
    let file = age::encrypt(&recipient, b"x").unwrap();
    let mut identities = Identities::default();
    identities.set_passphrase(&passphrase("p")).unwrap();
    assert_eq!(open(&file, &identities).unwrap(), b"x");
    // The stanza's last argument is the work.
    let end = file
        .iter()
        .skip(22)
        .position(|byte| *byte == b'\n')
        .unwrap()
        + 22;
    for work in [PASSPHRASE_WORK_MAX + 1, 63] {
        let mut greedy = file.clone();
        greedy[end - 2..end].copy_from_slice(work.to_string().as_bytes());
        let error = open(&greedy, &identities).unwrap_err();
        assert!(
            matches!(error, VaultError::TooMuchWork { required, max: 22 } if required == work),
            "{error}"
        );
    }
}

#[test]
fn a_recipient_can_be_added_and_the_others_keep_their_access() {
    let (first, second) = (Pair::new(), Pair::new());
    let (file, _) = sealed(&first);
    let mut grown = Vec::new();
    let added = add_recipients(
        &mut &*file,
        &mut grown,
        &first.identities(),
        &second.recipients(),
    );
    added.unwrap();
    let plain = open(&file, &first.identities()).unwrap();
    for pair in [&first, &second] {
        assert!(open(&grown, &pair.identities()).unwrap() == plain);
        let key: age::x25519::Identity = pair.secret.parse().unwrap();
        assert!(age::decrypt(&key, &grown).unwrap() == plain);
    }
    assert_eq!(inspect(&mut &*grown).unwrap().stanzas, ["X25519"; 2]);
    assert!(
        grown.ends_with(&file[file.len() - 3 * SEALED..]),
        "as it was"
    );
    let mut nothing = Vec::new();
    let stranger = Pair::new();
    let refused = add_recipients(
        &mut &*file,
        &mut nothing,
        &stranger.identities(),
        &stranger.recipients(),
    );
    assert!(matches!(refused, Err(VaultError::NotForUs)));
    assert!(nothing.is_empty());
}

#[test]
fn nobody_can_be_added_beside_a_passphrase() {
    let pair = Pair::new();
    let mut recipient = age::scrypt::Recipient::new("p".to_owned().into());
    recipient.set_work_factor(2);
    let file = age::encrypt(&recipient, b"x").unwrap();
    let mut identities = Identities::default();
    identities.set_passphrase(&passphrase("p")).unwrap();
    let mut out = Vec::new();
    let refused = add_recipients(&mut &*file, &mut out, &identities, &pair.recipients());
    assert!(matches!(refused, Err(VaultError::PassphraseAlone)));
    let (file, _) = sealed(&pair);
    let passphrase = Recipients::passphrase(&passphrase("p")).unwrap();
    let refused = add_recipients(&mut &*file, &mut out, &pair.identities(), &passphrase);
    assert!(matches!(refused, Err(VaultError::PassphraseAlone)));
}

#[test]
fn an_altered_list_of_recipients_is_noticed_by_those_who_can_open_it() {
    let (first, second) = (Pair::new(), Pair::new());
    let mut recipients = first.recipients();
    recipients.add(&second.public).unwrap();
    let mut file = Vec::new();
    seal(&recipients, &mut &b"x"[..], &mut file).unwrap();
    // Without its second stanza.
    let text = String::from_utf8_lossy(&file);
    let starts: Vec<usize> = text.match_indices("-> ").map(|(at, _)| at).collect();
    let end = text.find("---").unwrap();
    let altered = [&file[..starts[1]], &file[end..]].concat();
    let error = open(&altered, &first.identities()).unwrap_err();
    assert!(matches!(error, VaultError::AlteredHeader), "{error}");
}
