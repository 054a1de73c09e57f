//! What is sent, beyond names and patterns, and what becomes of it where it is.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use clap::ValueEnum;
use haul_transfer::{After, Symlinks, Taking};

/// What is sent, and what becomes of it there.
#[derive(Debug, clap::Args)]
pub(crate) struct TakingArgs {
    /// What becomes of symbolic links below a source
    #[arg(long, value_name = "HOW", default_value = "copy")]
    pub(crate) symlinks: SymlinksName,
    /// Leave out FIFOs, sockets and devices without a word
    #[arg(long, hide_short_help = true)]
    pub(crate) skip_special: bool,
    /// Take sources, and where each lands below DEST, from this file or from standard input (-): one
    /// line for the source, the next for its place
    #[arg(long, value_name = "FILE|-", group = "lists", hide_short_help = true)]
    pub(crate) file_pair_list: Option<PathBuf>,
    /// Send these bytes of the one file, from FROM to before TO, counted from 0; without TO, to its end
    #[arg(long, value_name = "FROM-[TO]", value_parser = range, hide_short_help = true)]
    pub(crate) range: Option<(u64, u64)>,
    /// Follow the one file while it grows, until nothing has been added for so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        conflicts_with = "range",
        hide_short_help = true
    )]
    pub(crate) grow: Option<u32>,
    /// Each source lands below DEST by its path below this directory
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "file_pair_list",
        hide_short_help = true
    )]
    pub(crate) src_base: Option<PathBuf>,
    /// Remove what was sent, once everything has arrived
    #[arg(long, group = "after")]
    pub(crate) remove_after: bool,
    /// Move what was sent into this directory where it is, once everything has arrived
    #[arg(long, value_name = "DIR", group = "after", hide_short_help = true)]
    pub(crate) move_after: Option<PathBuf>,
    /// Remove directories below the sources that are empty after that
    #[arg(long, requires = "after", hide_short_help = true)]
    pub(crate) remove_empty_dirs: bool,
}

/// Two numbers of bytes, the second of which may be missing.
fn range(text: &str) -> Result<(u64, u64), &'static str> {
    const REFUSAL: &str = "write two numbers of bytes, such as 0-1000, or one, such as 1000-";
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) if !text.starts_with('+') => Ok(number),
        _ => Err(REFUSAL),
    };
    let (from, to) = text.split_once('-').ok_or(REFUSAL)?;
    let range = match to {
        "" => (number(from)?, u64::MAX),
        to => (number(from)?, number(to)?),
    };
    if range.0 > range.1 {
        return Err("the range ends before it begins");
    }
    Ok(range)
}

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SymlinksName {
    /// They are made anew
    Copy,
    /// What they lead to is sent in their place
    Follow,
    /// They are left out
    Skip,
}

/// What the sender is asked to take; its selection and targets are found elsewhere.
pub(crate) fn taking(args: &TakingArgs) -> Taking {
    let bytes = |path: &PathBuf| OsString::from(path).into_vec().into();
    Taking {
        recursive: true,
        symlinks: match args.symlinks {
            SymlinksName::Copy => Symlinks::Copy,
            SymlinksName::Follow => Symlinks::Follow,
            SymlinksName::Skip => Symlinks::Skip,
        },
        skip_special: args.skip_special,
        range: args.range,
        grow_seconds: args.grow,
        src_base: args.src_base.as_ref().map(bytes),
        after: match &args.move_after {
            Some(dir) => After::Move(bytes(dir)),
            None if args.remove_after => After::Remove,
            None => After::Keep,
        },
        remove_empty_dirs: args.remove_empty_dirs,
        ..Taking::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers_of_bytes() {
        assert_eq!(range("0-1000"), Ok((0, 1000)));
        assert_eq!(range("7-7"), Ok((7, 7)));
        assert_eq!(range("7-"), Ok((7, u64::MAX)));
        for wrong in ["", "-", "-7", "7", "8-7", "a-b", "+1-2", "1-2-3", "1K-2K"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
