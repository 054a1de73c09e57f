//! What these tests judge by, and what only they do with a site.

use std::{
    path::{Path, PathBuf},
    process::Output,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use crate::{
    noise::Random,
    outcome::stderr,
    site::{PATIENCE, Site},
    tree::Tree,
};

impl Site {
    /// Waits until something of a file is there, and gives its partial name.
    pub(crate) fn await_partial(&self, name: &str) -> PathBuf {
        let partial = self.there().join(format!(".{name}.haul-part"));
        let began = Instant::now();
        while !partial.exists() {
            assert!(began.elapsed() < PATIENCE, "it never began");
            sleep(Duration::from_millis(10));
        }
        partial
    }

    /// Waits until the other end of the last run is no more.
    pub(crate) fn await_no_remote(&self) {
        let Some(pid) = self.remote() else { return };
        // None when it has ended before it is looked at.
        let Ok(end) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        let mut fds = [PollFd::new(&end, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).unwrap();
        assert_eq!(
            poll(&mut fds, Some(&patience)).unwrap(),
            1,
            "it does not end"
        );
    }
}

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.next()) % bound.max(1)
    }
}

/// One line on standard error says what went wrong.
#[track_caller]
pub(crate) fn expect_one_error(output: &Output) -> String {
    let stderr = stderr(output);
    let mut errors = stderr
        .lines()
        .filter(|line| line.starts_with("haul: error: "));
    match (errors.next(), errors.next()) {
        (Some(error), None) => error.to_owned(),
        _ => panic!("not one error in {stderr:?}"),
    }
}

/// A seed from the environment, or a fixed one: the normal run is the same every time.
pub(crate) fn seed() -> u64 {
    std::env::var("HAUL_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// Whether a name is one of a transfer's own: a partial file or the journal.
pub(crate) fn is_own(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".haul-part") || name.starts_with(".haul-journal")
}

/// Everything under a final name is what its source is, or was there before.
#[track_caller]
pub(crate) fn assert_nothing_wrong(now: &Tree, source: &Tree, before: &Tree, what: &str) {
    for (path, (_, contents)) in now.iter().filter(|(path, _)| !is_own(path)) {
        let is = |tree: &Tree| tree.get(path).is_some_and(|(_, found)| found == contents);
        assert!(
            is(source) || is(before),
            "{what}: {} has contents that are nobody's",
            path.display()
        );
    }
}
