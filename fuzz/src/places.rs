//! What a user pastes: `[user@]host:path` and `haul://` URLs. Input: the argument.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::place::{Place, RemotePlace};

/// Nothing that ssh or a shell could misread becomes a host or a login name; a refusal can be shown
/// on a terminal; a place on another machine survives being written as a URL.
pub fn check(data: &[u8]) -> bool {
    match Place::parse(OsStr::from_bytes(data)) {
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            false
        }
        Ok(Place::Local(path)) => {
            assert_eq!(path.as_os_str().as_bytes(), data);
            true
        }
        Ok(Place::Remote(place)) => {
            harmless(&place.host.host);
            place.host.user.as_deref().into_iter().for_each(harmless);
            assert_ne!(place.host.port, Some(0));
            assert!(!place.path.contains(&0));
            survives(place);
            true
        }
    }
}

fn harmless(word: &str) {
    let harmful =
        |c: char| c.is_control() || c.is_whitespace() || "/'\"`$;&|<>(){}*?!\\#".contains(c);
    assert!(
        !word.is_empty() && !word.starts_with('-') && !word.contains(harmful),
        "{word:?}"
    );
}

/// URLs can name what is absolute or in the home directory, without control bytes.
fn survives(place: RemotePlace) {
    let home = place.path == b"~" || place.path.starts_with(b"~/");
    let absolute = place.path.starts_with(b"/") && place.path != b"/~";
    let absolute = absolute && !place.path.starts_with(b"/~/");
    if !(home || absolute) || place.path.iter().any(u8::is_ascii_control) {
        return;
    }
    let host = if place.host.host.contains(':') {
        format!("[{}]", place.host.host)
    } else {
        place.host.host.clone()
    };
    let user = place
        .host
        .user
        .as_deref()
        .map(|user| escaped(user.as_bytes()) + "@");
    let port = place.host.port.map(|port| format!(":{port}"));
    let [user, port] = [user, port].map(Option::unwrap_or_default);
    let root = if home { "/" } else { "" };
    let url = format!(
        "haul://{user}{}{port}{root}{}",
        host.replace('%', "%25"),
        escaped(&place.path)
    );
    if url.len() <= crate::url::LEN_MAX {
        assert_eq!(
            Place::parse(OsStr::new(&url)),
            Ok(Place::Remote(place)),
            "{url}"
        );
    }
}

/// Every byte but letters, digits and slashes as `%XX`.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
    let one = |byte: &u8| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}
