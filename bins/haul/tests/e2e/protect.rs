//! What is protected arrives as files that only its recipients can read.

use std::{fs, path::Path};

use haul_vault::{Identities, Opener, VaultError, Zeroizing, keygen};

use crate::{
    noise::noise,
    outcome::{expect_status, stderr},
    plant,
    site::Site,
};

fn open(path: &Path, identities: &Identities) -> Result<Vec<u8>, VaultError> {
    let mut plain = Vec::new();
    let sealed = fs::read(path).unwrap();
    Opener::new(&*sealed, identities)?.copy_to(&mut plain)?;
    Ok(plain)
}

/// A key; its recipient, and what opens.
fn key(site: &Site, name: &str) -> (String, Identities) {
    let (secret, recipient) = keygen();
    fs::write(site.path(name), secret.as_bytes()).unwrap();
    let mut identities = Identities::default();
    identities.add_file(&site.path(name)).unwrap();
    (recipient, identities)
}

/// That a tree arrived, file by file, each as what only these open.
fn expect_tree(source: &Path, copy: &Path, identities: &Identities) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let (path, mut name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            files += expect_tree(&path, &copy.join(name), identities);
            continue;
        }
        name.push(".age");
        let opened = open(&copy.join(&name), identities).unwrap();
        assert!(opened == fs::read(&path).unwrap(), "{name:?}");
        files += 1;
    }
    let there = fs::read_dir(copy).unwrap().count();
    assert_eq!(there, fs::read_dir(source).unwrap().count(), "{copy:?}");
    files
}

#[test]
fn a_tree_is_protected_for_two_and_sent_anew_with_other_keys() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    fs::write(site.here().join("tree/big"), noise(7, 3_000_000)).unwrap();
    let (first, second) = (key(&site, "first"), key(&site, "second"));
    fs::write(site.here().join("team"), format!("# us\n{}\n", second.0)).unwrap();
    let line = [
        "-p",
        "--protect-to",
        &first.0,
        "--protect-to",
        "@team",
        "tree",
        "localhost:",
    ];
    expect_status(0, &site.run(&line));
    let (source, copy) = (site.here().join("tree"), site.there().join("tree"));
    for identities in [&first.1, &second.1] {
        assert_eq!(expect_tree(&source, &copy, identities), 9);
    }
    let before = fs::read(copy.join("big.age")).unwrap();
    // The same size and time: taken for the same it would stay for those it was for.
    expect_status(
        0,
        &site.run(&["-p", "--protect-to", &second.0, "tree", "localhost:"]),
    );
    assert_eq!(expect_tree(&source, &copy, &second.1), 9);
    let after = fs::read(copy.join("big.age")).unwrap();
    assert_ne!(before[before.len() - 1_000..], after[after.len() - 1_000..]);
    let refused = open(&copy.join("big.age"), &first.1);
    assert!(matches!(refused, Err(VaultError::NotForUs)), "{refused:?}");
}

#[test]
fn a_passphrase_protects_a_file_of_any_suffix() {
    let site = Site::new();
    fs::write(site.here().join("file"), noise(1, 70_000)).unwrap();
    fs::write(site.here().join("pass"), "correct horse\n").unwrap();
    let line = [
        "--protect-passphrase-file",
        "pass",
        "--protect-suffix",
        ".sealed",
        "file",
    ];
    expect_status(0, &site.run(&[&line[..], &["localhost:"]].concat()));
    let mut identities = Identities::default();
    let passphrase = Zeroizing::new("correct horse".to_owned());
    identities.set_passphrase(&passphrase).unwrap();
    let opened = open(&site.there().join("file.sealed"), &identities).unwrap();
    assert!(opened == noise(1, 70_000));
}

#[test]
fn what_cannot_be_protected_is_refused_and_not_sent() {
    let site = Site::new();
    fs::write(site.here().join("file"), "secret").unwrap();
    let (recipient, _) = key(&site, "key");
    for (options, words) in [
        (&["--verify", "blake3"][..], "digests"),
        (&["--range", "0-3"], "haul-protect"),
        (&["--grow", "1"], "haul-protect"),
        (&["-H"], "-H"),
    ] {
        let line = [
            &["--protect-to", &recipient],
            options,
            &["file", "localhost:"],
        ]
        .concat();
        let output = site.run(&line);
        expect_status(2, &output);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    fs::write(site.there().join("theirs"), "x").unwrap();
    let down = ["--protect-to", &recipient, "localhost:theirs", "here"];
    expect_status(2, &site.run(&down));
    expect_status(
        2,
        &site.run(&["--protect-to", "nobody", "file", "localhost:"]),
    );
    let stream = ["--protect-to", &recipient, "-", "localhost:stream"];
    expect_status(2, &site.run(&stream));
    assert_eq!(fs::read_dir(site.there()).unwrap().count(), 1);
}
