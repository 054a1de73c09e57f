use std::{fmt, path::PathBuf, str::FromStr};

/// Longest log file unless told otherwise, in bytes.
const SIZE_MAX: u64 = 10_000_000;
/// Shortest that may be asked for: less could not hold the account of one run.
const SIZE_LEAST: u64 = 1_000;
/// Longest that may be asked for.
const SIZE_MOST: u64 = 1_000_000_000_000;

/// Where a log goes, as people write it: `DIR`, `DIR:SIZE`, or `-` for standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// Standard output, without end.
    Stdout,
    /// Files in a directory.
    Directory {
        /// Which; it has to exist.
        dir: PathBuf,
        /// Longest that one file gets, in bytes.
        size_max: u64,
    },
}

/// Why a place was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogPlaceError {
    /// No directory.
    #[error(
        "write a directory, such as /var/log/haul or /var/log/haul:50M, or - for standard output"
    )]
    NoDirectory,
    /// What follows the last colon begins like a size and is none.
    #[error("the size of a log file is 1K to 1T bytes, such as 500K or 10M")]
    Size,
}

impl FromStr for LogPlace {
    type Err = LogPlaceError;

    fn from_str(text: &str) -> Result<Self, LogPlaceError> {
        let begins_with_digit = |size: &str| size.starts_with(|c: char| c.is_ascii_digit());
        let (dir, size_max) = match text.rsplit_once(':') {
            Some((dir, size)) if begins_with_digit(size) && !size.contains('/') => {
                (dir, bytes(size).ok_or(LogPlaceError::Size)?)
            }
            _ => (text, SIZE_MAX),
        };
        match dir {
            "" => Err(LogPlaceError::NoDirectory),
            "-" => Ok(Self::Stdout),
            _ => Ok(Self::Directory {
                dir: dir.into(),
                size_max,
            }),
        }
    }
}

/// A number of bytes, with `K`, `M`, `G` or `T` for decimal multiples.
fn bytes(text: &str) -> Option<u64> {
    let (number, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1_000),
        (at, 'm' | 'M') => (&text[..at], 1_000_000),
        (at, 'g' | 'G') => (&text[..at], 1_000_000_000),
        (at, 't' | 'T') => (&text[..at], 1_000_000_000_000),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (SIZE_LEAST..=SIZE_MOST).contains(&bytes).then_some(bytes)
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("on standard output"),
            Self::Directory { dir, .. } => {
                write!(f, "in {}", dir.display().to_string().escape_debug())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &str, size_max: u64) -> Result<LogPlace, LogPlaceError> {
        Ok(LogPlace::Directory {
            dir: dir.into(),
            size_max,
        })
    }

    #[test]
    fn a_size_may_follow_a_directory() {
        for (text, expected) in [
            ("/var/log", place("/var/log", SIZE_MAX)),
            ("logs:50M", place("logs", 50_000_000)),
            ("a:b:2k", place("a:b", 2_000)),
            ("a:b", place("a:b", SIZE_MAX)),
            ("a:1/b", place("a:1/b", SIZE_MAX)),
            ("logs:1000", place("logs", 1_000)),
            ("-", Ok(LogPlace::Stdout)),
            ("-:5M", Ok(LogPlace::Stdout)),
            ("", Err(LogPlaceError::NoDirectory)),
            (":5M", Err(LogPlaceError::NoDirectory)),
            ("logs:999", Err(LogPlaceError::Size)),
            ("logs:5X", Err(LogPlaceError::Size)),
            ("logs:2T", Err(LogPlaceError::Size)),
            ("logs:99999999999999999999", Err(LogPlaceError::Size)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
