//! Amounts for people: decimal units, a space before the unit, two or three figures.

use std::time::Duration;

/// `12.3 GB`, `999 bytes`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".to_owned(),
        0..1000 => format!("{count} bytes"),
        _ => scaled(count as f64, "B"),
    }
}

/// `6.9 Gbit/s`, `512 bit/s`.
pub(crate) fn rate(bits_per_second: f64) -> String {
    scaled(bits_per_second.max(0.0), "bit/s")
}

/// Two or three figures and an SI prefix.
fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut value = value;
    let mut prefix = 0;
    // 999.5 would print as "1000 kB" instead of "1.0 MB".
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let digits = match value {
        _ if prefix == 0 => 0,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}{unit}", PREFIXES[prefix])
}

/// `20,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `20,000 files`, `1 file`.
pub(crate) fn files(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} file{plural}", count(number))
}

/// `0.02 %`; `<0.01 %` when not quite nothing.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent <= 0.0 => "0 %".to_owned(),
        ..0.01 => "<0.01 %".to_owned(),
        ..9.995 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// `14.2 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`.
pub(crate) fn duration(span: Duration) -> String {
    let tenths = (span.as_secs_f64() * 10.0).round();
    if tenths < 600.0 {
        return format!("{:.1} s", tenths / 10.0);
    }
    let seconds = span.as_secs_f64().round() as u64;
    match seconds {
        ..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `23 ms`, `0.21 ms`: round-trip times.
pub(crate) fn rtt(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    match ms {
        ..0.995 => format!("{ms:.2} ms"),
        ..9.95 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_few_figures() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_499), "999 kB");
        assert_eq!(bytes(999_500), "1.0 MB");
        assert_eq!(bytes(12_345_678_901), "12.3 GB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(rate(6.9e9), "6.9 Gbit/s");
        assert_eq!(rate(-1.0), "0 bit/s");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(20_000), "20,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(files(1), "1 file");
        assert_eq!(files(2), "2 files");
    }

    #[test]
    fn shares_and_times() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "<0.01 %");
        assert_eq!(percent(0.000_2), "0.02 %");
        assert_eq!(percent(0.123), "12.3 %");
        assert_eq!(duration(Duration::from_millis(14_210)), "14.2 s");
        assert_eq!(duration(Duration::from_millis(59_960)), "1 min 00 s");
        assert_eq!(duration(Duration::from_secs(7_620)), "2 h 07 min");
        assert_eq!(duration(Duration::from_secs(273_600)), "3 d 04 h");
        assert_eq!(rtt(Duration::from_micros(210)), "0.21 ms");
        assert_eq!(rtt(Duration::from_millis(23)), "23 ms");
    }
}
