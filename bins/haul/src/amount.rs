//! Extents and port ranges as people write them.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use haul_transfer::Measure;

/// How long, or how much, to measure: seconds as `10` or `2.5s`, bytes as `500M` or `2G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent(pub(crate) Measure);

/// Why an extent was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write seconds from 0.1 to 3600, such as 10 or 2.5s, or bytes up to 1000T, such as 2G")]
pub(crate) struct ExtentError;

impl FromStr for Extent {
    type Err = ExtentError;

    fn from_str(text: &str) -> Result<Self, ExtentError> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let value: f64 = number.parse().map_err(|_| ExtentError)?;
        let factor = match suffix {
            "" | "s" if (0.1..=3600.0).contains(&value) => {
                return Ok(Self(Measure::Millis((value * 1e3).round() as u32)));
            }
            "k" | "K" => 1e3,
            "m" | "M" => 1e6,
            "g" | "G" => 1e9,
            "t" | "T" => 1e12,
            _ => return Err(ExtentError),
        };
        let bytes = (value * factor).round();
        if !(1.0..=1e15).contains(&bytes) {
            return Err(ExtentError);
        }
        Ok(Self(Measure::Bytes(bytes as u64)))
    }
}

/// UDP ports the server may choose from, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

/// Why a port range was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a UDP port from 1 to 65535, or a range such as 33001-33100")]
pub(crate) struct PortsError;

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port != 0 && !text.starts_with('+') => Ok(port),
            _ => Err(PortsError),
        };
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (port(low)?, port(high)?);
        if low > high {
            return Err(PortsError);
        }
        Ok(Self(low..=high))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_seconds_or_bytes() {
        for (text, measure) in [
            ("10", Measure::Millis(10_000)),
            ("2.5s", Measure::Millis(2_500)),
            ("500M", Measure::Bytes(500_000_000)),
            ("1.5g", Measure::Bytes(1_500_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(Extent(measure)), "{text}");
        }
        for wrong in [
            "", "s", "0", "0s", "3601", "-1", "10ms", "10MB", "0K", "1001T", "1e3",
        ] {
            assert_eq!(wrong.parse::<Extent>(), Err(ExtentError), "{wrong}");
        }
    }

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!("33001".parse(), Ok(Ports(33001..=33001)));
        assert_eq!("1-65535".parse(), Ok(Ports(1..=65535)));
        for wrong in ["", "0", "65536", "5-4", "a", "1-2-3", "-", "+5", "5-"] {
            assert_eq!(wrong.parse::<Ports>(), Err(PortsError), "{wrong}");
        }
        let ports = Ports(33001..=33100);
        assert_eq!(ports.to_string().parse(), Ok(ports));
    }
}
