//! Rates and port ranges as people write them.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use haul_transfer::Measure;

/// Bits per second of file data on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate(pub(crate) u64);

/// Slowest rate accepted, bits/s. Below it a number was surely meant as megabits.
pub(crate) const RATE_MIN_BPS: u64 = 10_000;
/// Fastest rate accepted, bits/s: beyond any single host for years, and far from overflow.
pub(crate) const RATE_MAX_BPS: u64 = 10_000_000_000_000;

/// Why a rate was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RateError {
    /// Not a number with an optional suffix.
    #[error("write bits per second, such as 500K, 300M or 2.5G")]
    Syntax,
    /// A byte suffix: refused, because a guess would be wrong by a factor of eight.
    #[error("rates are bits per second, not bytes; write 300M for 300 Mbit/s")]
    Bytes,
    /// Positive, but too slow to be meant.
    #[error("{0} bit/s is below the slowest rate of 10K; was {0}M meant?")]
    TooSlow(u64),
    /// Faster than anything.
    #[error("the fastest rate accepted is 10T")]
    TooFast,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let factor: f64 = match suffix {
            "" => 1.0,
            "k" | "K" => 1e3,
            "m" | "M" => 1e6,
            "g" | "G" => 1e9,
            "t" | "T" => 1e12,
            other if other.contains('B') => return Err(RateError::Bytes),
            _ => return Err(RateError::Syntax),
        };
        let value: f64 = number.parse().map_err(|_| RateError::Syntax)?;
        let bps = (value * factor).round();
        if bps > RATE_MAX_BPS as f64 {
            return Err(RateError::TooFast);
        }
        let bps = bps as u64;
        if bps < RATE_MIN_BPS {
            return Err(RateError::TooSlow(bps));
        }
        Ok(Self(bps))
    }
}

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
    fn rates_are_decimal_bits_per_second() {
        for (text, bps) in [
            ("300M", 300_000_000),
            ("2.5G", 2_500_000_000),
            ("500K", 500_000),
            ("500k", 500_000),
            ("10000", 10_000),
            ("1t", 1_000_000_000_000),
            ("0.1M", 100_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate(bps)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_says_why() {
        for (text, error) in [
            ("", RateError::Syntax),
            ("M", RateError::Syntax),
            ("-5M", RateError::Syntax),
            ("1.2.3M", RateError::Syntax),
            ("1e9", RateError::Syntax),
            ("NaN", RateError::Syntax),
            ("inf", RateError::Syntax),
            ("300 M", RateError::Syntax),
            ("300MB", RateError::Bytes),
            ("300", RateError::TooSlow(300)),
            ("0", RateError::TooSlow(0)),
            ("11T", RateError::TooFast),
            ("99999999999999999999999999G", RateError::TooFast),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }

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
