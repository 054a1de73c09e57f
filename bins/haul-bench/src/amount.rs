//! Rates, sizes, times and shares, as people write them.

use std::{str::FromStr, time::Duration};

/// Bits per second, such as `300M` or `2.5G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// Bytes, such as `256M` or `1G` (powers of 1,024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A time, such as `100ms` or `60s`; without a unit, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A share, such as `1%` or `0.01`; without a sign, percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

fn scaled(text: &str, step: f64) -> Option<f64> {
    let upper = text.to_ascii_uppercase();
    let (digits, power) = match upper.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1),
        b'M' => (&text[..text.len() - 1], 2),
        b'G' => (&text[..text.len() - 1], 3),
        _ => (text, 0),
    };
    let value: f64 = digits.parse().ok()?;
    (value.is_finite() && value > 0.0).then(|| value * step.powi(power))
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bps = scaled(text, 1000.0).ok_or("write bits per second, such as 300M or 2.5G")?;
        Ok(Self(bps as u64))
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = scaled(text, 1024.0).ok_or("write bytes, such as 256M or 1G")?;
        Ok(Self(bytes as u64))
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = match text {
            _ if text.ends_with("ms") => (&text[..text.len() - 2], 1e-3),
            _ if text.ends_with('s') => (&text[..text.len() - 1], 1.0),
            _ => (text, 1e-3),
        };
        let value: f64 = digits.parse().map_err(|_| "write a time, such as 100ms")?;
        Duration::try_from_secs_f64(value * unit)
            .map(Self)
            .map_err(|_| "write a time, such as 100ms")
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_suffix('%').unwrap_or(text);
        match digits.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err("write a share in percent, such as 0.1 or 5%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!("300M".parse(), Ok(Rate(300_000_000)));
        assert_eq!("1G".parse(), Ok(Size(1 << 30)));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("20".parse(), Ok(Span(Duration::from_millis(20))));
        assert_eq!("0.1".parse(), Ok(Share(0.001)));
        assert_eq!("5%".parse(), Ok(Share(0.05)));
        assert!("-1M".parse::<Rate>().is_err());
        assert!("101".parse::<Share>().is_err());
        assert!("x".parse::<Span>().is_err());
    }
}
