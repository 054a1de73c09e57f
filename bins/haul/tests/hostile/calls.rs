//! The nth call of a kind fails, at either end and either way (cases D104 and D105): no success is
//! reported that is none, nothing wrong has a final name, and the same command again completes.
//!
//! `HAUL_CALLS=all` tries every call, error and position instead of a choice; `HAUL_SEED` chooses.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path, process::Command};

use crate::{
    judging::{assert_nothing_wrong, is_own, seed},
    noise::{Random, noise},
    outcome::stderr,
    site::{Site, finish},
    tree::{Tree, tree},
};

/// How many faults a test tries unless all are asked for.
const FAULTS: usize = 30;
/// The first calls of a kind, and one when things are under way.
const POSITIONS: [u32; 4] = [1, 2, 3, 7];
const WRITING: [&str; 20] = [
    "openat",
    "openat2",
    "newfstatat",
    "fstat",
    "statx",
    "mkdirat",
    "flock",
    "ftruncate",
    "pwritev",
    "write",
    "linkat",
    "symlinkat",
    "renameat2",
    "renameat",
    "fchmod",
    "utimensat",
    "fsync",
    "fdatasync",
    "syncfs",
    "unlinkat",
];
const READING: [&str; 7] = [
    "openat",
    "openat2",
    "newfstatat",
    "fstat",
    "statx",
    "getdents64",
    "preadv",
];
const ERRORS: [&str; 7] = [
    "ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "EINTR", "EACCES",
];
/// What an end may end with when its disk, or the other's, let it down: of its files, its sources, its
/// destination, its disk, its descriptors. Never success without all of it, never a defect, never a broken protocol.
const MAY_END: [i32; 8] = [0, 3, 20, 21, 22, 23, 24, 27];
/// Names whose calls are counted: below and at the top of a tree of `plant`.
const NAMES: [&str; 14] = [
    "",
    "tree",
    "tree/deep",
    "tree/big",
    "tree/.big.haul-part",
    "tree/small",
    "tree/.small.haul-part",
    "tree/empty",
    "tree/deep/x",
    "tree/deep/.x.haul-part",
    "tree/link",
    ".haul-journal",
    "big",
    ".big.haul-part",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    There,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    error: &'static str,
    position: u32,
}

impl Fault {
    /// The words that make a program's calls fail; those on other files, libraries for one, do not count.
    fn tracer(self, folder: &Path, log: &Path) -> Vec<String> {
        let Self {
            call,
            error,
            position,
        } = self;
        let mut words: Vec<String> = ["strace", "-f", "-qq", "--seccomp-bpf", "-o"]
            .map(str::to_owned)
            .to_vec();
        words.push(log.display().to_string());
        words.push("-e".to_owned());
        words.push(format!("trace={call}"));
        words.push("-e".to_owned());
        words.push(format!("inject={call}:error={error}:when={position}"));
        let everywhere = [
            "pwritev",
            "preadv",
            "fchmod",
            "utimensat",
            "linkat",
            "fsync",
            "fdatasync",
            "syncfs",
        ];
        if !everywhere.contains(&call) {
            for name in NAMES {
                words.push("-P".to_owned());
                words.push(folder.join(name).display().to_string());
            }
        }
        words
    }
}

/// What trees have, in little: nesting, nothing, a link, one block, many blocks.
fn plant(folder: &Path, seed: u64) {
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("deep/x"), noise(seed, 3_000)).unwrap();
    fs::write(folder.join("small"), noise(seed + 1, 70_000)).unwrap();
    fs::write(folder.join("big"), noise(seed + 2, 5_000_000)).unwrap();
    symlink("small", folder.join("link")).unwrap();
}

/// The faults to be tried: all, or a choice that a seed repeats.
fn faults(calls: &[&'static str], random: &mut Random) -> Vec<Fault> {
    let mut all = Vec::new();
    for call in calls {
        for error in ERRORS {
            all.extend(POSITIONS.map(|position| Fault {
                call,
                error,
                position,
            }));
        }
    }
    if std::env::var_os("HAUL_CALLS").is_none_or(|wish| wish != "all") {
        // Each call in its turn, so that none is left out.
        let each = ERRORS.len() * POSITIONS.len();
        all = (0..FAULTS)
            .map(|turn| {
                let call = turn % calls.len();
                all[call * each + random.below(each as u64) as usize]
            })
            .collect();
    }
    all
}

struct Trial<'a> {
    upload: bool,
    /// Where calls fail.
    end: End,
    fault: Fault,
    options: &'a [&'a str],
    /// Whether other versions of the files are there.
    replaces: bool,
}

impl Trial<'_> {
    /// Runs with the fault and without; what the first run ended with, and whether the fault struck.
    fn run(&self) -> (i32, bool) {
        let site = Site::new();
        let (from, into, places) = if self.upload {
            (site.here(), site.there(), ["tree", "localhost:"])
        } else {
            (site.there(), site.here(), ["localhost:tree", "."])
        };
        plant(&from.join("tree"), 1);
        if self.replaces {
            plant(&into.join("tree"), 100);
        }
        let (source, before) = (tree(&from), tree(&into));
        let what = format!("upload {}, {:?}, {:?}", self.upload, self.end, self.fault);

        let folder = if self.end == End::Here {
            site.here()
        } else {
            site.there()
        };
        let log = site.path("calls");
        let tracer = self.fault.tracer(&folder, &log);
        let mut arguments = vec!["-q", "--retry-for", "0"];
        arguments.extend(self.options);
        arguments.extend(places);
        let mut command = match self.end {
            End::Here => site.command_under(&tracer, &arguments),
            End::There => site.command(&arguments),
        };
        if self.end == End::There {
            command.env("TRACE", tracer.join(" "));
        }
        let output = finish(command.spawn().unwrap());
        let log = fs::read_to_string(&log).unwrap_or_else(|_| {
            panic!("{what}: strace left no log; it is needed, and may not be forbidden ptrace")
        });
        let status = output.status.code().unwrap_or(-1);
        assert!(
            MAY_END.contains(&status),
            "{what}: {status}: {}\n{log}",
            stderr(&output)
        );
        assert_nothing_wrong(&tree(&into), &source, &before, &what);
        if status == 0 {
            // A call that fails may be the one that would have removed the journal.
            let mut arrived = tree(&into);
            arrived.retain(|path, _| !is_own(path));
            self.assert_same(&arrived, &source, &what);
        }

        let again = site.run(&arguments);
        assert_eq!(again.status.code(), Some(0), "{what}: {}", stderr(&again));
        self.assert_same(&tree(&into), &source, &what);
        (status, log.contains("(INJECTED)"))
    }

    /// Where permissions are kept, they too are part of success.
    fn assert_same(&self, arrived: &Tree, source: &Tree, what: &str) {
        let keeps = self.options.contains(&"-p");
        let comparable = |tree: &Tree| -> Tree {
            let entries = tree.iter().map(|(path, (mode, contents))| {
                let mode = if keeps { *mode } else { 0 };
                (path.clone(), (mode, contents.clone()))
            });
            entries.collect()
        };
        let (arrived, source) = (comparable(arrived), comparable(source));
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&arrived), names(&source), "{what}");
        for (path, found) in &arrived {
            assert!(found == &source[path], "{what}: {} differs", path.display());
        }
    }
}

impl Fault {
    /// Strikes an upload at one of these ends, a download at the other, and each ends like this.
    #[track_caller]
    fn strike(self, ends: [End; 2], options: &[&str], replaces: bool, status: i32) {
        for (upload, end) in [true, false].into_iter().zip(ends) {
            let trial = Trial {
                upload,
                end,
                fault: self,
                options,
                replaces,
            };
            assert_eq!(trial.run(), (status, true), "{self:?}");
        }
    }
}

/// A call that fails at the end that sends, both ways.
#[track_caller]
pub(crate) fn sending(call: &'static str, error: &'static str, position: u32, status: i32) {
    let fault = Fault {
        call,
        error,
        position,
    };
    fault.strike([End::Here, End::There], &[], false, status);
}

/// A call that fails at the end that receives, both ways, and where something is replaced or nothing.
#[track_caller]
pub(crate) fn receiving(call: &'static str, error: &'static str, position: u32, status: i32) {
    let fault = Fault {
        call,
        error,
        position,
    };
    for replaces in [false, true] {
        fault.strike(
            [End::There, End::Here],
            &["--fsync", "each"],
            replaces,
            status,
        );
    }
}

/// Tries a choice of faults at one end, one way.
fn sweep(upload: bool, end: End, calls: &[&'static str]) {
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    let can_trace = traced.is_ok_and(|status| status.success());
    assert!(
        can_trace,
        "strace cannot run here: scripts/setup --tests installs it, and ptrace must be allowed"
    );
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mut endings = BTreeMap::<_, u32>::new();
    let mut struck = 0;
    for fault in faults(calls, &mut random) {
        let options: &[&str] = match random.below(3) {
            0 => &[],
            1 => &["-p", "--strict-attrs"],
            _ => &["-p", "--strict-attrs", "--fsync", "each"],
        };
        let trial = Trial {
            upload,
            end,
            fault,
            options,
            replaces: random.below(2) == 0,
        };
        let (status, did) = trial.run();
        *endings.entry((fault.error, status)).or_default() += u32::from(did);
        struck += usize::from(did);
    }
    eprintln!("{struck} faults: {endings:?}");
    assert!(struck >= FAULTS / 4, "only {struck} of the calls were made");
}

/// A journal without a lock is another run's to take; nobody would remove it.
#[test]
fn d105_a_journal_that_cannot_be_locked_does_not_stay() {
    let site = Site::new();
    fs::write(site.here().join("big"), noise(1, 5_000_000)).unwrap();
    let fault = Fault {
        call: "flock",
        error: "ENOLCK",
        position: 2,
    };
    let log = site.path("calls");
    let mut command = site.command(&["-q", "big", "localhost:"]);
    command.env("TRACE", fault.tracer(&site.there(), &log).join(" "));
    let output = finish(command.spawn().unwrap());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("(INJECTED)").count(), 1, "{log}");
    assert_eq!(tree(&site.there()), tree(&site.here()), "{log}");
}

/// An error of writing back is told once: whoever reads on is given from memory what the disk does not have.
#[test]
fn k111_what_could_not_be_written_back_is_sent_again() {
    let site = Site::new();
    fs::write(site.here().join("big"), noise(1, 40_000_000)).unwrap();
    let fault = Fault {
        call: "fdatasync",
        error: "EIO",
        position: 1,
    };
    let log = site.path("calls");
    let arguments = ["--json", "--fsync", "each", "big", "localhost:"];
    let mut command = site.command(&arguments);
    command.env("TRACE", fault.tracer(&site.there(), &log).join(" "));
    let output = finish(command.spawn().unwrap());
    assert_eq!(output.status.code(), Some(24), "{}", stderr(&output));
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("(INJECTED)").count(), 1, "{log}");
    assert!(site.there().join(".big.haul-part").exists());

    let again = site.run(&arguments);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    let events = String::from_utf8(again.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(last["there_bytes"], 0);
    assert_eq!(tree(&site.there()), tree(&site.here()));
}

/// What is missing of a list is missed by nobody.
#[test]
fn d105_a_folder_that_cannot_be_read_to_its_end_is_no_success() {
    sending("getdents64", "EIO", 1, 3);
}

#[test]
fn d105_a_receiving_server_survives_every_call_that_fails() {
    sweep(true, End::There, &WRITING);
}

#[test]
fn d105_a_receiving_client_survives_every_call_that_fails() {
    sweep(false, End::Here, &WRITING);
}

#[test]
fn d105_a_sending_server_survives_every_call_that_fails() {
    sweep(false, End::There, &READING);
}

#[test]
fn d105_a_sending_client_survives_every_call_that_fails() {
    sweep(true, End::Here, &READING);
}
