//! Whether to go on with the host that showed this key.

use std::path::PathBuf;

use crate::config::Strict;
use crate::error::SshError;
use crate::host_key::{Fingerprint, HostKey};
use crate::known_hosts::{self, HostName, KnownHosts, Verdict};
use crate::options::{Options, Prompt};

/// What is known before the host shows its key.
#[derive(Debug)]
pub(crate) enum Expectation {
    /// The one key to accept.
    Pinned(Fingerprint),
    /// What known hosts remember.
    Remembered {
        /// All lines about the host.
        known: KnownHosts,
        /// The user's own files; a new key goes into the first.
        files: Vec<PathBuf>,
        /// What to do about an unknown host.
        strict: Strict,
    },
}

impl Expectation {
    /// # Errors
    /// [`SshError::BadPin`].
    pub(crate) fn pinned(pin: &str) -> Result<Self, SshError> {
        Fingerprint::parse(pin)
            .map(Self::Pinned)
            .ok_or_else(|| SshError::BadPin(pin.to_owned()))
    }

    pub(crate) fn remembered(known: KnownHosts, files: Vec<PathBuf>, strict: Strict) -> Self {
        Self::Remembered {
            known,
            files,
            strict,
        }
    }

    /// What known hosts say, if they are asked.
    pub(crate) fn known(&self) -> Option<&KnownHosts> {
        match self {
            Self::Pinned(_) => None,
            Self::Remembered { known, .. } => Some(known),
        }
    }
}

/// Accepts the key or says why not. A new key that is accepted is remembered.
///
/// # Errors
/// Any of the `HostKey…` errors; [`SshError::KnownHosts`] if the key cannot be remembered.
pub(crate) fn check(
    shown: &HostKey,
    expectation: &Expectation,
    host: &HostName,
    options: &mut Options,
) -> Result<(), SshError> {
    let key_type = shown.key_type().to_owned();
    let fingerprint = shown.fingerprint();
    if !shown.is_plain() {
        return Err(SshError::HostKeyType {
            host: host.to_string(),
            key_type: crate::escape::escaped(&key_type),
        });
    }
    let (known, files, strict) = match expectation {
        Expectation::Pinned(pin) if *pin == fingerprint => return Ok(()),
        Expectation::Pinned(pin) => {
            return Err(SshError::HostKeyPin {
                host: host.to_string(),
                fingerprint: fingerprint.to_string(),
                pinned: pin.to_string(),
            });
        }
        Expectation::Remembered {
            known,
            files,
            strict,
        } => (known, files, *strict),
    };
    let (host_text, fingerprint) = (host.to_string(), fingerprint.to_string());
    match known.judge(shown) {
        Verdict::Trusted => Ok(()),
        Verdict::Revoked(place) => Err(SshError::HostKeyRevoked {
            host: host_text,
            file: place.file,
            line: place.line,
            fingerprint,
        }),
        Verdict::Changed(place) => Err(SshError::HostKeyChanged {
            host: host_text,
            file: place.file,
            line: place.line,
            key_type,
            fingerprint,
        }),
        Verdict::Unknown => {
            let accept_new = options.accept_new || strict == Strict::AcceptNew;
            let accepted = accept_new
                || (strict != Strict::Yes
                    && confirmed(&host_text, &key_type, &fingerprint, options));
            if !accepted {
                return Err(SshError::HostKeyUnknown {
                    host: host_text,
                    key_type,
                    fingerprint,
                });
            }
            match files.first() {
                Some(file) => known_hosts::append(file, host, shown),
                None => Ok(()),
            }
        }
    }
}

fn confirmed(host: &str, key_type: &str, fingerprint: &str, options: &mut Options) -> bool {
    let prompt = Prompt::ConfirmHostKey {
        host: host.to_owned(),
        key_type: key_type.to_owned(),
        fingerprint: fingerprint.to_owned(),
    };
    options.answer(prompt).is_some_and(|answer| {
        let answer = answer.trim();
        answer.eq_ignore_ascii_case("yes") || answer == fingerprint
    })
}
