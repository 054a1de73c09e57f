//! What can be said of a user, in any section of the file.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use haul_transfer::{Bps, Policy, SuiteId};
use ipnet::IpNet;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, de::Error};

/// A section's keys; each may be missing. `docs/POLICY.md` explains them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Terms {
    /// Sections under `groups` that hold for this user too; in `users` only.
    pub(crate) groups: Vec<String>,
    /// The directory that is served; `{user}` in it stands for the name.
    pub(crate) root: Option<PathBuf>,
    pub(crate) read: Option<bool>,
    pub(crate) write: Option<bool>,
    pub(crate) overwrite: Option<bool>,
    pub(crate) delete: Option<bool>,
    pub(crate) take: Option<bool>,
    pub(crate) privileged: Option<bool>,
    pub(crate) measure: Option<bool>,
    pub(crate) sources: Option<Vec<Source>>,
    pub(crate) expires: Option<Moment>,
    pub(crate) keys: Option<Vec<Key>>,
    pub(crate) allow: Option<Vec<String>>,
    pub(crate) deny: Option<Vec<String>>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) names_max: Option<u64>,
    pub(crate) rate_up: Option<Rate>,
    pub(crate) rate_down: Option<Rate>,
    pub(crate) policies: Option<Vec<PolicyName>>,
    pub(crate) ciphers: Option<Vec<Cipher>>,
    pub(crate) umask: Option<Umask>,
    pub(crate) any_source: Option<bool>,
}

/// Reads a value from the text that stands in the file.
macro_rules! from_text {
    ($name:ident, $inner:ty, $parse:expr) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<$inner, String> = $parse;
                parse(&text).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

from_text!(Rate, u64, |text| {
    let rate = Bps::from_str(text).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(rate.0)
});
from_text!(Cipher, SuiteId, |text| {
    SuiteId::from_str(text).map_err(|error| error.to_string())
});
from_text!(PolicyName, Policy, |text| {
    Policy::from_str(text).map_err(|error| error.to_string())
});
from_text!(Source, IpNet, |text| {
    let parsed = IpNet::from_str(text).or_else(|_| IpAddr::from_str(text).map(IpNet::from));
    let net =
        parsed.map_err(|_| format!("{text:?} is no address and no network like 192.0.2.0/24"))?;
    Ok(canonical(net))
});
from_text!(Moment, Timestamp, |text| {
    let day = || {
        civil::Date::from_str(text)
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
    };
    Timestamp::from_str(text)
        .ok()
        .or_else(|| Some(day()?.timestamp()))
        .ok_or_else(|| {
            format!("{text:?} is no date like 2027-01-31 and no time like 2027-01-31T12:00:00Z")
        })
});
from_text!(Key, String, |text| {
    let digits = text.strip_prefix("SHA256:").unwrap_or_default();
    let is_one = digits.len() == 43
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    is_one
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no fingerprint as ssh-keygen -l shows it: SHA256:…"))
});
from_text!(Umask, u32, |text| {
    let mask = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| format!("{text:?} is no umask like \"027\""))
});

/// A network of IPv4 addresses written as IPv6 is the network of the IPv4 addresses.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    match (
        six.network().to_ipv4_mapped(),
        six.prefix_len().checked_sub(96),
    ) {
        (Some(four), Some(len)) => ipnet::Ipv4Net::new(four, len).map_or(net, IpNet::V4),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_the_same_in_either_form() {
        let net = |text: &str| {
            toml::from_str::<Terms>(&format!("sources = [\"{text}\"]"))
                .unwrap()
                .sources
                .unwrap()[0]
                .0
        };
        assert_eq!(net("::ffff:192.0.2.0/120"), net("192.0.2.0/24"));
        assert_eq!(net("::ffff:192.0.2.7"), net("192.0.2.7/32"));
        assert_eq!(net("2001:db8::/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for text in [
            "reed = true",
            "read = 1",
            "sources = [\"nowhere\"]",
            "expires = \"soon\"",
            "keys = [\"ssh-ed25519 AAAA\"]",
            "rate_up = \"300MB\"",
            "rate_up = 300",
            "policies = [\"fastest\"]",
            "ciphers = [\"3des\"]",
            "umask = \"999\"",
            "bytes_max = -1",
        ] {
            let error = toml::from_str::<Terms>(text).unwrap_err().to_string();
            assert!(error.contains("line 1"), "{text}: {error}");
        }
    }
}
