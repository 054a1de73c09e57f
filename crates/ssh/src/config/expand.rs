//! What stands for something else in a configuration's values: tokens, `~`, variables, wildcards.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::ConfigFault;
use crate::pattern;

/// Most files one `Include` brings in.
const INCLUDED_FILES_MAX: usize = 1_024;

/// What the percent tokens stand for.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    /// `%h`: the host's real name.
    pub(super) host: &'a str,
    /// `%n`: the host as the user named it.
    pub(super) original: &'a str,
    /// `%r`: the account on the host, if it is known yet.
    pub(super) user: Option<&'a str>,
    /// `%p`: the port, if it is known yet.
    pub(super) port: Option<u16>,
    /// `%d`: the local home directory.
    pub(super) home: &'a Path,
}

impl Tokens<'_> {
    /// Replaces the percent tokens in `text`.
    pub(super) fn expand(&self, text: &str) -> Result<String, ConfigFault> {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let unknown = || ConfigFault::Expansion(text.to_owned());
            match chars.next().ok_or_else(unknown)? {
                '%' => out.push('%'),
                'h' => out.push_str(self.host),
                'n' => out.push_str(self.original),
                'r' => out.push_str(self.user.ok_or_else(unknown)?),
                'p' => out.push_str(&self.port.ok_or_else(unknown)?.to_string()),
                'd' => out.push_str(self.home.to_str().ok_or_else(unknown)?),
                _ => return Err(unknown()),
            }
        }
        Ok(out)
    }

    /// Replaces tokens, `${VARIABLE}`s and a leading `~/` in the name of a file.
    pub(super) fn expand_path(&self, text: &str) -> Result<PathBuf, ConfigFault> {
        let text = variables(&self.expand(text)?)?;
        home_relative(&text, self.home)
    }
}

/// Replaces a leading `~/`; other users' homes are not looked up.
pub(super) fn home_relative(text: &str, home: &Path) -> Result<PathBuf, ConfigFault> {
    match text.strip_prefix('~') {
        Some("") => Ok(home.to_owned()),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => Ok(home.join(rest)),
            None => Err(ConfigFault::Expansion(text.to_owned())),
        },
        None => Ok(PathBuf::from(text)),
    }
}

fn variables(text: &str) -> Result<String, ConfigFault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let unknown = || ConfigFault::Expansion(text.to_owned());
        let (name, after) = after.split_once('}').ok_or_else(unknown)?;
        out.push_str(before);
        out.push_str(&std::env::var(name).map_err(|_| unknown())?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The files a pattern with `*` and `?` in any of its components names, sorted. Like a shell, it
/// does not let a wildcard match a leading dot.
pub(super) fn glob(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        let name = component.as_os_str();
        let is_pattern = matches!(component, Component::Normal(_))
            && name.as_bytes().iter().any(|b| b"*?".contains(b));
        if is_pattern {
            found = found
                .iter()
                .flat_map(|directory| entries(directory, name))
                .collect();
            found.truncate(INCLUDED_FILES_MAX);
        } else {
            for path in &mut found {
                path.push(name);
            }
        }
    }
    found.retain(|path| path.exists());
    found
}

fn entries(directory: &Path, name: &OsStr) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let hidden = name.as_bytes().starts_with(b".");
    let mut paths: Vec<PathBuf> = listing
        .filter_map(Result::ok)
        .filter(|entry| {
            let entry = entry.file_name();
            (hidden || !entry.as_bytes().starts_with(b"."))
                && pattern::matches(name.as_bytes(), entry.as_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_what_the_manual_says() {
        let tokens = Tokens {
            host: "real.example",
            original: "alias",
            user: Some("jane"),
            port: None,
            home: Path::new("/home/me"),
        };
        assert_eq!(
            tokens.expand("%h-%n-%r-%d-%%").unwrap(),
            "real.example-alias-jane-/home/me-%"
        );
        for bad in ["%", "%z", "%p", "a%"] {
            assert!(tokens.expand(bad).is_err(), "{bad}");
        }
        let path = |text| tokens.expand_path(text);
        assert_eq!(
            path("~/.ssh/%h").unwrap(),
            Path::new("/home/me/.ssh/real.example")
        );
        assert_eq!(path("/x/~").unwrap(), Path::new("/x/~"));
        assert!(path("~other/key").is_err());
        assert!(path("${HAUL_NO_SUCH_VARIABLE}/key").is_err());
        let expected = std::env::var("PATH").unwrap();
        assert_eq!(
            path("${PATH}/key").unwrap(),
            PathBuf::from(expected + "/key")
        );
    }

    #[test]
    fn wildcards_name_the_files_that_are_there() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            glob(&directory.path().join(pattern))
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("*.conf"), ["a.conf", "b.conf"]);
        assert_eq!(names("c.txt"), ["c.txt"]);
        assert_eq!(names("missing"), Vec::<String>::new());
        assert_eq!(names("?.conf"), ["a.conf", "b.conf"]);
    }
}
