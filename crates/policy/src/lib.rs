//! Who may transfer what: a server's policy file, made into a gate of [`haul_transfer`], and the record of what
//! came of it.
//!
//! ```text
//! haul.toml ─► Policy ── admit(visitor) ─► Rules ── apply ─► RespondSetup with a Gate
//!                             │                                  │
//!                             └─► Refusal (a reason) ◄───────────┘ ─► Trail: audit.log
//! ```
//!
//! The peer hears `unauthorized to transfer` and a reference, whatever the reason; that is in the audit trail.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod gate;
mod layers;
mod names;
mod terms;
mod trail;

use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use jiff::Timestamp;
use rustix::{
    fs::{Mode, OFlags, open},
    process::geteuid,
};
use serde::Deserialize;

pub use gate::Door;
pub use layers::{Explained, Rules};
pub use trail::{Outcome, Record, Trail};

use layers::layered;
use terms::Terms;

/// Where the policy is, unless told otherwise.
pub const USUAL_PLACE: &str = "/etc/haul/haul.toml";
/// A policy is no longer than this, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// Why a policy cannot be used. Nobody is served then.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("cannot read the policy {}: {source}", .path.display())]
    Unreadable {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner could change it, or it is no plain file.
    #[error("the policy {} {why}", .path.display())]
    Unsafe {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It makes no sense.
    #[error("the policy {}: {why}", .path.display())]
    Senseless {
        /// Where it is; empty for a text.
        path: PathBuf,
        /// What, and where.
        why: String,
    },
}

/// Who is there, as far as it is known.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The name of the account.
    pub user: String,
    /// Its groups on this machine.
    pub groups: Vec<String>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
    /// The fingerprint of the key that was used, `SHA256:…`.
    pub key: Option<String>,
    /// What time it is.
    pub now: Timestamp,
}

/// Why something is refused: a code that stays the same, and words, for the administrator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// One of those in `docs/POLICY.md`.
    pub code: &'static str,
    /// What exactly.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }
}

/// What concerns the server, not a user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerTerms {
    /// Whether users that no section names get what `defaults` say.
    unlisted: bool,
    /// Directory of the audit trail.
    audit: Option<PathBuf>,
    /// Whether a kernel without Landlock will do.
    without_landlock: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    server: ServerTerms,
    defaults: toml::Table,
    groups: IndexMap<String, toml::Table>,
    users: IndexMap<String, toml::Table>,
}

/// A policy that has been understood.
#[derive(Debug, Clone)]
pub struct Policy {
    sections: Sections,
}

impl Policy {
    /// Reads a policy file, which belongs to root or to this account and which nobody else may write.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source: io::Error| PolicyError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let unsafe_for = |why| PolicyError::Unsafe {
            path: path.to_owned(),
            why,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
        let mut file = fs::File::from(fd);
        let found = file.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(unsafe_for("is no plain file"));
        }
        let owner = std::os::unix::fs::MetadataExt::uid(&found);
        if owner != 0 && owner != geteuid().as_raw() {
            return Err(unsafe_for("belongs to somebody else; chown it to root"));
        }
        if std::os::unix::fs::MetadataExt::mode(&found) & 0o022 != 0 {
            return Err(unsafe_for("can be changed by others; chmod go-w"));
        }
        if found.len() > LEN_MAX {
            return Err(unsafe_for("is longer than 1 MiB"));
        }
        let mut text = String::new();
        file.by_ref()
            .take(LEN_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        Self::parse(&text).map_err(|error| match error {
            PolicyError::Senseless { why, .. } => PolicyError::Senseless {
                path: path.to_owned(),
                why,
            },
            other => other,
        })
    }

    /// Understands the text of a policy file.
    ///
    /// # Errors
    /// [`PolicyError::Senseless`], which names key and line.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let senseless = |why: String| PolicyError::Senseless {
            path: PathBuf::new(),
            why,
        };
        // Once as what it means, for errors that know their lines, and once as it is written.
        toml::from_str::<Meant>(text).map_err(|error| senseless(error.to_string()))?;
        let sections: Sections =
            toml::from_str(text).map_err(|error| senseless(error.to_string()))?;
        let policy = Self { sections };
        for (name, terms) in &policy.sections.users {
            for group in groups_of(terms) {
                if !policy.sections.groups.contains_key(&group) {
                    return Err(senseless(format!(
                        "users.{name} is in a group \"{group}\", which there is not"
                    )));
                }
            }
        }
        let tables = (policy.sections.groups.values())
            .chain(policy.sections.users.values())
            .chain([&policy.sections.defaults]);
        for table in tables {
            let terms = layers::understood(table).map_err(senseless)?;
            names::Names::new(
                terms.allow.as_deref(),
                terms.deny.as_deref().unwrap_or_default(),
            )
            .map_err(|error| senseless(error.to_string()))?;
        }
        Ok(policy)
    }

    /// Where the audit trail is, if there is to be one.
    pub fn audit(&self) -> Option<&Path> {
        self.sections.server.audit.as_deref()
    }

    /// Whether a kernel without Landlock will do for accounts that are restricted.
    pub fn does_without_landlock(&self) -> bool {
        self.sections.server.without_landlock
    }

    /// What holds for a visitor: what `users.NAME` says, else the first of its groups in the file's order, else
    /// `defaults`, key by key.
    ///
    /// # Errors
    /// [`Refusal`] when this visitor has no business here at all.
    pub fn admit(&self, visitor: &Visitor) -> Result<Rules, Refusal> {
        let rules = self.rules(visitor)?;
        rules.admits(visitor)?;
        Ok(rules)
    }

    /// The same, without asking whether the visitor may come at all.
    ///
    /// # Errors
    /// [`Refusal`] for somebody that nothing in the file is about.
    pub fn rules(&self, visitor: &Visitor) -> Result<Rules, Refusal> {
        let Sections {
            server,
            defaults,
            groups,
            users,
        } = &self.sections;
        let own = users.get(&visitor.user);
        let named = own.map(groups_of).unwrap_or_default();
        let is_in = |group: &String| named.contains(group) || visitor.groups.contains(group);
        let mut sections = vec![("defaults".to_owned(), defaults)];
        let theirs = groups.iter().filter(|(name, _)| is_in(name)).rev();
        sections.extend(theirs.map(|(name, table)| (format!("groups.{name}"), table)));
        sections.extend(own.map(|table| (format!("users.{}", visitor.user), table)));
        if sections.len() == 1 && !server.unlisted {
            return Err(Refusal::new("unlisted", "no section names this user"));
        }
        layered(&visitor.user, &sections)
    }
}

/// What each table of the file has to mean; errors know where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
#[allow(dead_code, reason = "read to be checked")]
struct Meant {
    server: ServerTerms,
    defaults: Terms,
    groups: IndexMap<String, Terms>,
    users: IndexMap<String, Terms>,
}

/// The groups that a user's table names.
fn groups_of(table: &toml::Table) -> Vec<String> {
    let listed = table.get("groups").and_then(toml::Value::as_array);
    let names = listed.into_iter().flatten().filter_map(toml::Value::as_str);
    names.map(str::to_owned).collect()
}
