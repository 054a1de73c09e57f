//! What a caller may decide about a connection.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::family::Family;

/// Answers a question to the user; `None` when there is no answer to be had.
pub type Ask = Box<dyn FnMut(Prompt) -> Option<Zeroizing<String>> + Send>;

/// A question only the user can answer. Texts that come from the server hold no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// The passphrase of an encrypted private key.
    Passphrase {
        /// The key file.
        key: PathBuf,
    },
    /// The account's password.
    Password {
        /// Account name.
        user: String,
        /// Host it is on.
        host: String,
    },
    /// A question of the server's (keyboard-interactive, RFC 4256).
    Challenge {
        /// The question as the server words it.
        text: String,
        /// Whether the answer may be shown while it is typed.
        echo: bool,
    },
    /// Whether an unknown host key is the right one: `yes` or the fingerprint itself accept it and
    /// remember it, anything else refuses.
    ConfirmHostKey {
        /// The host as it is looked up in known hosts, `[host]:port` for a port other than 22.
        host: String,
        /// Its key's type, for example `ssh-ed25519`.
        key_type: String,
        /// `SHA256:` and 43 base64 characters.
        fingerprint: String,
    },
}

impl Prompt {
    /// Whether the answer may be shown while it is typed.
    pub fn echo(&self) -> bool {
        match self {
            Self::Passphrase { .. } | Self::Password { .. } => false,
            Self::Challenge { echo, .. } => *echo,
            Self::ConfirmHostKey { .. } => true,
        }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase { key } => write!(f, "Passphrase for {}: ", key.display()),
            Self::Password { user, host } => write!(f, "Password for {user}@{host}: "),
            Self::Challenge { text, .. } => f.write_str(text),
            Self::ConfirmHostKey {
                host,
                key_type,
                fingerprint,
            } => write!(
                f,
                "{host} is not a known host. Its {key_type} key is {fingerprint}.\n\
                 Connect and remember it (yes, no or the fingerprint)? "
            ),
        }
    }
}

/// How to reach and to trust a host. [`Options::new`] gives what `ssh` would do for this user,
/// without asking anything.
pub struct Options {
    /// Private keys to try before those of the configuration (`-i`). Each must be readable.
    pub identities: Vec<PathBuf>,
    /// Configuration to read in place of the user's and the system's (`-F`); `none` reads nothing.
    pub config_file: Option<PathBuf>,
    /// Known-hosts files in place of the user's own; the system's are read all the same.
    pub known_hosts: Vec<PathBuf>,
    /// Known-hosts files of the system.
    pub system_known_hosts: Vec<PathBuf>,
    /// `SHA256:…`: the only host key to accept, whatever known hosts say.
    pub host_key_pin: Option<String>,
    /// Accepts and remembers the key of a host that is not known yet. A changed key stays refused.
    pub accept_new: bool,
    /// External program in place of the built-in client: its path, then arguments of its own.
    pub ssh_program: Option<Vec<OsString>>,
    /// Which of the host's addresses to connect to.
    pub family: Family,
    /// Time for name resolution and, again, for the TCP connection. `None`: what the configuration
    /// says, or 10 s.
    pub connect_timeout: Option<Duration>,
    /// Whether a user is there to answer. `false`: [`Options::ask`] is never called.
    pub interactive: bool,
    /// The user's home directory, where `.ssh` is looked for.
    pub home: Option<PathBuf>,
    /// Socket of the key agent; `None` uses no agent.
    pub agent: Option<PathBuf>,
    /// Puts a question to the user. Called on the session's thread.
    pub ask: Ask,
}

impl Options {
    /// The environment's defaults: `$HOME` (or the account's home), `$SSH_AUTH_SOCK`, not
    /// interactive.
    pub fn new() -> Self {
        Self {
            identities: Vec::new(),
            config_file: None,
            known_hosts: Vec::new(),
            system_known_hosts: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
                .map(PathBuf::from)
                .to_vec(),
            host_key_pin: None,
            accept_new: false,
            ssh_program: None,
            family: Family::Any,
            connect_timeout: None,
            interactive: false,
            home: std::env::home_dir(),
            agent: std::env::var_os("SSH_AUTH_SOCK")
                .filter(|s| !s.is_empty())
                .map(PathBuf::from),
            ask: Box::new(|_| None),
        }
    }

    /// Puts a question to the user if there is one.
    pub(crate) fn answer(&mut self, prompt: Prompt) -> Option<Zeroizing<String>> {
        if self.interactive {
            (self.ask)(prompt)
        } else {
            None
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("identities", &self.identities)
            .field("config_file", &self.config_file)
            .field("known_hosts", &self.known_hosts)
            .field("host_key_pin", &self.host_key_pin)
            .field("accept_new", &self.accept_new)
            .field("ssh_program", &self.ssh_program)
            .field("family", &self.family)
            .field("interactive", &self.interactive)
            .finish_non_exhaustive()
    }
}
