//! Why there is no session, by whose fault and with what to do about it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::escape::escaped;
use crate::family::Family;

/// What was being done when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// Looking up the host name.
    #[error("looking up the host name")]
    Resolve,
    /// Connecting to any of the host's addresses.
    #[error("connecting")]
    Connect,
    /// Agreeing on algorithms and keys.
    #[error("the SSH handshake")]
    Handshake,
    /// Authenticating the user.
    #[error("authentication")]
    Authentication,
    /// Asking for the remote command.
    #[error("starting the remote command")]
    Command,
    /// Waiting for the remote command to end.
    #[error("waiting for the remote command to end")]
    Exit,
}

/// Why there is no session, or no longer one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SshError {
    /// A host, user or port that cannot be one.
    #[error("the {what} is not usable: {reason}")]
    BadTarget {
        /// `host`, `user` or `port`.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A line of the SSH configuration that cannot be followed.
    #[error("{}, line {line}: {reason}", .file.display())]
    Config {
        /// The configuration file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: ConfigFault,
    },
    /// A configuration file that cannot be read or trusted.
    #[error("{} cannot be used: {source}", .file.display())]
    ConfigFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The configuration wants a way to the host that only an external program has.
    #[error(
        "{}, line {line}: {option} needs the system's ssh: add --ssh-program ssh",
        .file.display()
    )]
    NeedsSshProgram {
        /// `ProxyJump` or `ProxyCommand`.
        option: &'static str,
        /// The configuration file that asks for it.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// No name on this machine to log in with.
    #[error("the local user has no name: give one, as in user@host")]
    NoUser,
    /// The host name has no address.
    #[error("cannot find host {host}: {source}")]
    UnknownHost {
        /// The name looked up.
        host: String,
        /// The resolver's word.
        source: Arc<io::Error>,
    },
    /// The host has addresses, but none of the family asked for.
    #[error(
        "{host} has no {family} address: to use {found}, leave out {}",
        .family.option().unwrap_or_default()
    )]
    NoAddress {
        /// The name looked up.
        host: String,
        /// The family asked for.
        family: Family,
        /// An address that it does have.
        found: IpAddr,
    },
    /// No address of the host accepts a connection.
    #[error("cannot connect to {host} port {port}: {source}: is sshd running and reachable?")]
    Unreachable {
        /// The host.
        host: String,
        /// The TCP port.
        port: u16,
        /// What the last address answered.
        source: Arc<io::Error>,
    },
    /// A stage did not end in time.
    #[error("timed out during {0}")]
    Timeout(Stage),
    /// The server does not speak SSH, or no algorithm we accept.
    #[error("no SSH handshake with {host}: {message}")]
    Handshake {
        /// The host.
        host: String,
        /// libssh2's word.
        message: String,
    },
    /// The host key is in no known-hosts file.
    #[error(
        "{host} is not a known host; its {key_type} key is {fingerprint}: check that and accept \
         it with --accept-new or --host-key {fingerprint}, or connect once with ssh"
    )]
    HostKeyUnknown {
        /// The host as looked up.
        host: String,
        /// Type of the key shown.
        key_type: String,
        /// `SHA256:…` of the key shown.
        fingerprint: String,
    },
    /// The host showed another key than the one remembered.
    #[error(
        "the host key of {host} HAS CHANGED: it shows {key_type} {fingerprint}, but {} line \
         {line} remembers another: somebody may be in between; if the change is \
         known to be right, remove that line",
        .file.display()
    )]
    HostKeyChanged {
        /// The host as looked up.
        host: String,
        /// The known-hosts file with the other key.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Type of the key shown.
        key_type: String,
        /// `SHA256:…` of the key shown.
        fingerprint: String,
    },
    /// The host showed a key that is marked `@revoked`.
    #[error(
        "the host key {fingerprint} of {host} is revoked by {} line {line}: do not use this host",
        .file.display()
    )]
    HostKeyRevoked {
        /// The host as looked up.
        host: String,
        /// The known-hosts file that revokes it.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// `SHA256:…` of the key shown.
        fingerprint: String,
    },
    /// The host showed another key than the pinned one.
    #[error("the host key of {host} is {fingerprint}, not the pinned {pinned}")]
    HostKeyPin {
        /// The host.
        host: String,
        /// `SHA256:…` of the key shown.
        fingerprint: String,
        /// The pin.
        pinned: String,
    },
    /// A pin that is no fingerprint.
    #[error("{0:?} is no host key fingerprint: write SHA256: and 43 base64 characters")]
    BadPin(String),
    /// The server showed a host key of a kind never accepted, such as a certificate.
    #[error("the host key of {host} is of the type {key_type}, which is not accepted")]
    HostKeyType {
        /// The host.
        host: String,
        /// The type the key claims.
        key_type: String,
    },
    /// The server came up with another host key in the middle of the session.
    #[error("the server changed its host key within the session: the connection is not trusted")]
    HostKeyReplaced,
    /// A known-hosts file that cannot be read or written.
    #[error("known hosts {}: {source}", .file.display())]
    KnownHosts {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A private key named by the user that cannot be used.
    #[error("key file {}: {source}", .file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// There was nothing to authenticate with.
    #[error(
        "no key or password to log in as {user} at {host} (the server accepts {accepted}){notes}: \
         start an ssh-agent or name a key with -i"
    )]
    NoIdentity {
        /// Account.
        user: String,
        /// Host.
        host: String,
        /// Methods the server offers.
        accepted: String,
        /// What was passed over and why, empty or beginning with `; `.
        notes: String,
    },
    /// The server accepted nothing of what was tried.
    #[error("{host} does not let {user} in; tried {tried}; the server accepts {accepted}{notes}")]
    AuthenticationFailed {
        /// Account.
        user: String,
        /// Host.
        host: String,
        /// What was tried, in order.
        tried: String,
        /// Methods the server offers.
        accepted: String,
        /// What was passed over and why, empty or beginning with `; `.
        notes: String,
    },
    /// The server let us in, but not run a command.
    #[error("{host} refuses to run the remote command: {message}")]
    RemoteCommandRefused {
        /// The host.
        host: String,
        /// libssh2's word.
        message: String,
    },
    /// The connection broke.
    #[error("the SSH connection was lost: {message}")]
    Lost {
        /// libssh2's or the kernel's word.
        message: String,
    },
    /// The external program cannot be started.
    #[error("cannot start {}: {source}", escaped(.program))]
    Program {
        /// Its name.
        program: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A facility of this machine failed: threads, sockets, polling.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The kernel's word.
        source: Arc<io::Error>,
    },
    /// The session's thread ended without a word: a defect of this program.
    #[error("the SSH thread ended unexpectedly")]
    WorkerDied,
}

/// What is wrong with a line of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// An option without a value.
    #[error("{0} has no value")]
    NoValue(String),
    /// A value its option does not allow.
    #[error("{option} cannot be {value:?}")]
    Value {
        /// The option.
        option: &'static str,
        /// What stands there.
        value: String,
    },
    /// A quote that is opened and not closed.
    #[error("a quote is not closed")]
    Quote,
    /// A percent token, environment variable or `~user` that is not understood.
    #[error("{0:?} cannot be expanded")]
    Expansion(String),
    /// Files including one another without end.
    #[error("too many levels of Include")]
    IncludeDepth,
    /// A host key algorithm list that leaves none.
    #[error("HostKeyAlgorithms leaves no algorithm that is supported here")]
    NoHostKeyAlgorithm,
}

impl SshError {
    /// Wraps a failure of this machine's own.
    pub(crate) fn system(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System {
            what,
            source: Arc::new(source.into()),
        }
    }

    /// Wraps a broken connection.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::Lost {
            message: message.into(),
        }
    }
}
