//! A known-hosts file, which other programs and other people write.
//!
//! Input: host (1 byte), then the file.

use std::path::Path;

use haul_ssh::known_hosts::{Verdict, verdict};

/// An Ed25519 key (RFC 8709, section 4) of 32 sevens.
pub const KEY: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x2077777777777777777777777777777777";
/// [`KEY`] as known hosts write it.
pub const KEY_TEXT: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIDc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3";

/// Hosts to ask for: usual port, port of its own, address.
const HOSTS: [(&str, u16); 4] = [
    ("h.example", 22),
    ("h.example", 2222),
    ("2001:db8::7", 22),
    ("2001:db8::7", 2222),
];

/// A file that does not hold the key neither trusts nor revokes it.
pub fn check(data: &[u8]) -> bool {
    let Some((host, text)) = data.split_first() else {
        return false;
    };
    let (host, port) = HOSTS[usize::from(*host) % HOSTS.len()];
    let file = Path::new("known_hosts");
    let verdict = verdict(file, text, host, port, KEY);
    let holds_key = text
        .windows(KEY_TEXT.len())
        .any(|part| part == KEY_TEXT.as_bytes());
    match &verdict {
        Verdict::Trusted | Verdict::Revoked(_) => assert!(holds_key, "{verdict:?}"),
        Verdict::Unknown | Verdict::Changed(_) => {}
    }
    if let Verdict::Revoked(place) | Verdict::Changed(place) = &verdict {
        let lines = text.split(|byte| *byte == b'\n').count();
        assert!((1..=lines).contains(&place.line), "{place:?}");
    }
    verdict == Verdict::Trusted
}
