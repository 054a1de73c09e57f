//! What paths have carried before: a small file that lets the next transfer skip most of start-up.
//!
//! One JSON file, `$XDG_STATE_HOME/haul/paths.json` or `~/.local/state/haul/paths.json`, readable by
//! its owner alone, replaced as a whole. It holds addresses, rates and times, no names of hosts or
//! files. Nothing about it ever fails a transfer: what cannot be read is empty, what cannot be
//! written is not remembered, and a wrong memory costs a round trip or two.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use haul_transfer::{Direction, JobOptions, Policy, Remembered, Summary};
use serde::{Deserialize, Serialize};

/// Seconds after which a memory is forgotten: links of laptops and offices change within days.
const LIFETIME: u64 = 3 * 24 * 3600;
/// Most paths remembered; the oldest go first.
const PATHS_MAX: usize = 256;
/// Largest file that is read.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// A transfer shorter than this, in seconds, has not shown what the path carries.
const SECONDS_MIN: f64 = 2.0;
/// A rate this close to the user's ceiling says nothing of the path.
const NEAR_CEILING: f64 = 0.9;
/// Format of the file.
const VERSION: u8 = 1;

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    v: u8,
    paths: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The other end.
    peer: IpAddr,
    /// Our address towards it: another network is another path.
    local: IpAddr,
    /// Whether data went away from here.
    upload: bool,
    rate_bps: u64,
    min_rtt_us: u32,
    /// Seconds since 1970.
    at: u64,
}

/// The memory of one path.
#[derive(Debug)]
pub(crate) struct Memory {
    file: Option<PathBuf>,
    peer: IpAddr,
    local: IpAddr,
    upload: bool,
}

impl Memory {
    /// Of the path to `peer` in this direction. `None` when there is no route to it, or no home to
    /// remember in.
    pub(crate) fn of(peer: IpAddr, direction: Direction) -> Option<Self> {
        Some(Self {
            file: state_file(),
            peer,
            local: local_address(peer)?,
            upload: direction == Direction::Upload,
        })
    }

    /// What the path carried before, and how many seconds ago.
    pub(crate) fn recall(&self) -> Option<(Remembered, u64)> {
        let now = seconds_since_1970();
        let file = read(self.file.as_deref()?);
        let entry = file.paths.into_iter().find(|entry| self.is_of(entry))?;
        let age = now.checked_sub(entry.at).filter(|age| *age < LIFETIME)?;
        let remembered = Remembered {
            rate_bps: entry.rate_bps,
            min_rtt_us: entry.min_rtt_us,
        };
        (entry.rate_bps > 0 && entry.min_rtt_us > 0).then_some((remembered, age))
    }

    /// Keeps what a transfer has found, if it has found something: one that was long enough, and
    /// that neither the user nor the source held back.
    pub(crate) fn keep(&self, summary: &Summary, options: &JobOptions) {
        let found = summary.bandwidth_bps;
        let ceiling = options.rate_target_bps.map_or(f64::MAX, |bps| bps as f64);
        let used = summary.udp_bytes as f64 * 8.0 / summary.data_seconds.max(1e-6);
        let tells = summary.policy != Policy::Fixed
            && summary.data_seconds >= SECONDS_MIN
            && found > 0
            && (found as f64) < NEAR_CEILING * ceiling
            && used > 0.5 * found as f64;
        let Some(file) = self.file.as_deref().filter(|_| tells) else {
            return;
        };
        let entry = Entry {
            peer: self.peer,
            local: self.local,
            upload: self.upload,
            rate_bps: found,
            min_rtt_us: (summary.min_rtt_ms * 1e3) as u32,
            at: seconds_since_1970(),
        };
        let mut paths = read(file).paths;
        paths.retain(|old| !self.is_of(old) && entry.at.saturating_sub(old.at) < LIFETIME);
        paths.insert(0, entry);
        paths.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        paths.truncate(PATHS_MAX);
        // A home that cannot be written to is no reason to say anything.
        let _ = replace(file, &File { v: VERSION, paths });
    }

    fn is_of(&self, entry: &Entry) -> bool {
        (entry.peer, entry.local, entry.upload) == (self.peer, self.local, self.upload)
    }
}

fn state_file() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("haul/paths.json"))
}

/// The address from which packets to `peer` leave. Sends nothing.
fn local_address(peer: IpAddr) -> Option<IpAddr> {
    let any = match peer {
        IpAddr::V4(_) => "0.0.0.0:0",
        IpAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(SocketAddr::new(peer, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What the file holds; nothing when it is not there, too long, or not ours.
fn read(path: &Path) -> File {
    let short = fs::metadata(path).is_ok_and(|meta| meta.len() <= FILE_LEN_MAX);
    let text = short.then(|| fs::read(path).ok()).flatten();
    let file: Option<File> = text.and_then(|text| serde_json::from_slice(&text).ok());
    file.filter(|file| file.v == VERSION).unwrap_or_default()
}

/// Other hauls may do the same at this moment: the last one wins, none sees half a file.
fn replace(path: &Path, file: &File) -> std::io::Result<()> {
    let folder = path.parent().ok_or(std::io::ErrorKind::NotFound)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let fresh = folder.join(format!("paths.{}.new", std::process::id()));
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    let written = serde_json::to_vec(file)
        .map_err(std::io::Error::from)
        .and_then(|text| out.write_all(&text))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // Whatever is in the way of writing may be in the way of removing.
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use haul_transfer::SuiteId;

    use super::*;

    fn memory(folder: &Path) -> Memory {
        Memory {
            file: Some(folder.join("haul/paths.json")),
            peer: "192.0.2.7".parse().unwrap(),
            local: "192.0.2.1".parse().unwrap(),
            upload: true,
        }
    }

    fn summary() -> Summary {
        Summary {
            direction: Direction::Upload,
            bytes: 1 << 30,
            files: 1,
            failed: 0,
            seconds: 31.0,
            data_seconds: 30.0,
            goodput_bps: 286_000_000,
            udp_bytes: 1_100_000_000,
            retransmitted_bytes: 0,
            loss: 0.0,
            rtt_ms: 101.0,
            bandwidth_bps: 295_000_000,
            min_rtt_ms: 100.0,
            control_bytes: 2000,
            suite: SuiteId::Aes128Cfb,
            policy: Policy::Fair,
            ..crate::events::tests::summary()
        }
    }

    #[test]
    fn what_a_long_transfer_found_is_recalled() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        assert_eq!(memory.recall(), None);
        memory.keep(&summary(), &JobOptions::default());
        let (remembered, age) = memory.recall().unwrap();
        assert_eq!(remembered.rate_bps, 295_000_000);
        assert_eq!(remembered.min_rtt_us, 100_000);
        assert!(age < 10);
        let elsewhere = Memory {
            local: "198.51.100.1".parse().unwrap(),
            ..Memory {
                file: memory.file.clone(),
                ..memory
            }
        };
        assert_eq!(elsewhere.recall(), None, "another network is another path");
    }

    #[test]
    fn what_says_nothing_of_the_path_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        let capped = JobOptions {
            rate_target_bps: Some(300_000_000),
            ..JobOptions::default()
        };
        memory.keep(&summary(), &capped);
        let short = Summary {
            data_seconds: 0.5,
            ..summary()
        };
        let starved = Summary {
            udp_bytes: 1_000_000,
            ..summary()
        };
        let fixed = Summary {
            policy: Policy::Fixed,
            ..summary()
        };
        for said in [short, starved, fixed] {
            memory.keep(&said, &JobOptions::default());
        }
        assert_eq!(memory.recall(), None);
    }

    #[test]
    fn a_spoilt_or_unwritable_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(folder.path());
        let file = memory.file.clone().unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for spoilt in [
            "",
            "{",
            "[]",
            r#"{"v":9,"paths":[]}"#,
            r#"{"v":1,"paths":[{}]}"#,
        ] {
            fs::write(&file, spoilt).unwrap();
            assert_eq!(memory.recall(), None, "{spoilt}");
        }
        memory.keep(&summary(), &JobOptions::default());
        assert!(memory.recall().is_some(), "it is written anew");
        fs::remove_dir_all(folder.path()).unwrap();
        fs::write(folder.path(), "no folder").unwrap();
        memory.keep(&summary(), &JobOptions::default());
        fs::remove_file(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        let folder = tempfile::tempdir().unwrap();
        for host in 0..300_u16 {
            let memory = Memory {
                peer: std::net::Ipv4Addr::from(0xc000_0200 + u32::from(host)).into(),
                ..memory(folder.path())
            };
            memory.keep(&summary(), &JobOptions::default());
        }
        let file = read(&folder.path().join("haul/paths.json"));
        assert_eq!(file.paths.len(), PATHS_MAX);
    }
}
