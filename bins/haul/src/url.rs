//! `haul://[user@]host[:port]/path`: the place notation that survives copying and pasting.
//!
//! A URL comes from elsewhere (a page, a mail), so it is held to a narrow grammar: the scheme
//! exactly as written, at most [`LEN_MAX`] bytes, percent-decoded once, no password, no query,
//! no fragment, no control bytes. It never names anything on this machine.

use haul_wire::control::escaped;

use crate::place::{PlaceError, RemotePlace, parse_account};

/// Longest URL accepted, bytes: twice the longest path, and room for every byte to be escaped.
pub(crate) const LEN_MAX: usize = 8 * 1024;

/// The only scheme.
const SCHEME: &[u8] = b"haul://";

/// Schemes people try, in any case; taken for host names they would earn a puzzling "unknown host".
const KNOWN_SCHEMES: [&str; 12] = [
    "ssh", "scp", "sftp", "ftp", "ftps", "http", "https", "rsync", "file", "fasp", "faspe", "haul",
];

/// Why a URL is refused. Always the user's, or the URL author's, to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// A URL of another scheme, or ours in capitals.
    #[error("\"{0}://\" is not understood; write haul://[user@]host[:port]/path or host:path")]
    Scheme(String),
    /// More than [`LEN_MAX`] bytes.
    #[error("the URL is {0} bytes long; at most {LEN_MAX} are accepted")]
    TooLong(usize),
    /// Nothing after the host.
    #[error("the URL names no path; add /~/ for the home directory or an absolute path")]
    NoPath,
    /// `user:password@host`.
    #[error("a URL must not carry a password; use a key, an agent, or wait to be asked")]
    Password,
    /// A port outside 1 to 65535.
    #[error("\"{0}\" is not a port from 1 to 65535")]
    Port(String),
    /// `?…`
    #[error("the URL has a query, which nothing here understands; write %3F for a question mark")]
    Query,
    /// `#…`
    #[error("the URL has a fragment, which nothing here understands; write %23 for a hash sign")]
    Fragment,
    /// A `%` without two hexadecimal digits.
    #[error("the URL has a % without two hexadecimal digits; write %25 for a percent sign")]
    Escape,
    /// A control byte, plain or escaped.
    #[error("the URL contains a control byte (0x{0:02x})")]
    Control(u8),
}

/// Whether `text` is meant as a URL of any scheme we should speak about.
pub(crate) fn is_url(text: &[u8]) -> bool {
    scheme(text).is_some_and(|scheme| {
        KNOWN_SCHEMES
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// The bytes before `://`, if those come first.
fn scheme(text: &[u8]) -> Option<&[u8]> {
    let colon = text.iter().position(|b| *b == b':')?;
    text[colon..].starts_with(b"://").then_some(&text[..colon])
}

/// Parses a URL for which [`is_url`] holds.
pub(crate) fn parse(text: &[u8]) -> Result<RemotePlace, PlaceError> {
    if text.len() > LEN_MAX {
        return Err(UrlError::TooLong(text.len()).into());
    }
    let Some(rest) = text.strip_prefix(SCHEME) else {
        let name = scheme(text).unwrap_or(text);
        return Err(UrlError::Scheme(escaped(name)).into());
    };
    if rest.contains(&b'?') {
        return Err(UrlError::Query.into());
    }
    if rest.contains(&b'#') {
        return Err(UrlError::Fragment.into());
    }
    let slash = rest
        .iter()
        .position(|b| *b == b'/')
        .ok_or(UrlError::NoPath)?;
    let (authority, path) = rest.split_at(slash);
    let (account, port) = split_port(authority)?;
    let mut host = parse_account(&decode(&account)?)?;
    host.port = port;
    let mut path = decode(path)?;
    if path == b"/~" || path.starts_with(b"/~/") {
        path.remove(0);
    }
    Ok(RemotePlace { host, path })
}

/// Takes `:port` off the end of an authority and refuses a password in front.
fn split_port(authority: &[u8]) -> Result<(Vec<u8>, Option<u16>), UrlError> {
    let host_at = authority
        .iter()
        .rposition(|b| *b == b'@')
        .map_or(0, |at| at + 1);
    if authority[..host_at].contains(&b':') {
        return Err(UrlError::Password);
    }
    let after_brackets = authority
        .iter()
        .rposition(|b| *b == b']')
        .unwrap_or(host_at);
    let Some(colon) = authority[after_brackets..].iter().position(|b| *b == b':') else {
        return Ok((authority.to_vec(), None));
    };
    let (account, port) = authority.split_at(after_brackets + colon);
    let digits = &port[1..];
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|port: &u16| *port != 0)
        .ok_or_else(|| UrlError::Port(escaped(digits)))?;
    Ok((account.to_vec(), Some(number)))
}

/// Decodes `%XX` once; what comes out is never decoded again.
fn decode(text: &[u8]) -> Result<Vec<u8>, UrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let byte = if *first == b'%' {
            let [high, low, ..] = tail else {
                return Err(UrlError::Escape);
            };
            rest = &tail[2..];
            hex(*high)? << 4 | hex(*low)?
        } else {
            rest = tail;
            *first
        };
        if byte < 0x20 || byte == 0x7f {
            return Err(UrlError::Control(byte));
        }
        out.push(byte);
    }
    Ok(out)
}

fn hex(digit: u8) -> Result<u8, UrlError> {
    char::from(digit)
        .to_digit(16)
        .map(|value| value as u8)
        .ok_or(UrlError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> (Option<String>, String, Option<u16>, Vec<u8>) {
        assert!(is_url(text.as_bytes()), "{text}");
        let place = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        (
            place.host.user,
            place.host.host,
            place.host.port,
            place.path,
        )
    }

    fn refused(text: &str) -> UrlError {
        match parse(text.as_bytes()) {
            Err(PlaceError::Url(error)) => error,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn parts_come_out_decoded_once() {
        let (user, host, port, path) = ok("haul://ann@data.example:2222/srv/a%20b%252F");
        assert_eq!(user.as_deref(), Some("ann"));
        assert_eq!((host.as_str(), port), ("data.example", Some(2222)));
        assert_eq!(path, b"/srv/a b%2F");
        assert_eq!(ok("haul://h/%FF").3, b"/\xff");
        assert_eq!(ok("haul://h/").3, b"/");
        assert_eq!(ok("haul://ann%40corp@h/x").0.as_deref(), Some("ann@corp"));
    }

    #[test]
    fn tilde_is_the_home_directory() {
        assert_eq!(ok("haul://h/~/x/y").3, b"~/x/y");
        assert_eq!(ok("haul://h/~/").3, b"~/");
        assert_eq!(ok("haul://h/~").3, b"~");
        assert_eq!(ok("haul://h/~bob").3, b"/~bob");
    }

    #[test]
    fn ipv6_hosts_and_ports() {
        let (_, host, port, _) = ok("haul://ann@[2001:db8::1]:33001/x");
        assert_eq!((host.as_str(), port), ("2001:db8::1", Some(33001)));
        let (_, host, port, _) = ok("haul://[::1]/x");
        assert_eq!((host.as_str(), port), ("::1", None));
        for wrong in [
            "haul://h:0/x",
            "haul://h:65536/x",
            "haul://h:/x",
            "haul://h:+22/x",
        ] {
            assert!(matches!(refused(wrong), UrlError::Port(_)), "{wrong}");
        }
    }

    #[test]
    fn the_grammar_is_narrow() {
        assert_eq!(refused("haul://ann:secret@h/x"), UrlError::Password);
        assert_eq!(refused("haul://h"), UrlError::NoPath);
        assert_eq!(refused("haul://h/x?y=1"), UrlError::Query);
        assert_eq!(refused("haul://h/x#y"), UrlError::Fragment);
        assert_eq!(refused("haul://h/%zz"), UrlError::Escape);
        assert_eq!(refused("haul://h/%4"), UrlError::Escape);
        assert_eq!(refused("haul://h/a%0Ab"), UrlError::Control(b'\n'));
        assert_eq!(refused("haul://h/a\u{1b}b"), UrlError::Control(0x1b));
        assert!(matches!(refused("HAUL://h/x"), UrlError::Scheme(_)));
        assert!(matches!(refused("https://h/x"), UrlError::Scheme(_)));
        let long = format!("haul://h/{}", "a".repeat(LEN_MAX));
        assert!(matches!(refused(&long), UrlError::TooLong(_)));
        for host in [
            "haul://-oX/x",
            "haul:///x",
            "haul://a%20b/x",
            "haul://a%2Fb/x",
        ] {
            assert!(
                matches!(parse(host.as_bytes()), Err(PlaceError::Host(_))),
                "{host}"
            );
        }
    }

    #[test]
    fn a_host_may_be_followed_by_two_slashes() {
        assert!(!is_url(b"host://x"));
        assert!(!is_url(b"./haul://x"));
    }
}
