//! Host keys: what they are called, and which kinds are asked for.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

/// Signature algorithms asked of a host, best first, with the type of the key that makes them.
///
/// Certificates are left out on purpose: libssh2 would take a certified key without looking at who
/// certified it, for whom and for how long. SHA-1 signatures are left out too.
const ALGORITHMS: [(&str, &str); 6] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];

/// A public key in SSH's binary form (RFC 4253, 6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostKey {
    blob: Vec<u8>,
}

impl HostKey {
    pub(crate) fn new(blob: &[u8]) -> Self {
        Self {
            blob: blob.to_vec(),
        }
    }

    pub(crate) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The type the key itself names, `?` if it names none.
    pub(crate) fn key_type(&self) -> &str {
        blob_type(&self.blob).unwrap_or("?")
    }

    /// Whether the key is of a kind that was asked for: a plain one.
    pub(crate) fn is_plain(&self) -> bool {
        ALGORITHMS
            .iter()
            .any(|(_, key_type)| *key_type == self.key_type())
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.blob).into())
    }
}

/// The type named by the first string of a public key.
pub(crate) fn blob_type(blob: &[u8]) -> Option<&str> {
    let (len, rest) = blob.split_first_chunk::<4>()?;
    let name = rest.get(..u32::from_be_bytes(*len) as usize)?;
    std::str::from_utf8(name).ok()
}

/// SHA-256 of a public key, written as OpenSSH does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads `SHA256:` and base64, padded or not.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix("SHA256:")?.trim_end_matches('=');
        let mut hash = [0; 32];
        match Base64Unpadded::decode(digits, &mut hash) {
            Ok(bytes) if bytes.len() == 32 => Some(Self(hash)),
            _ => None,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The algorithms to ask for, comma-separated: those a configured list allows, in its order, and
/// before all others those whose key type is already known for the host, so that a known host is
/// recognised by the key that is remembered. `None` if the list leaves nothing.
pub(crate) fn preference(
    configured: Option<&str>,
    is_known: impl Fn(&str) -> bool,
) -> Option<String> {
    let all = ALGORITHMS.map(|(algorithm, _)| algorithm);
    let allowed = configured.map_or_else(|| all.to_vec(), |list| restrict(&all, list));
    let key_type = |algorithm: &str| {
        ALGORITHMS
            .iter()
            .find(|(a, _)| *a == algorithm)
            .map_or("", |(_, key_type)| *key_type)
    };
    let (known, unknown): (Vec<_>, Vec<_>) = allowed
        .into_iter()
        .partition(|algorithm| is_known(key_type(algorithm)));
    let ordered = [known, unknown].concat();
    (!ordered.is_empty()).then(|| ordered.join(","))
}

/// Applies a `HostKeyAlgorithms` value: a list replaces, `+` appends (nothing to append here), `-`
/// removes, `^` moves to the front. Entries may be patterns.
fn restrict<'a>(all: &[&'a str], list: &str) -> Vec<&'a str> {
    let (operator, names) = match list.as_bytes().first() {
        Some(&c @ (b'+' | b'-' | b'^')) => (c, &list[1..]),
        _ => (b'=', list),
    };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let named = |a: &str| {
        names
            .iter()
            .any(|n| crate::pattern::matches(n.as_bytes(), a.as_bytes()))
    };
    let in_order = || {
        let mut picked: Vec<&'a str> = Vec::new();
        for name in &names {
            for a in all {
                if crate::pattern::matches(name.as_bytes(), a.as_bytes()) && !picked.contains(a) {
                    picked.push(a);
                }
            }
        }
        picked
    };
    match operator {
        b'+' => all.to_vec(),
        b'-' => all.iter().copied().filter(|a| !named(a)).collect(),
        b'^' => {
            let mut front = in_order();
            front.extend(all.iter().copied().filter(|a| !named(a)));
            front
        }
        _ => in_order(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_never_names_a_certificate_or_sha1() {
        for configured in [
            None,
            Some("+ssh-rsa,ssh-ed25519-cert-v01@openssh.com"),
            Some("^*"),
        ] {
            let list = preference(configured, |_| false).unwrap();
            assert!(
                !list.contains("cert") && !list.split(',').any(|a| a == "ssh-rsa"),
                "{list}"
            );
        }
    }

    #[test]
    fn known_types_come_first() {
        let list = preference(None, |t| t == "ssh-rsa").unwrap();
        assert!(
            list.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519,"),
            "{list}"
        );
    }

    #[test]
    fn configured_lists_restrict_and_reorder() {
        let list = |configured| preference(Some(configured), |_| false);
        assert_eq!(
            list("rsa-sha2-256,ssh-ed25519").as_deref(),
            Some("rsa-sha2-256,ssh-ed25519")
        );
        assert!(
            list("^rsa-*")
                .unwrap()
                .starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519")
        );
        assert!(!list("-ecdsa-*").unwrap().contains("ecdsa"));
        assert_eq!(list("ssh-dss,ssh-rsa"), None);
    }

    #[test]
    fn fingerprints_read_what_they_write() {
        let key = HostKey::new(b"\0\0\0\x0bssh-ed25519\0\0\0\x01x");
        let text = key.fingerprint().to_string();
        assert_eq!(text.len(), "SHA256:".len() + 43);
        assert_eq!(Fingerprint::parse(&text), Some(key.fingerprint()));
        assert_eq!(
            Fingerprint::parse(&format!("{text}=")),
            Some(key.fingerprint())
        );
        for bad in [
            "",
            "SHA256:",
            "MD5:aa:bb",
            &text[..20],
            &text.replace("SHA256:", "sha256:"),
        ] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
        assert_eq!(key.key_type(), "ssh-ed25519");
    }
}
