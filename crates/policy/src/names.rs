//! Which paths below the root may be moved.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use haul_transfer::NameRule;

/// Patterns like `in/**` or `*.csv`: `*` and `?` within a name, `**` across names; what matches a directory
/// matches everything below it.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// What may be moved; none: everything.
    allow: Option<GlobSet>,
    /// Names before the first pattern in each of those: the directories on the way to it.
    ways: Vec<Vec<String>>,
    deny: GlobSet,
}

impl Names {
    pub(crate) fn new(allow: Option<&[String]>, deny: &[String]) -> Result<Self, globset::Error> {
        Ok(Self {
            allow: allow.map(set).transpose()?,
            ways: allow
                .unwrap_or_default()
                .iter()
                .map(|glob| way(glob))
                .collect(),
            deny: set(deny)?,
        })
    }

    /// Whether nothing is ruled out.
    pub(crate) fn is_all(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    pub(crate) fn rule(self) -> Option<NameRule> {
        (!self.is_all()).then(|| NameRule::new(move |path, is_dir| self.allows(path, is_dir)))
    }

    pub(crate) fn allows(&self, path: &[u8], is_dir: bool) -> bool {
        let above = || {
            let ends =
                (0..=path.len()).filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/'));
            ends.map(|end| Candidate::from_bytes(&path[..end]))
        };
        if above().any(|path| self.deny.is_match_candidate(&path)) {
            return false;
        }
        let Some(allow) = &self.allow else {
            return true;
        };
        above().any(|path| allow.is_match_candidate(&path)) || (is_dir && self.leads_on(path))
    }

    /// Whether something below the directory may be allowed.
    fn leads_on(&self, path: &[u8]) -> bool {
        let names: Vec<_> = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .collect();
        self.ways.iter().any(|way| {
            way.is_empty()
                || names
                    .iter()
                    .zip(way)
                    .all(|(name, way)| *name == way.as_bytes())
                    && names.len() <= way.len()
        })
    }
}

fn set(globs: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = glob.trim_start_matches('/').trim_end_matches('/');
        set.add(
            GlobBuilder::new(glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build()?,
        );
    }
    set.build()
}

/// The whole names at a pattern's beginning.
fn way(glob: &str) -> Vec<String> {
    let names = glob.trim_start_matches('/').split('/');
    let plain = names.take_while(|name| !name.contains(['*', '?', '[', '{', '\\']));
    plain.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(allow: Option<&[&str]>, deny: &[&str]) -> Names {
        let owned = |globs: &[&str]| {
            globs
                .iter()
                .map(|glob| (*glob).to_owned())
                .collect::<Vec<_>>()
        };
        Names::new(allow.map(owned).as_deref(), &owned(deny)).unwrap()
    }

    #[test]
    fn n78_a_name_that_begins_alike_is_another_name() {
        let names = names(Some(&["data/a"]), &[]);
        for (path, allowed) in [
            ("data/a", true),
            ("data/a/x", true),
            ("data/a/x/y", true),
            ("data/ab", false),
            ("data/ab/x", false),
            ("data", false),
            ("", false),
            ("x/data/a", false),
        ] {
            assert_eq!(names.allows(path.as_bytes(), false), allowed, "{path}");
        }
        for (path, allowed) in [
            ("data", true),
            ("data/a", true),
            ("data/b", false),
            ("x", false),
            ("", true),
        ] {
            assert_eq!(names.allows(path.as_bytes(), true), allowed, "{path}/");
        }
    }

    #[test]
    fn what_is_denied_is_denied_with_all_that_is_in_it() {
        let names = names(None, &["**/.git", "private", "*.key"]);
        for (path, allowed) in [
            ("a/.git/config", false),
            (".git", false),
            ("private", false),
            ("private/x", false),
            ("a/private", true),
            ("x.key", false),
            ("a/x.key", true),
            ("x.keys", true),
        ] {
            assert_eq!(names.allows(path.as_bytes(), false), allowed, "{path}");
        }
        assert!(!names.allows(b"private/\xff", false));
    }

    #[test]
    fn denying_wins_and_patterns_lead_on() {
        let names = names(Some(&["in/**", "*.csv"]), &["in/secret"]);
        assert!(names.allows(b"in/x", false) && names.allows(b"a.csv", false));
        assert!(!names.allows(b"in/secret/x", false) && !names.allows(b"b/a.csv", false));
        assert!(
            names.allows(b"anything", true),
            "a pattern without a fixed beginning may match anywhere"
        );
    }
}
