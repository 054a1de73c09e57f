//! Sections laid over each other, key by key.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use haul_transfer::{Policy as RatePolicy, SuiteId};

use crate::{Refusal, Visitor, names::Names, terms::Terms};

/// What holds for one visitor, and where it stands.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(crate) terms: Terms,
    /// Below what the served directory is, resolved.
    pub(crate) root: Option<PathBuf>,
    said: BTreeMap<String, (toml::Value, String)>,
}

/// What each key says, and in which section: for `--check-config`.
#[derive(Debug, Clone)]
pub struct Explained<'a>(&'a Rules);

/// What a table means.
pub(crate) fn understood(table: &toml::Table) -> Result<Terms, String> {
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| error.to_string())
}

/// Lays sections over each other, later ones on top.
pub(crate) fn layered(user: &str, sections: &[(String, &toml::Table)]) -> Result<Rules, Refusal> {
    let mut said = BTreeMap::new();
    for (section, table) in sections {
        for (key, value) in table.iter().filter(|(key, _)| *key != "groups") {
            said.insert(key.clone(), (value.clone(), section.clone()));
        }
    }
    let table: toml::Table = said
        .iter()
        .map(|(key, (value, _))| (key.clone(), value.clone()))
        .collect();
    // Each section has been understood when the file was read.
    let terms = understood(&table).map_err(|why| Refusal::new("config", why))?;
    let root = match &terms.root {
        Some(root) => Some(rooted(root, user)?),
        None => None,
    };
    Ok(Rules { terms, root, said })
}

/// The root with the user's name in it, which must be a name and nothing more.
fn rooted(root: &std::path::Path, user: &str) -> Result<PathBuf, Refusal> {
    let text = root.to_str().unwrap_or_default();
    if !root.is_absolute() {
        return Err(Refusal::new("config", "root is not an absolute path"));
    }
    if !text.contains("{user}") {
        return Ok(root.to_owned());
    }
    let is_name = !user.is_empty()
        && !user.starts_with('.')
        && !user.contains(|c: char| c == '/' || c.is_control());
    if !is_name {
        return Err(Refusal::new("user", "this name cannot be part of a path"));
    }
    Ok(PathBuf::from(text.replace("{user}", user)))
}

impl Rules {
    /// The directory that is served; without one, all that the account can reach.
    pub fn root(&self) -> Option<&PathBuf> {
        self.root.as_ref()
    }

    /// Whether anything below the root may be made or changed.
    pub fn may_change(&self) -> bool {
        self.may(self.terms.write) || self.terms.take == Some(true)
    }

    /// Reading and writing are allowed unless the file says otherwise; what can destroy is not.
    pub(crate) fn may(&self, said: Option<bool>) -> bool {
        said.unwrap_or(true)
    }

    /// Whether this visitor may come now, from there, with that key.
    pub(crate) fn admits(&self, visitor: &Visitor) -> Result<(), Refusal> {
        let Terms {
            expires,
            sources,
            keys,
            ..
        } = &self.terms;
        if let Some(expires) = expires
            && visitor.now >= expires.0
        {
            return Err(Refusal::new(
                "expired",
                format!("the account expired at {}", expires.0),
            ));
        }
        if let Some(sources) = sources {
            let address = visitor.address.map(|address| address.to_canonical());
            let is_inside = address.is_some_and(|a| sources.iter().any(|net| net.0.contains(&a)));
            if !is_inside {
                let from = address.map_or_else(|| "nowhere known".to_owned(), |a| a.to_string());
                return Err(Refusal::new(
                    "source",
                    format!("{from} is not among the sources"),
                ));
            }
        }
        if let Some(keys) = keys {
            let key = visitor.key.as_deref();
            if !key.is_some_and(|key| keys.iter().any(|known| known.0 == key)) {
                let with = key.unwrap_or("a key that is not known");
                return Err(Refusal::new("key", format!("{with} is not among the keys")));
            }
        }
        Ok(())
    }

    /// The suites that may be used.
    pub(crate) fn suites(&self) -> Vec<SuiteId> {
        match &self.terms.ciphers {
            Some(ciphers) => ciphers.iter().map(|cipher| cipher.0).collect(),
            None => (SuiteId::ALL.into_iter())
                .filter(|suite| *suite != SuiteId::NoneCmac)
                .collect(),
        }
    }

    pub(crate) fn allows_policy(&self, name: &[u8]) -> bool {
        let Some(policies) = &self.terms.policies else {
            return true;
        };
        policies
            .iter()
            .any(|policy| RatePolicy::name(policy.0).as_bytes() == name)
    }

    pub(crate) fn names(&self) -> Result<Names, Refusal> {
        let deny = self.terms.deny.as_deref().unwrap_or_default();
        let names = Names::new(self.terms.allow.as_deref(), deny);
        names.map_err(|error| Refusal::new("config", error.to_string()))
    }

    /// What holds, line by line.
    pub fn explained(&self) -> Explained<'_> {
        Explained(self)
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.0;
        let root = rules.root.as_ref().map_or_else(
            || "all that the account can reach".to_owned(),
            |root| root.display().to_string(),
        );
        writeln!(f, "serves {root}")?;
        let Terms {
            read,
            write,
            overwrite,
            delete,
            take,
            privileged,
            measure,
            ..
        } = &rules.terms;
        for (what, said, unless_said) in [
            ("download", read, true),
            ("upload", write, true),
            ("replace what is there", overwrite, true),
            (
                "remove what the source does not have (--delete)",
                delete,
                false,
            ),
            ("remove or move what was downloaded", take, false),
            ("set owners and the like (--privileged)", privileged, false),
            ("measure", measure, true),
        ] {
            let may = if said.unwrap_or(unless_said) {
                "may"
            } else {
                "may not"
            };
            writeln!(f, "{may} {what}")?;
        }
        for (key, (value, section)) in &rules.said {
            writeln!(f, "{key} = {value}    [{section}]")?;
        }
        Ok(())
    }
}
