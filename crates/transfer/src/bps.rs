//! Rates as people write them.

use std::str::FromStr;

/// Bits per second, from 10 thousand to 10 trillion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bps(pub u64);

/// Slowest rate accepted, bits/s. Below it a number was surely meant as megabits.
const BPS_MIN: u64 = 10_000;
/// Fastest rate accepted, bits/s: beyond any single host for years, and far from overflow.
const BPS_MAX: u64 = 10_000_000_000_000;

/// Why a rate was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BpsError {
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

impl FromStr for Bps {
    type Err = BpsError;

    fn from_str(text: &str) -> Result<Self, BpsError> {
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
            other if other.contains('B') => return Err(BpsError::Bytes),
            _ => return Err(BpsError::Syntax),
        };
        let value: f64 = number.parse().map_err(|_| BpsError::Syntax)?;
        let bps = (value * factor).round();
        if bps > BPS_MAX as f64 {
            return Err(BpsError::TooFast);
        }
        let bps = bps as u64;
        if bps < BPS_MIN {
            return Err(BpsError::TooSlow(bps));
        }
        Ok(Self(bps))
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
            assert_eq!(text.parse(), Ok(Bps(bps)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_says_why() {
        for (text, error) in [
            ("", BpsError::Syntax),
            ("M", BpsError::Syntax),
            ("-5M", BpsError::Syntax),
            ("1.2.3M", BpsError::Syntax),
            ("1e9", BpsError::Syntax),
            ("NaN", BpsError::Syntax),
            ("inf", BpsError::Syntax),
            ("300 M", BpsError::Syntax),
            ("300MB", BpsError::Bytes),
            ("300", BpsError::TooSlow(300)),
            ("0", BpsError::TooSlow(0)),
            ("11T", BpsError::TooFast),
            ("99999999999999999999999999G", BpsError::TooFast),
        ] {
            assert_eq!(text.parse::<Bps>(), Err(error), "{text}");
        }
    }
}
