//! One SSH session on one thread: a byte pipe to a remote command.
//!
//! [`connect()`] authenticates a host against known hosts, the user against the host, starts one
//! command and hands back its stdin and stdout as a [`UnixStream`](std::os::unix::net::UnixStream):
//!
//! ```text
//!  caller ◄──► UnixStream pair ◄──► thread "ssh" { libssh2, non-blocking } ◄──► TCP ◄──► sshd
//! ```
//!
//! libssh2 parses hostile bytes and is not made for several threads, so all of it stays on that
//! thread. What it is weak in is done here: known hosts are judged as OpenSSH judges them, and host
//! certificates, which it accepts unseen, are never asked for. [`Options::ssh_program`] puts the
//! system's own client in its place.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod auth;
mod auth_info;
mod clock;
mod conduit;
mod config;
mod connect;
mod error;
mod escape;
mod external;
mod family;
mod host_key;
pub mod known_hosts;
mod link;
mod options;
mod pattern;
mod pump;
mod session;
mod target;
mod tcp;
mod trust;

pub use auth_info::authenticated_key;
pub use config::check_config;
pub use connect::connect;
pub use error::{ConfigFault, SshError, Stage};
pub use family::Family;
pub use options::{Ask, Options, Prompt};
pub use session::{Channels, Remote, RemoteExit, Session};
pub use target::Target;
