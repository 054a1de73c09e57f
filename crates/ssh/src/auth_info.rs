//! What sshd tells the session that it starts: which key the user has proved to hold.

use base64ct::{Base64, Encoding as _};

use crate::host_key::{HostKey, blob_type};

/// The fingerprint, `SHA256:…`, of the key by which a user was authenticated, from the file that sshd names in
/// `SSH_USER_AUTH` where `ExposeAuthInfo` is set: a line for each method, as in
/// `publickey ssh-ed25519 AAAA…`. Of several keys the last; `None` without one, and for certificates, whose
/// fingerprint is not that of their key.
pub fn authenticated_key(auth_info: &str) -> Option<String> {
    let mut keys = auth_info.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let is_key = words.next() == Some("publickey");
        let (key_type, blob) = (words.next()?, Base64::decode_vec(words.next()?).ok()?);
        let is_whole = is_key && !key_type.contains("-cert-") && blob_type(&blob) == Some(key_type);
        is_whole.then(|| HostKey::new(&blob).fingerprint().to_string())
    });
    keys.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    // ssh-keygen -t ed25519; ssh-keygen -l
    const LINE: &str = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const FINGERPRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    #[test]
    fn the_key_that_was_used_is_told_as_ssh_keygen_tells_it() {
        assert_eq!(authenticated_key(LINE).as_deref(), Some(FINGERPRINT));
        let several = format!("password\nhostbased x\n{LINE}\n");
        assert_eq!(authenticated_key(&several).as_deref(), Some(FINGERPRINT));
    }

    #[test]
    fn what_is_no_key_tells_nothing() {
        for text in [
            "",
            "password",
            "publickey",
            "publickey ssh-ed25519",
            "publickey ssh-ed25519 ?",
            "publickey ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "publickey ssh-ed25519-cert-v01@openssh.com AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "hostbased ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        ] {
            assert_eq!(authenticated_key(text), None, "{text}");
        }
    }
}
