//! Known hosts: which key a host is expected to show, judged as OpenSSH judges it.
//!
//! libssh2's own reader is not used: it ignores `@revoked`, wildcards and negation, and takes a
//! host that is known by another type of key for a changed one.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::SshError;
use crate::host_key::{HostKey, blob_type};
use crate::pattern::{self, ListMatch};

/// Largest known-hosts file that is read. OpenSSH has no limit; this is some 300,000 hosts.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// SSH's own port, which known hosts leave out.
const DEFAULT_PORT: u16 = 22;

/// A host as known hosts write it: lower case, and with the port if that is not 22.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    bare: String,
    full: String,
}

impl HostName {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let bare = host.to_lowercase();
        let full = match port {
            DEFAULT_PORT => bare.clone(),
            _ => format!("[{bare}]:{port}"),
        };
        Self { bare, full }
    }

    /// A name given by `HostKeyAlias`, which stands for host and port.
    pub(crate) fn alias(name: &str) -> Self {
        let name = name.to_lowercase();
        Self {
            bare: name.clone(),
            full: name,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

/// What a line says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    /// The key is the host's.
    None,
    /// The key certifies host keys. Certificates are never accepted, so this grants nothing.
    CertAuthority,
    /// The key must not be used.
    Revoked,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The known-hosts file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

/// A line that speaks of the host in question.
#[derive(Debug)]
struct Entry {
    place: Place,
    marker: Marker,
    /// Whether the line matches the name with its port, not only the bare name.
    full: bool,
    blob: Vec<u8>,
}

/// What known hosts say about a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Trusted,
    /// The host is not known.
    Unknown,
    /// The host is known by another key, remembered here.
    Changed(Place),
    /// The key is revoked here.
    Revoked(Place),
}

/// Judges `key` (in SSH's binary form, RFC 4253, 6.6), shown by `host` at `port`, by the text of one
/// known-hosts `file`. [`connect`](crate::connect()) judges likewise by all files that apply.
///
/// Any text has a verdict: lines that make no sense say nothing.
pub fn verdict(file: &Path, text: &[u8], host: &str, port: u16, key: &[u8]) -> Verdict {
    let mut entries = Vec::new();
    scan(file, text, &HostName::new(host, port), &mut entries);
    KnownHosts { entries }.judge(&HostKey::new(key))
}

/// All lines of some known-hosts files that speak of one host.
#[derive(Debug)]
pub(crate) struct KnownHosts {
    entries: Vec<Entry>,
}

impl KnownHosts {
    /// Reads what `files` say about `host`. Files that do not exist say nothing.
    ///
    /// # Errors
    /// [`SshError::KnownHosts`] for a file that exists but cannot be read: it may revoke a key.
    pub(crate) fn load<'a>(
        files: impl IntoIterator<Item = &'a PathBuf>,
        host: &HostName,
    ) -> Result<Self, SshError> {
        let mut entries = Vec::new();
        for file in files {
            match read_bounded(file) {
                Ok(bytes) => scan(file, &bytes, host, &mut entries),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(file, e)),
            }
        }
        Ok(Self { entries })
    }

    /// Whether the host is known by a key of this type.
    pub(crate) fn has_type(&self, key_type: &str) -> bool {
        self.own()
            .any(|entry| blob_type(&entry.blob) == Some(key_type))
    }

    /// Judges the key the host shows.
    ///
    /// A host at a port of its own is looked up with the port first. A line for the bare name can
    /// only confirm a key then, never make it a changed one, as in OpenSSH; but unlike there it can
    /// revoke one.
    pub(crate) fn judge(&self, key: &HostKey) -> Verdict {
        let same = |entry: &&Entry| entry.blob == key.blob();
        let revoked = self
            .entries
            .iter()
            .filter(|e| e.marker == Marker::Revoked)
            .find(same);
        if let Some(entry) = revoked {
            return Verdict::Revoked(entry.place.clone());
        }
        if self.own().any(|entry| same(&entry)) {
            return Verdict::Trusted;
        }
        let other = |entry: &&Entry| entry.full;
        let same_type = |entry: &&Entry| blob_type(&entry.blob) == Some(key.key_type());
        let offending = self
            .own()
            .filter(other)
            .find(same_type)
            .or_else(|| self.own().find(other));
        offending.map_or(Verdict::Unknown, |entry| {
            Verdict::Changed(entry.place.clone())
        })
    }

    fn own(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.marker == Marker::None)
    }
}

fn failed(file: &Path, source: io::Error) -> SshError {
    SshError::KnownHosts {
        file: file.to_owned(),
        source: Arc::new(source),
    }
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

/// Collects the lines that match; lines that make no sense are skipped, as OpenSSH skips them.
fn scan(file: &Path, bytes: &[u8], host: &HostName, entries: &mut Vec<Entry>) {
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let Some((marker, names, rest)) = split_line(line) else {
            continue;
        };
        let full = names_match(names, &host.full);
        if !full && !names_match(names, &host.bare) {
            continue;
        }
        let Some(blob) = parse_key(rest) else {
            continue;
        };
        let place = Place {
            file: file.to_owned(),
            line: index + 1,
        };
        entries.push(Entry {
            place,
            marker,
            full,
            blob,
        });
    }
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|b| !b" \t".contains(b))
        .unwrap_or(bytes.len());
    &bytes[start..]
}

/// Splits off the bytes before the next space or tab.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|b| b" \t".contains(b))
        .unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Marker, host names, and what follows them.
fn split_line(line: &[u8]) -> Option<(Marker, &[u8], &[u8])> {
    let line = trim_start(line);
    if line.is_empty() || line[0] == b'#' {
        return None;
    }
    let (marker, line) = match word(line) {
        (b"@cert-authority", rest) => (Marker::CertAuthority, trim_start(rest)),
        (b"@revoked", rest) => (Marker::Revoked, trim_start(rest)),
        _ => (Marker::None, line),
    };
    // A second or unknown marker makes the whole line void.
    if line.first() == Some(&b'@') {
        return None;
    }
    let (names, rest) = word(line);
    Some((marker, names, trim_start(rest)))
}

fn names_match(names: &[u8], host: &str) -> bool {
    if names.first() == Some(&b'|') {
        return hashed_match(names, host).unwrap_or(false);
    }
    let names = names.to_ascii_lowercase();
    pattern::match_list(names.split(|&b| b == b','), host.as_bytes()) == ListMatch::Yes
}

/// `|1|salt|HMAC-SHA1(salt, host)`, both in base64 (OpenSSH, hostfile.c). The hash only hides names
/// from a reader of the file, so that SHA-1 is broken for signatures does not matter.
fn hashed_match(names: &[u8], host: &str) -> Option<bool> {
    let text = std::str::from_utf8(names).ok()?.strip_prefix("|1|")?;
    let (salt, hash) = text.split_once('|')?;
    let salt = Base64::decode_vec(salt).ok()?;
    let hash = Base64::decode_vec(hash).ok()?;
    let mac = Hmac::<Sha1>::new_from_slice(&salt)
        .ok()?
        .chain_update(host.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// Reads `type base64 comment`; the type must be the one inside the key.
fn parse_key(rest: &[u8]) -> Option<Vec<u8>> {
    let (key_type, rest) = word(rest);
    let (digits, _comment) = word(trim_start(rest));
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let blob = Base64::decode_vec(std::str::from_utf8(digits).ok()?).ok()?;
    let named = blob_type(&blob)?;
    (named.as_bytes() == key_type).then_some(blob)
}

/// Remembers `key` as the host's, at the end of `file`, which is made if it is not there: mode 0600
/// in a directory of mode 0700.
///
/// # Errors
/// [`SshError::KnownHosts`].
pub(crate) fn append(file: &Path, host: &HostName, key: &HostKey) -> Result<(), SshError> {
    let write = || {
        if let Some(directory) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let mut open = OpenOptions::new();
        let mut out = open
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(file)?;
        let mut line = format!(
            "{host} {} {}\n",
            key.key_type(),
            Base64::encode_string(key.blob())
        );
        if !ends_in_line_feed(&mut out)? {
            line.insert(0, '\n');
        }
        // One write: another program appending at the same time cannot tear the line.
        out.write_all(line.as_bytes())
    };
    write().map_err(|e| failed(file, e))
}

fn ends_in_line_feed(file: &mut std::fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
