//! Names beside the final one: backups of what is replaced, and partial files under names of choice.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use haul_disk::{
    Asked, FailureKind, Incoming, Landing, Preserve, ReceiveOptions, Received, Resume,
    has_leftovers,
};
use pair::{BLOCK_LEN, CLEAN, Network, ROUGH, Random, drive, look, outgoing};

struct Site {
    work: tempfile::TempDir,
    options: ReceiveOptions,
}

impl Site {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        for top in ["from", "to", "to/from"] {
            fs::create_dir(work.path().join(top)).unwrap();
        }
        let mut options = ReceiveOptions::new(Preserve::USUAL);
        options.resume = Resume::Attributes;
        Self { work, options }
    }

    fn backing_up(suffix: &str) -> Self {
        let mut site = Self::new();
        site.options.placing.backup_suffix = Some(suffix.as_bytes().to_vec().into());
        site
    }

    fn partial(suffix: &str) -> Self {
        let mut site = Self::new();
        site.options.placing.partial_suffix = Some(suffix.as_bytes().to_vec().into());
        site
    }

    fn source(&self, name: &str) -> PathBuf {
        self.work.path().join("from").join(name)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.work.path().join("to/from").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.there(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = look(&self.there("")).into_keys();
        names
            .map(|name| name.to_str().unwrap().to_owned())
            .collect()
    }

    /// Moves until so many blocks have been delivered; also how many blocks of content went.
    fn run(&self, network: Network, stop_at: u64) -> (Option<Received>, u64) {
        let to = self.work.path().join("to");
        let asked = Asked {
            count: 1,
            contents: false,
        };
        let bytes = to.as_os_str().as_bytes();
        let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
        let there = has_leftovers(&root, &landing, &self.options.placing);
        let mut incoming = Incoming::new(root, landing, self.options.clone(), BLOCK_LEN).unwrap();
        if there {
            incoming.tell_had();
        }
        let from = outgoing(&[&self.source("").join("")]);
        drive(&from, incoming, network, 3, &mut |delivered| {
            delivered < stop_at
        })
        .unwrap()
    }

    fn complete(&self) -> Received {
        self.run(ROUGH, u64::MAX).0.unwrap()
    }
}

/// One of each kind of file, as they are made in different ways.
fn contents(round: &str) -> [(&'static str, String); 3] {
    [
        ("empty", String::new()),
        ("small", round.to_owned()),
        ("large", round.repeat(200_000)),
    ]
}

#[test]
fn what_is_replaced_is_kept_and_an_older_backup_goes() {
    let site = Site::backing_up("~");
    for (number, round) in ["first", "second", "third"].into_iter().enumerate() {
        for (name, text) in contents(round) {
            fs::write(site.source(name), text).unwrap();
            // Of another time than what is there.
            let file = fs::File::options().write(true).open(site.source(name));
            let time = std::time::SystemTime::UNIX_EPOCH;
            let time = time + std::time::Duration::from_secs(1_000 * number as u64 + 1);
            file.unwrap().set_modified(time).unwrap();
        }
        let _ = fs::remove_file(site.source("link"));
        symlink(round, site.source("link")).unwrap();
        let received = site.complete();
        assert_eq!(received.failed_count, 0, "{:?}", received.failed);
    }
    for ((name, new), (_, old)) in contents("third").into_iter().zip(contents("second")) {
        assert_eq!(site.read(name), new, "{name}");
        assert_eq!(site.read(&format!("{name}~")), old, "{name}");
        assert_eq!(fs::metadata(site.there(name)).unwrap().nlink(), 1);
        assert_eq!(
            fs::metadata(site.there(&format!("{name}~")))
                .unwrap()
                .nlink(),
            1
        );
    }
    let links = ["link", "link~"].map(|name| fs::read_link(site.there(name)).unwrap());
    assert_eq!(links, [PathBuf::from("third"), PathBuf::from("second")]);
    assert_eq!(site.names().len(), 8);
}

#[test]
fn what_is_the_same_or_new_has_no_backup() {
    let site = Site::backing_up(".bak");
    for (name, text) in contents("text") {
        fs::write(site.source(name), text).unwrap();
    }
    site.complete();
    site.complete();
    assert_eq!(site.names(), ["empty", "large", "small"]);
}

#[test]
fn a_backup_that_has_no_place_fails_the_file_and_nothing_is_lost() {
    let long = "x".repeat(255);
    let site = Site::backing_up("~");
    for name in ["a", "b", "c", &long] {
        fs::write(site.source(name), "new").unwrap();
        fs::write(site.there(name), "before").unwrap();
    }
    fs::create_dir(site.there("a~")).unwrap();
    // The backup of one file is the name of another that is sent.
    fs::write(site.source("b~"), "sent").unwrap();
    let received = site.complete();
    assert_eq!(site.read("a"), "before");
    assert_eq!(site.read(&long), "before");
    assert_eq!(
        (site.read("c"), site.read("c~")),
        ("new".to_owned(), "before".to_owned())
    );
    let whys: Vec<_> = received.failed.iter().map(|file| file.why).collect();
    let taken = whys.iter().filter(|why| **why == FailureKind::BackupTaken);
    assert!(whys.len() == 3 && taken.count() >= 2, "{whys:?}");
    // Whichever of the two came first, the other must not have replaced it.
    let kept = (site.read("b"), site.read("b~"));
    let in_order =
        [("before", "sent"), ("new", "before")].map(|(b, c)| (b.to_owned(), c.to_owned()));
    assert!(in_order.contains(&kept), "{kept:?}");
}

#[test]
fn backups_are_not_swept() {
    let mut site = Site::backing_up("~");
    site.options.placing.delete = true;
    fs::write(site.source("a"), "new").unwrap();
    for name in ["a", "gone", "gone~"] {
        fs::write(site.there(name), "before").unwrap();
    }
    assert_eq!(site.complete().deleted, 1);
    assert_eq!(site.names(), ["a", "a~", "gone~"]);
}

#[test]
fn a_partial_file_has_the_suffix_and_the_next_run_goes_on_with_it() {
    let site = Site::partial(".part");
    let bytes = Random(4).bytes(8 << 20);
    fs::write(site.source("large"), &bytes).unwrap();
    let (done, _) = site.run(CLEAN, 4_500);
    assert!(done.is_none());
    assert_eq!(site.names(), ["large.part"]);
    assert_eq!(
        fs::metadata(site.there("large.part"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let (done, sent) = site.run(ROUGH, u64::MAX);
    assert_eq!(done.unwrap().files, 1);
    assert!(sent < 3_200, "{sent}");
    assert_eq!(site.names(), ["large"]);
    assert!(fs::read(site.there("large")).unwrap() == bytes);
}

#[test]
fn files_that_only_look_like_partial_files_are_left_alone() {
    let site = Site::partial(".part");
    fs::write(site.source("large"), "x".repeat(300_000)).unwrap();
    fs::write(site.source("small"), "x").unwrap();
    for name in ["large.part", "small.part"] {
        fs::write(site.there(name), "somebody's").unwrap();
        fs::set_permissions(site.there(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let received = site.complete();
    assert_eq!((received.files, received.failed_count), (2, 0));
    assert_eq!(site.names(), ["large", "large.part", "small", "small.part"]);
    assert_eq!(site.read("large.part"), "somebody's");
}

#[test]
fn what_is_sent_must_not_look_like_a_partial_file() {
    let site = Site::partial(".part");
    for name in ["a", "a.part", "b.part.2", ".part"] {
        fs::write(site.source(name), "x".repeat(100_000)).unwrap();
    }
    fs::write(site.source("empty.part"), "").unwrap();
    symlink("x", site.source("link.part")).unwrap();
    let received = site.complete();
    assert!(
        received
            .failed
            .iter()
            .all(|file| file.why == FailureKind::Reserved)
    );
    assert_eq!((received.files, received.failed_count), (2, 4));
    assert_eq!(site.names(), [".part", "a"]);
}

#[test]
fn a_partial_file_whose_name_was_taken_is_not_given_the_final_one() {
    let site = Site::new();
    let bytes = Random(5).bytes(3 << 20);
    fs::write(site.source("large"), &bytes).unwrap();
    let to = site.there("");
    let mut swapped = false;
    let from = outgoing(&[&site.source("").join("")]);
    let asked = Asked {
        count: 1,
        contents: false,
    };
    let top = site.work.path().join("to");
    let place = Landing::resolve(Path::new("/"), top.as_os_str().as_bytes(), asked, false);
    let (root, landing) = place.unwrap();
    let incoming = Incoming::new(root, landing, site.options.clone(), BLOCK_LEN).unwrap();
    let mut swap = |_| {
        let partial = to.join(".large.haul-part");
        if !swapped && partial.exists() {
            swapped = true;
            fs::remove_file(&partial).unwrap();
            fs::write(&partial, "another").unwrap();
        }
        true
    };
    let (received, _) = drive(&from, incoming, CLEAN, 1, &mut swap).unwrap();
    assert_eq!(received.unwrap().failed[0].why, FailureKind::Collision);
    assert_eq!(site.names(), [".large.haul-part"]);
}
