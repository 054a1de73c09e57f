//! Where files are or go: a path here, `[user@]host:path`, or a `haul://` URL.

use std::{
    ffi::OsStr,
    net::Ipv6Addr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use haul_ssh::Target;
use haul_wire::control::escaped;

use crate::url;

/// One SOURCE or DEST of the command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// On the machine SSH leads to.
    Remote(RemotePlace),
}

/// A path on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemotePlace {
    /// Whom to log in to.
    pub(crate) host: Target,
    /// As typed. Absolute, or relative to the home directory there; `~`, patterns and the empty
    /// path are for the other end to resolve.
    pub(crate) path: Vec<u8>,
}

/// Why an argument is not a place. Always the user's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// An empty argument, usually an unset shell variable.
    #[error("an empty path names no file; \".\" is the current directory")]
    Empty,
    /// The part before the colon cannot be a host.
    #[error("\"{0}\" is not a host name or address; for a local file with a colon write ./NAME")]
    Host(String),
    /// The part before the @ cannot be a login name.
    #[error("\"{0}\" is not a login name")]
    User(String),
    /// A path where only a host makes sense.
    #[error("\"{0}\" is not just a host, such as user@host or haul://host:2222/")]
    NotAHost(String),
    /// `[` without `]:` after an IPv6 address.
    #[error(
        "\"{0}\" is not an IPv6 address in brackets followed by a colon, such as user@[::1]:dir"
    )]
    Brackets(String),
    /// A path no system call would take.
    #[error("a path cannot contain a zero byte")]
    ZeroByte,
    /// A `haul://` URL that breaks a rule of its grammar.
    #[error(transparent)]
    Url(#[from] url::UrlError),
}

impl Place {
    /// Understands one argument. As in scp, a colon before any slash makes it remote.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, PlaceError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(PlaceError::Empty);
        }
        if bytes.contains(&0) {
            return Err(PlaceError::ZeroByte);
        }
        if url::is_url(bytes) {
            return Ok(Self::Remote(url::parse(bytes)?));
        }
        match split_remote(bytes)? {
            None => Ok(Self::Local(Path::new(text).to_path_buf())),
            Some((account, path)) => Ok(Self::Remote(RemotePlace {
                host: parse_account(account)?,
                path: path.to_vec(),
            })),
        }
    }
}

impl RemotePlace {
    /// Understands the one argument of a measurement: an account, with or without a colon.
    pub(crate) fn parse_host(text: &OsStr) -> Result<Self, PlaceError> {
        let bytes = text.as_bytes();
        let is_account = !bytes.is_empty()
            && !bytes.contains(&b'/')
            && (bytes.ends_with(b"]") || !bytes.contains(&b':'));
        if is_account {
            let (host, path) = (parse_account(bytes)?, Vec::new());
            return Ok(Self { host, path });
        }
        match Place::parse(text)? {
            Place::Remote(place) if matches!(&place.path[..], b"" | b"/") => Ok(place),
            _ => Err(PlaceError::NotAHost(escaped(bytes))),
        }
    }
}

/// The two sides of the colon.
type AccountAndPath<'a> = (&'a [u8], &'a [u8]);

/// Splits `account:path` at the colon that decides, which is not one inside brackets.
fn split_remote(bytes: &[u8]) -> Result<Option<AccountAndPath<'_>>, PlaceError> {
    let end = bytes.iter().position(|b| *b == b'/').unwrap_or(bytes.len());
    let head = &bytes[..end];
    let host_at = head.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
    if head[host_at..].starts_with(b"[") {
        let close = bytes.windows(2).position(|pair| pair == b"]:");
        return match close {
            Some(at) if at > host_at => Ok(Some((&bytes[..=at], &bytes[at + 2..]))),
            // `[draft].txt` is a fine local name; with a colon in it, it was meant as an address.
            _ if head.contains(&b':') => Err(PlaceError::Brackets(escaped(bytes))),
            _ => Ok(None),
        };
    }
    Ok(match head.iter().position(|b| *b == b':') {
        None | Some(0) => None,
        Some(colon) => Some((&bytes[..colon], &bytes[colon + 1..])),
    })
}

/// Parses `[user@]host`, brackets included.
pub(crate) fn parse_account(account: &[u8]) -> Result<Target, PlaceError> {
    // The last @ separates: login names of a directory service are often mail addresses.
    let (user, host) = match account.iter().rposition(|b| *b == b'@') {
        Some(at) => (Some(&account[..at]), &account[at + 1..]),
        None => (None, account),
    };
    let user = user.map(login_name).transpose()?;
    let host = host_name(host)?;
    Ok(Target {
        user,
        host,
        port: None,
    })
}

/// Accepts a login name that neither ssh nor a shell could misread.
fn login_name(bytes: &[u8]) -> Result<String, PlaceError> {
    let refuse = || PlaceError::User(escaped(bytes));
    let name = std::str::from_utf8(bytes).map_err(|_| refuse())?;
    let harmless = |c: char| c.is_alphanumeric() || "-._@+%".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(harmless) {
        return Err(refuse());
    }
    Ok(name.to_owned())
}

/// Accepts a DNS name, an alias, an IPv4 address, or an IPv6 address in brackets.
fn host_name(bytes: &[u8]) -> Result<String, PlaceError> {
    let refuse = || PlaceError::Host(escaped(bytes));
    let name = std::str::from_utf8(bytes).map_err(|_| refuse())?;
    if let Some(inner) = name.strip_prefix('[') {
        let brackets = || PlaceError::Brackets(escaped(bytes));
        let address = inner.strip_suffix(']').ok_or_else(brackets)?;
        let (number, zone) = match address.split_once('%') {
            Some((number, zone)) => (number, Some(zone)),
            None => (address, None),
        };
        if number.parse::<Ipv6Addr>().is_err() || zone.is_some_and(|zone| !is_plain(zone)) {
            return Err(brackets());
        }
        return Ok(address.to_owned());
    }
    if !is_plain(name) {
        return Err(refuse());
    }
    Ok(name.to_owned())
}

/// Letters, digits, dots, underscores and hyphens, at most a DNS name long, no leading hyphen (an
/// option to ssh).
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) {
        let place = Place::parse(OsStr::new(text)).expect(text);
        assert_eq!(place, Place::Local(PathBuf::from(text)), "{text}");
    }

    fn remote(text: &str, user: Option<&str>, name: &str, path: &str) {
        let Place::Remote(place) = Place::parse(OsStr::new(text)).expect(text) else {
            panic!("{text} was taken for a local path");
        };
        assert_eq!(place.host.user.as_deref(), user, "{text}");
        assert_eq!(place.host.host, name, "{text}");
        assert_eq!(place.path, path.as_bytes(), "{text}");
        assert_eq!(place.host.port, None, "{text}");
    }

    fn refused(text: &[u8]) -> PlaceError {
        Place::parse(OsStr::from_bytes(text)).expect_err(&String::from_utf8_lossy(text))
    }

    #[test]
    fn a_colon_before_any_slash_makes_it_remote() {
        remote("host:dir/file", None, "host", "dir/file");
        remote("ann@host:/abs", Some("ann"), "host", "/abs");
        remote(
            "ann@corp.example@host:x",
            Some("ann@corp.example"),
            "host",
            "x",
        );
        remote("10.0.0.7:a:b", None, "10.0.0.7", "a:b");
        local("dir/with:colon");
        local("./a:b");
        local("/abs/a:b");
        local(":odd");
        local("plain");
        local("-");
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        remote("[::1]:x", None, "::1", "x");
        remote("ann@[2001:db8::7]:/srv", Some("ann"), "2001:db8::7", "/srv");
        remote("[fe80::1%en0]:x", None, "fe80::1%en0", "x");
        local("[draft].txt");
        local("[draft]/x");
        for wrong in [
            "[::1]",
            "[::1:x",
            "[not]:x",
            "[::1%]:x",
            "[]:x",
            "[1.2.3.4]:x",
        ] {
            assert!(
                matches!(refused(wrong.as_bytes()), PlaceError::Brackets(_)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_host_may_stand_alone() {
        let parse = |text| RemotePlace::parse_host(OsStr::new(text));
        for (text, user, host, port) in [
            ("host", None, "host", None),
            ("ann@host:", Some("ann"), "host", None),
            ("[::1]", None, "::1", None),
            ("ann@[::1]:", Some("ann"), "::1", None),
            ("haul://ann@h:2222/", Some("ann"), "h", Some(2222)),
        ] {
            let place = parse(text).expect(text);
            assert_eq!(place.host.user.as_deref(), user, "{text}");
            assert_eq!((place.host.host.as_str(), place.host.port), (host, port));
        }
        for wrong in ["host:dir", "./x", "haul://h/x", "/"] {
            assert!(
                matches!(parse(wrong), Err(PlaceError::NotAHost(_))),
                "{wrong}"
            );
        }
        assert_eq!(parse(""), Err(PlaceError::Empty));
    }

    #[test]
    fn home_is_the_other_ends_to_resolve() {
        remote("host:", None, "host", "");
        remote("host:~/a", None, "host", "~/a");
        remote("host:./~", None, "host", "./~");
    }

    #[test]
    fn s56_what_ssh_or_a_shell_could_misread_is_refused() {
        for wrong in [
            "-oProxyCommand=x:y",
            "a b:x",
            "ho$t:x",
            "ho\u{1b}st:x",
            "h,h:x",
        ] {
            assert!(
                matches!(refused(wrong.as_bytes()), PlaceError::Host(_)),
                "{wrong}"
            );
        }
        for wrong in [
            "-l@host:x",
            "@host:x",
            "a`b@host:x",
            "a b@host:x",
            "a\\b@host:x",
        ] {
            assert!(
                matches!(refused(wrong.as_bytes()), PlaceError::User(_)),
                "{wrong}"
            );
        }
        assert_eq!(refused(b""), PlaceError::Empty);
        assert!(matches!(refused(b"h\xff:x"), PlaceError::Host(_)));
        assert!(
            !refused("ho\u{1b}st:x".as_bytes())
                .to_string()
                .contains('\u{1b}')
        );
    }

    #[test]
    fn paths_are_bytes() {
        let place = Place::parse(OsStr::from_bytes(b"host:\xff\xfe")).unwrap();
        assert!(matches!(place, Place::Remote(r) if r.path == b"\xff\xfe"));
        let place = Place::parse(OsStr::from_bytes(b"dir/\xff")).unwrap();
        assert!(matches!(place, Place::Local(_)));
    }
}
