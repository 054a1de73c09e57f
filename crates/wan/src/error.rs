use std::io;

/// Why a link cannot be emulated.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// Neither root nor a user namespace.
    #[error("emulating a network needs root or user namespaces")]
    Privileges(#[source] io::Error),
    /// No TUN device.
    #[error("no TUN device (is /dev/net/tun there and readable?)")]
    Tun(#[source] io::Error),
    /// A program that sets up addresses failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// What was run.
        program: String,
        /// What it said.
        reason: String,
    },
    /// A thread of the emulation has ended.
    #[error("the emulation of the network has ended")]
    Ended,
    /// The system refused something else.
    #[error("cannot emulate a network")]
    System(#[from] io::Error),
}
