//! Two ends on this machine. In the place of ssh stands a script that runs the remote command here,
//! as the account of another home directory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tempfile::TempDir;

/// Runs the words after `-- HOST` as sshd would, under what `$TRACE` says if it says anything, and
/// tells which process that is.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift 2
cd "$THERE" || exit 1
echo $$ >"$THERE/../pid"
HOME=$THERE SSH_CONNECTION='127.0.0.1 50000 127.0.0.1 22' exec $TRACE /bin/sh -c "exec $1"
"#;
/// No end may take longer than this to end, whatever befalls it.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const HAUL: &str = env!("CARGO_BIN_EXE_haul");

/// A directory to run in, and the home directory at the other end.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(site.here()).unwrap();
        fs::create_dir(site.there()).unwrap();
        fs::write(site.path("ssh"), SSH).unwrap();
        fs::set_permissions(site.path("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn here(&self) -> PathBuf {
        self.path("here")
    }

    pub(crate) fn there(&self) -> PathBuf {
        self.path("there")
    }

    /// A haul run by `before`, the words of a program that runs others, if there are any.
    pub(crate) fn command(&self, before: &[String], arguments: &[&str]) -> Command {
        let mut words = before.iter().map(String::as_str).chain([HAUL]);
        let mut command = Command::new(words.next().unwrap_or(HAUL));
        command
            .args(words)
            .arg("--ssh-program")
            .arg(self.path("ssh"))
            .args(["-S", HAUL])
            .args(arguments)
            .current_dir(self.here())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            .env("THERE", self.there())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The other end of the last run, if it has got so far.
    pub(crate) fn remote(&self) -> Option<Pid> {
        let told = fs::read_to_string(self.path("pid")).ok()?;
        Pid::from_raw(told.trim().parse().ok()?)
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

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(&[], arguments).spawn().unwrap())
    }
}

/// Waits for a child, but not for ever.
pub(crate) fn finish(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (done, ended) = channel();
    thread::spawn(move || {
        // Nobody listens any more when this has taken too long.
        let _ = done.send(child.wait_with_output());
    });
    ended.recv_timeout(PATIENCE).map_or_else(
        |_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it did not end within {PATIENCE:?}");
        },
        Result::unwrap,
    )
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn expect_status(status: i32, output: &Output) {
    assert_eq!(output.status.code(), Some(status), "{}", stderr(output));
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

/// Bytes that no pattern could fake; the same for the same seed (xorshift64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 4);
    while bytes.len() < len {
        bytes.extend_from_slice(&(random.next() as u32).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Random numbers that a seed repeats.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A seed from the environment, or a fixed one: the normal run is the same every time.
pub(crate) fn seed() -> u64 {
    std::env::var("HAUL_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// What is below a folder: permissions and contents or, of a link, its target.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

pub(crate) fn tree(folder: &Path) -> Tree {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(folder.join(&at)).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = at.join(entry.file_name());
            let meta = entry.metadata().unwrap();
            let contents = if meta.is_dir() {
                left.push(path.clone());
                None
            } else if meta.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                Some(target.into_os_string().into_encoded_bytes())
            } else {
                Some(fs::read(entry.path()).unwrap())
            };
            found.insert(path, (meta.mode() & 0o7777, contents));
        }
    }
    found
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
