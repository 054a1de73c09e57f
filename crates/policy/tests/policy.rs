//! The file as a whole: which section decides, and who is turned away.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use haul_policy::{Policy, PolicyError, Visitor};
use jiff::Timestamp;

const KEY: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

fn visitor(user: &str) -> Visitor {
    Visitor {
        user: user.to_owned(),
        groups: vec!["staff".to_owned()],
        address: Some("192.0.2.7".parse().unwrap()),
        key: Some(KEY.to_owned()),
        now: "2026-06-01T12:00:00Z".parse::<Timestamp>().unwrap(),
    }
}

fn explained(text: &str, user: &str) -> String {
    let policy = Policy::parse(text).unwrap();
    policy
        .admit(&visitor(user))
        .unwrap()
        .explained()
        .to_string()
}

/// Which code somebody is turned away with.
fn refused(text: &str, visitor: &Visitor) -> Option<&'static str> {
    let policy = Policy::parse(text).unwrap();
    policy.admit(visitor).err().map(|refusal| refusal.code)
}

#[test]
fn the_user_over_its_groups_over_the_defaults() {
    let text = r#"
[server]
audit = "/var/log/haul"
[defaults]
root = "/srv/{user}"
write = false
rate_up = "10M"
[groups.first]
rate_up = "20M"
delete = true
[groups.second]
rate_up = "30M"
measure = false
[groups.staff]
umask = "027"
[users.ann]
groups = ["second", "first"]
write = true
[users.bob]
"#;
    let ann = explained(text, "ann");
    for line in [
        "serves /srv/ann",
        "may upload",
        "may remove what the source does not have",
        "may not measure",
        "rate_up = \"20M\"    [groups.first]",
        "umask = \"027\"    [groups.staff]",
        "write = true    [users.ann]",
        "root = \"/srv/{user}\"    [defaults]",
    ] {
        assert!(ann.contains(line), "{line}: {ann}");
    }
    let bob = explained(text, "bob");
    assert!(
        bob.contains("may not upload") && bob.contains("rate_up = \"10M\""),
        "{bob}"
    );
}

#[test]
fn who_is_not_named_is_turned_away_unless_the_file_says_otherwise() {
    let text = "[defaults]\nroot = \"/srv\"\n[users.ann]\n";
    assert_eq!(refused(text, &visitor("eve")), Some("unlisted"));
    assert_eq!(
        refused(
            &format!("[server]\nunlisted = true\n{text}"),
            &visitor("eve")
        ),
        None
    );
    assert_eq!(refused("", &visitor("ann")), Some("unlisted"));
}

#[test]
fn time_address_and_key_decide() {
    let with = |terms: &str| format!("[users.ann]\n{terms}\n");
    let here = |address: &str| Visitor {
        address: address.parse().ok(),
        ..visitor("ann")
    };
    for (terms, code) in [
        ("expires = \"2026-06-01T12:00:00Z\"", Some("expired")),
        ("expires = \"2026-06-01T12:00:01Z\"", None),
        ("expires = \"2026-06-01\"", Some("expired")),
        ("sources = [\"192.0.2.0/24\"]", None),
        ("sources = [\"192.0.2.8/29\", \"192.0.2.7\"]", None),
        ("sources = [\"198.51.100.0/24\"]", Some("source")),
        ("sources = []", Some("source")),
        ("keys = []", Some("key")),
        (&format!("keys = [\"{KEY}\"]"), None),
    ] {
        assert_eq!(refused(&with(terms), &visitor("ann")), code, "{terms}");
    }
    let net = with("sources = [\"::ffff:192.0.2.0/120\"]");
    assert_eq!(refused(&net, &here("192.0.2.9")), None);
    assert_eq!(refused(&net, &here("::ffff:192.0.2.9")), None);
    assert_eq!(refused(&net, &here("::1")), Some("source"));
    assert_eq!(refused(&net, &here("nowhere")), Some("source"));
    let keyless = Visitor {
        key: None,
        ..visitor("ann")
    };
    assert_eq!(
        refused(&with(&format!("keys = [\"{KEY}\"]")), &keyless),
        Some("key")
    );
}

#[test]
fn a_name_that_is_a_path_gets_no_root() {
    let text = "[server]\nunlisted = true\n[defaults]\nroot = \"/srv/{user}\"\n";
    for name in ["", "..", ".ssh", "a/b", "a\nb"] {
        assert_eq!(refused(text, &visitor(name)), Some("user"), "{name:?}");
    }
    assert_eq!(refused(text, &visitor("a..b")), None);
    let relative = "[server]\nunlisted = true\n[defaults]\nroot = \"srv\"\n";
    assert_eq!(refused(relative, &visitor("ann")), Some("config"));
}

#[test]
fn what_cannot_be_understood_names_its_line() {
    for (text, words) in [
        ("[users.ann]\nreed = true\n", "line 2"),
        ("[users.ann]\n\nrate_up = \"fast\"\n", "line 3"),
        (
            "[defaults]\nread = true\n[groups.x]\nciphers = [\"rc4\"]\n",
            "line 4",
        ),
        ("[server]\nadit = \"/x\"\n", "line 2"),
        ("[users.ann]\ngroups = [\"nobody\"]\n", "a group \"nobody\""),
        ("[users.ann]\nallow = [\"[\"]\n", "["),
        ("users = 1", "line 1"),
        ("[users.ann", "line 1"),
    ] {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn a_file_that_others_can_change_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haul.toml");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&path, "[users.ann]\n").unwrap();
    for (bits, is_safe) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
        mode(bits);
        let loaded = Policy::load(&path);
        assert_eq!(loaded.is_ok(), is_safe, "{bits:o}: {loaded:?}");
    }
    mode(0o600);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(
        Policy::load(&link),
        Err(PolicyError::Unreadable { .. })
    ));
    assert!(matches!(
        Policy::load(dir.path()),
        Err(PolicyError::Unsafe { .. })
    ));
    assert!(matches!(
        Policy::load(&dir.path().join("none")),
        Err(PolicyError::Unreadable { .. })
    ));
    fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert!(matches!(
        Policy::load(&path),
        Err(PolicyError::Unsafe { .. })
    ));
}
