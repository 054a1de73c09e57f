//! Whom to connect to.

use crate::SshError;

/// Longest host name in the DNS (RFC 1035, 2.3.4), with room for an IPv6 zone.
const HOST_LEN_MAX: usize = 255;
/// Longest account name we pass on; Linux itself allows 32.
const USER_LEN_MAX: usize = 256;

/// Account, host and port as the user named them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Account; `None`: what the configuration says, or the local user's name.
    pub user: Option<String>,
    /// Host name, alias of the configuration, or address (IPv6 with or without brackets).
    pub host: String,
    /// TCP port; `None`: what the configuration says, or 22.
    pub port: Option<u16>,
}

impl Target {
    /// A target by host name alone.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            user: None,
            host: host.into(),
            port: None,
        }
    }

    /// Refuses what could be taken for an option, a shell's syntax or a second line, and takes the
    /// brackets off an IPv6 address.
    ///
    /// The names reach a command line (`--ssh-program`), tokens of a configuration and the log, so
    /// they are checked before any of that, and by what is allowed rather than by what is known to
    /// be bad.
    ///
    /// # Errors
    /// [`SshError::BadTarget`].
    pub(crate) fn checked(&self) -> Result<Self, SshError> {
        let host = self
            .host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&self.host);
        check_host(host)?;
        if let Some(user) = &self.user {
            check_user(user)?;
        }
        if self.port == Some(0) {
            return Err(SshError::BadTarget {
                what: "port",
                reason: "0 is not a port",
            });
        }
        Ok(Self {
            host: host.to_owned(),
            ..self.clone()
        })
    }
}

/// Refuses what cannot be a host name or address.
pub(crate) fn check_host(host: &str) -> Result<(), SshError> {
    let bad = |reason| {
        Err(SshError::BadTarget {
            what: "host",
            reason,
        })
    };
    if host.is_empty() {
        return bad("it is empty");
    }
    if host.starts_with('-') {
        return bad("it begins with '-'");
    }
    if host.len() > HOST_LEN_MAX {
        return bad("it is longer than 255 bytes");
    }
    // Letters beyond ASCII stay allowed for host names the resolver understands.
    let allowed = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
    if !host.chars().all(allowed) {
        return bad("it holds a character that no host name has");
    }
    Ok(())
}

/// Refuses what cannot be an account name. `@` stays allowed for directory services
/// (`user@domain`); their other form, `DOMAIN\user`, does not: a shell would be misled by it.
pub(crate) fn check_user(user: &str) -> Result<(), SshError> {
    let bad = |reason| {
        Err(SshError::BadTarget {
            what: "user",
            reason,
        })
    };
    if user.is_empty() {
        return bad("it is empty");
    }
    if user.starts_with('-') {
        return bad("it begins with '-'");
    }
    if user.len() > USER_LEN_MAX {
        return bad("it is longer than 256 bytes");
    }
    let allowed = |c: char| c.is_alphanumeric() || "-._@+".contains(c);
    if !user.chars().all(allowed) {
        return bad("it holds a space, quote, control or shell character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(user: Option<&str>, host: &str) -> Target {
        Target {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port: None,
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for host in [
            "a",
            "host.example.org",
            "10.0.0.1",
            "::1",
            "fe80::1%eth0",
            "my_host",
            "hôte",
        ] {
            assert!(target(None, host).checked().is_ok(), "{host}");
        }
        assert_eq!(
            target(None, "[2001:db8::7]").checked().unwrap().host,
            "2001:db8::7"
        );
        for user in ["root", "jane.doe", "user@corp.example", "svc-haul", "x_1+y"] {
            assert!(target(Some(user), "h").checked().is_ok(), "{user}");
        }
    }

    #[test]
    fn s56_dangerous_names_are_refused() {
        let bad = [
            "",
            "-oProxyCommand=id",
            "a b",
            "a;id",
            "$(id)",
            "`id`",
            "a\nb",
            "a\0",
            "a|b",
            "a&b",
            "a'b",
            "a\"b",
            "a\\b",
            "a>b",
            "a<b",
            "a(b",
            "a\u{7f}",
            "a\tb",
            "a*",
            "a/b",
            "a#b",
            "a\u{202e}b",
        ];
        for name in bad {
            assert!(target(None, name).checked().is_err(), "host {name:?}");
            assert!(
                target(Some(name), "host").checked().is_err(),
                "user {name:?}"
            );
        }
        assert!(target(None, &"a".repeat(256)).checked().is_err());
        assert!(
            Target {
                port: Some(0),
                ..Target::new("h")
            }
            .checked()
            .is_err()
        );
    }
}
