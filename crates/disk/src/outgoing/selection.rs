//! Which of what is found below a source is sent.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use haul_wire::control::RULES_MAX;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Rules and ages by which names below a source are left out. Sources themselves always go.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    rules: Option<Gitignore>,
    /// Files last modified before this second are left out,
    oldest: Option<i64>,
    /// and those after this one.
    newest: Option<i64>,
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern \"{pattern}\" is none: {why}")]
pub struct PatternError {
    /// As it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Selection {
    /// From lines as in a `.gitignore` file: a name or a path below the source, with `*`, `?`, `[…]`
    /// and `**`; one with a slash at the end means directories, one with another slash is anchored at
    /// the source; `!` in front lets in again; the last one that matches decides, and nothing below
    /// a directory that is left out is looked at. Times are in seconds since 1970.
    ///
    /// # Errors
    /// [`PatternError`] for a line that is no pattern, or one too many.
    pub fn new<S: AsRef<str>>(
        lines: &[S],
        oldest: Option<i64>,
        newest: Option<i64>,
    ) -> Result<Self, PatternError> {
        let mut builder = GitignoreBuilder::new("");
        let failed = |pattern: &str, why: String| PatternError {
            pattern: pattern.escape_debug().collect(),
            why,
        };
        if lines.len() > RULES_MAX {
            let last = lines.last().map_or("", AsRef::as_ref);
            return Err(failed(last, format!("there are more than {RULES_MAX}")));
        }
        for line in lines.iter().map(AsRef::as_ref) {
            let added = builder.add_line(None, line);
            added.map_err(|error| failed(line, error.to_string()))?;
        }
        let built = builder.build();
        let rules = built.map_err(|error| failed("", error.to_string()))?;
        Ok(Self {
            rules: (!rules.is_empty()).then_some(rules),
            oldest,
            newest,
        })
    }

    /// Whether names are looked at by their path.
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether this path below a source may go.
    pub(crate) fn admits(&self, path: &[u8], is_dir: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let rules = self.rules.as_ref();
        !rules.is_some_and(|rules| rules.matched(path, is_dir).is_ignore())
    }

    /// Whether files are left out for their age.
    pub(crate) fn has_ages(&self) -> bool {
        self.oldest.is_some() || self.newest.is_some()
    }

    /// Whether a file that was last modified at this second may go.
    pub(super) fn admits_age(&self, modified: i64) -> bool {
        let old = self.oldest.is_some_and(|oldest| modified < oldest);
        let new = self.newest.is_some_and(|newest| modified > newest);
        !old && !new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(lines: &[&str], path: &str) -> bool {
        let is_dir = path.ends_with('/');
        let path = path.trim_end_matches('/').as_bytes();
        Selection::new(lines, None, None)
            .unwrap()
            .admits(path, is_dir)
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let lines = ["*.tmp", "!keep.tmp", "/top", "logs/", "a/**/z"];
        for left_out in ["x.tmp", "d/x.tmp", "top", "d/logs/", "a/b/c/z"] {
            assert!(!admitted(&lines, left_out), "{left_out}");
        }
        for sent in ["keep.tmp", "d/keep.tmp", "d/top", "logs", "x", "b/z"] {
            assert!(admitted(&lines, sent), "{sent}");
        }
        assert!(!admitted(&["!a", "a"], "a"));
    }

    #[test]
    fn nothing_said_is_everything_sent() {
        let selection = Selection::default();
        assert!(!selection.has_rules() && selection.admits(b"x", false));
        assert!(selection.admits_age(i64::MIN) && selection.admits_age(i64::MAX));
    }

    #[test]
    fn ages_include_their_bounds() {
        let selection = Selection::new::<&str>(&[], Some(10), Some(20)).unwrap();
        let ages: Vec<i64> = (0..30).filter(|at| selection.admits_age(*at)).collect();
        assert_eq!(ages, (10..=20).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let error = Selection::new(&["fine", "[z-a]\n"], None, None).unwrap_err();
        assert!(error.pattern.starts_with("[z-a]\\n"), "{error}");
    }
}
