//! The part of `ssh_config(5)` that a direct connection needs.
//!
//! As in OpenSSH, the first value found for an option wins, files are read in the order user,
//! system, and options that are not known are passed over. `Match` blocks are not evaluated: their
//! lines are ignored and a warning says so.

mod expand;
mod line;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::SshError;
use crate::error::ConfigFault;
use crate::pattern::{self, ListMatch};
use expand::{Tokens, glob, home_relative};
use line::Line;

/// Levels of `Include`, as many as OpenSSH allows.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Largest configuration file; OpenSSH has no such limit.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What to do about a host that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strict {
    /// Refuse without asking.
    Yes,
    /// Ask if somebody is there.
    Ask,
    /// Accept and remember.
    AcceptNew,
}

/// A line of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) line: usize,
}

impl Origin {
    /// An error about this line.
    pub(crate) fn fault(&self, reason: ConfigFault) -> SshError {
        SshError::Config {
            file: self.file.to_path_buf(),
            line: self.line,
            reason,
        }
    }
}

/// A value and where it stands.
type Sourced<T> = Option<(T, Origin)>;

/// What the files say about a host, before tokens are expanded.
#[derive(Debug, Default)]
struct Raw {
    host_name: Sourced<String>,
    host_key_alias: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    identity_files: Vec<(String, Origin)>,
    identities_only: Option<bool>,
    user_known_hosts: Sourced<Vec<String>>,
    host_key_algorithms: Sourced<String>,
    strict: Option<Strict>,
    connect_timeout: Option<Option<Duration>>,
    /// `None` inside: the option's value is `none`.
    proxy: Option<Option<(&'static str, Origin)>>,
    warnings: Vec<String>,
}

/// What the configuration says about a host.
#[derive(Debug)]
pub(crate) struct HostConfig {
    /// The name to connect to.
    pub(crate) host_name: String,
    /// The name to look up in known hosts, if it is another.
    pub(crate) host_key_alias: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) identity_files: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    /// The user's known-hosts files, if other than the usual ones; may be empty for `none`.
    pub(crate) user_known_hosts: Option<Vec<PathBuf>>,
    pub(crate) host_key_algorithms: Sourced<String>,
    pub(crate) strict: Strict,
    pub(crate) connect_timeout: Option<Duration>,
    /// The option that asks for another way to the host than a direct connection.
    pub(crate) proxy: Sourced<&'static str>,
    /// What was passed over, for the user to know.
    pub(crate) warnings: Vec<String>,
}

/// Where configuration is read from.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The user's home directory.
    pub(crate) home: Option<&'a Path>,
    /// A file in place of the user's and the system's; `none` for no file at all.
    pub(crate) instead: Option<&'a Path>,
    /// The system's file.
    pub(crate) system: &'a Path,
    /// The account to log in to if nobody names one.
    pub(crate) local_user: Option<&'a str>,
}

impl Sources<'_> {
    /// What `~` stands for; a user without a home has only the root.
    fn home(&self) -> &Path {
        self.home.unwrap_or_else(|| Path::new("/"))
    }
}

/// Reads a configuration file as [`connect`](crate::connect()) would for `host`, without connecting:
/// what of it would be passed over, in words for the user.
///
/// # Errors
/// [`SshError::Config`] for a value that cannot be understood, [`SshError::ConfigFile`] for a file
/// that cannot be read.
pub fn check_config(file: &Path, host: &str) -> Result<Vec<String>, SshError> {
    let sources = Sources {
        home: file.parent(),
        instead: Some(file),
        system: Path::new("/etc/ssh/ssh_config"),
        local_user: None,
    };
    Ok(load(&sources, host, None, None)?.warnings)
}

/// Reads what the configuration says about `host`, as the user named it, for `user` if given.
///
/// # Errors
/// [`SshError::Config`] for a value that cannot be understood, [`SshError::ConfigFile`] for a file
/// that cannot be read, or that others than its user could have written.
pub(crate) fn load(
    sources: &Sources<'_>,
    host: &str,
    user: Option<&str>,
    port: Option<u16>,
) -> Result<HostConfig, SshError> {
    let home = sources.home();
    let user_directory = home.join(".ssh");
    let mut reader = Reader {
        host,
        home,
        raw: Raw::default(),
    };
    match sources.instead {
        Some(path) if path == Path::new("none") => {}
        Some(path) => reader.file(path, &user_directory, Trust::Any, 0)?,
        None => {
            let missing_is_fine = |result| match result {
                Err(SshError::ConfigFile { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(())
                }
                other => other,
            };
            if sources.home.is_some() {
                let file = user_directory.join("config");
                missing_is_fine(reader.file(&file, &user_directory, Trust::UserOnly, 0))?;
            }
            let directory = sources.system.parent().unwrap_or_else(|| Path::new("/"));
            missing_is_fine(reader.file(sources.system, directory, Trust::Any, 0))?;
        }
    }
    reader.raw.resolve(host, user, port, sources)
}

/// Who may have written a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Whoever could.
    Any,
    /// Only the user and root: otherwise another account could choose keys and hosts for us.
    UserOnly,
}

struct Reader<'a> {
    host: &'a str,
    home: &'a Path,
    raw: Raw,
}

impl Reader<'_> {
    /// Reads one file; `directory` is what its relative `Include`s are relative to.
    fn file(
        &mut self,
        path: &Path,
        directory: &Path,
        trust: Trust,
        depth: usize,
    ) -> Result<(), SshError> {
        let text = read(path, trust).map_err(|e| SshError::ConfigFile {
            file: path.to_owned(),
            source: Arc::new(e),
        })?;
        let file: Arc<Path> = Arc::from(path);
        let mut active = true;
        let mut warned = false;
        for (index, text) in text.lines().enumerate() {
            let origin = Origin {
                file: Arc::clone(&file),
                line: index + 1,
            };
            let line = Line::parse(text).map_err(|reason| origin.fault(reason))?;
            let Some(Line { keyword, arguments }) = line else {
                continue;
            };
            match keyword.as_str() {
                "host" => {
                    let patterns = arguments.iter().map(String::as_bytes);
                    let host = self.host.as_bytes();
                    active = pattern::match_list(patterns, host) == ListMatch::Yes;
                }
                "match" => {
                    active = false;
                    if !warned {
                        let (file, line) = (path.display(), origin.line);
                        self.raw
                            .warnings
                            .push(format!("{file}, line {line}: Match is ignored"));
                        warned = true;
                    }
                }
                "include" if active => {
                    self.include(&arguments, &origin, directory, trust, depth)?;
                }
                _ if active => self.raw.set(&keyword, &arguments, &origin)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        names: &[String],
        origin: &Origin,
        directory: &Path,
        trust: Trust,
        depth: usize,
    ) -> Result<(), SshError> {
        if depth == INCLUDE_DEPTH_MAX {
            return Err(origin.fault(ConfigFault::IncludeDepth));
        }
        for name in names {
            let path = home_relative(name, self.home).map_err(|reason| origin.fault(reason))?;
            for file in glob(&directory.join(path)) {
                self.file(&file, directory, trust, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path, trust: Trust) -> io::Result<String> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let own = rustix::process::getuid().as_raw();
    let foreign = (metadata.uid() != 0 && metadata.uid() != own) || metadata.mode() & 0o022 != 0;
    if trust == Trust::UserOnly && foreign {
        let reason = "bad owner or permissions: others may write to it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl Raw {
    /// Takes in one option of a block that applies, unless an earlier line has set it.
    fn set(
        &mut self,
        keyword: &str,
        arguments: &[String],
        origin: &Origin,
    ) -> Result<(), SshError> {
        let value = arguments.first().map(String::as_str);
        let one = || {
            let missing = || origin.fault(ConfigFault::NoValue(keyword.to_owned()));
            value.filter(|v| !v.is_empty()).ok_or_else(missing)
        };
        let bad = |option, value: &str| {
            Err(origin.fault(ConfigFault::Value {
                option,
                value: value.to_owned(),
            }))
        };
        let sourced = |value: &str| Some((value.to_owned(), origin.clone()));
        match keyword {
            "hostname" if self.host_name.is_none() => self.host_name = sourced(one()?),
            "hostkeyalias" if self.host_key_alias.is_none() => {
                self.host_key_alias = Some(one()?.to_owned());
            }
            "user" if self.user.is_none() => self.user = Some(one()?.to_owned()),
            "hostkeyalgorithms" if self.host_key_algorithms.is_none() => {
                self.host_key_algorithms = sourced(one()?);
            }
            "port" if self.port.is_none() => match one()?.parse() {
                Ok(port) if port != 0 => self.port = Some(port),
                _ => return bad("Port", one()?),
            },
            "identityfile" => self
                .identity_files
                .push((one()?.to_owned(), origin.clone())),
            "identitiesonly" if self.identities_only.is_none() => match one()? {
                "yes" | "true" => self.identities_only = Some(true),
                "no" | "false" => self.identities_only = Some(false),
                other => return bad("IdentitiesOnly", other),
            },
            "userknownhostsfile" if self.user_known_hosts.is_none() => {
                one()?;
                self.user_known_hosts = Some((arguments.to_vec(), origin.clone()));
            }
            "stricthostkeychecking" if self.strict.is_none() => {
                self.set_strict(one()?, origin)?;
            }
            "connecttimeout" if self.connect_timeout.is_none() => {
                match (one()?, parse_interval(one()?)) {
                    ("none", _) => self.connect_timeout = Some(None),
                    (_, Some(time)) => self.connect_timeout = Some(Some(time)),
                    (other, None) => return bad("ConnectTimeout", other),
                }
            }
            "proxyjump" | "proxycommand" if self.proxy.is_none() => {
                let option = if keyword == "proxyjump" {
                    "ProxyJump"
                } else {
                    "ProxyCommand"
                };
                let asked = !one()?.eq_ignore_ascii_case("none");
                self.proxy = Some(asked.then(|| (option, origin.clone())));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_strict(&mut self, value: &str, origin: &Origin) -> Result<(), SshError> {
        self.strict = Some(match value {
            "yes" | "true" => Strict::Yes,
            "accept-new" => Strict::AcceptNew,
            "ask" => Strict::Ask,
            // A host nobody has looked at is never trusted just because a file says so.
            "no" | "false" | "off" => {
                let (file, line) = (origin.file.display(), origin.line);
                let warning = format!("{file}, line {line}: unknown hosts are not accepted unseen");
                self.warnings.push(warning);
                Strict::Ask
            }
            _ => {
                let (option, value) = ("StrictHostKeyChecking", value.to_owned());
                return Err(origin.fault(ConfigFault::Value { option, value }));
            }
        });
        Ok(())
    }

    /// Expands what stands for something else, now that all values are known.
    fn resolve(
        self,
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        sources: &Sources<'_>,
    ) -> Result<HostConfig, SshError> {
        let home = sources.home();
        let early = Tokens {
            host,
            original: host,
            user: None,
            port: None,
            home,
        };
        let at = |origin: &Origin| {
            let origin = origin.clone();
            move |reason| origin.fault(reason)
        };
        let host_name = match &self.host_name {
            Some((name, origin)) => early.expand(name).map_err(at(origin))?,
            None => host.to_owned(),
        };
        let configured = self.user.as_deref();
        let user = user
            .or(configured)
            .or(sources.local_user)
            .map(str::to_owned);
        let port = port.or(self.port);
        let tokens = Tokens {
            host: &host_name,
            user: user.as_deref(),
            port,
            ..early
        };
        let mut identity_files = Vec::new();
        for (name, origin) in self
            .identity_files
            .iter()
            .filter(|(name, _)| name != "none")
        {
            identity_files.push(tokens.expand_path(name).map_err(at(origin))?);
        }
        let user_known_hosts = match &self.user_known_hosts {
            Some((names, origin)) => Some(
                names
                    .iter()
                    .filter(|name| *name != "none")
                    .map(|name| tokens.expand_path(name).map_err(at(origin)))
                    .collect::<Result<_, _>>()?,
            ),
            None => None,
        };
        Ok(HostConfig {
            host_key_alias: self.host_key_alias,
            port,
            identity_files,
            identities_only: self.identities_only.unwrap_or(false),
            user_known_hosts,
            host_key_algorithms: self.host_key_algorithms,
            strict: self.strict.unwrap_or(Strict::Ask),
            connect_timeout: self.connect_timeout.flatten(),
            proxy: self.proxy.flatten(),
            warnings: self.warnings,
            user,
            host_name,
        })
    }
}

/// A time as `ssh_config` writes it: seconds, or numbers with s, m, h, d or w behind them.
fn parse_interval(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut number: Option<u64> = None;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            let so_far = number.unwrap_or(0).checked_mul(10)?;
            number = Some(so_far.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let total = total.checked_add(number.unwrap_or(0))?;
    (total > 0).then(|| Duration::from_secs(total))
}

#[cfg(test)]
mod tests;
