//! Which kind of addresses to use.

use std::fmt;
use std::net::IpAddr;

/// Which of a host's addresses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// All of them.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    /// Whether `address` is of this kind.
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// What ssh(1) calls this choice.
    pub(crate) fn option(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::V4 => Some("-4"),
            Self::V6 => Some("-6"),
        }
    }
}

/// `IPv4`, `IPv6` or `IP`, as in "no … address".
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
