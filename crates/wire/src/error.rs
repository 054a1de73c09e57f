/// Why bytes from the network are not what they claim to be. Always the peer's (or a stranger's) fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the smallest value of this kind.
    #[error("{what} is too short: {len} bytes")]
    TooShort {
        /// What was being decoded.
        what: &'static str,
        /// How many bytes there were.
        len: usize,
    },
    /// A protocol version other than ours in a datagram header.
    #[error("unknown protocol version {0}")]
    Version(u8),
    /// A datagram kind that does not exist.
    #[error("unknown datagram kind {0}")]
    Kind(u8),
    /// A field outside its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A structure that does not parse.
    #[error("malformed {0}")]
    Malformed(&'static str),
}
