//! What is left out: patterns in the order in which they were written, and ages.

use std::{fs, io, path::PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, parser::ValueSource};
use haul_transfer::{Selection, escaped};
use jiff::{Span, Zoned, civil};

use crate::args::{Args, TransferArgs};

/// One of the options that hold patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Leaves out.
    Exclude(String),
    /// Lets in again.
    Include(String),
    /// A file of both.
    From(PathBuf),
}

/// A file of patterns that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the patterns in {path}: {source}")]
pub(crate) struct PatternFileError {
    /// As typed, escaped.
    path: String,
    /// The system's reason.
    source: io::Error,
}

/// Parses the command line, and keeps the order of patterns across options.
///
/// # Errors
/// clap's.
pub(crate) fn parse(typed: Vec<std::ffi::OsString>) -> Result<Args, clap::Error> {
    let command = Args::command();
    let matches = command.clone().try_get_matches_from(typed)?;
    let mut args = Args::from_arg_matches(&matches)?;
    args.transfer.rules = in_order(&matches, &args.transfer);
    args.given = given(&command, &matches);
    Ok(args)
}

/// Options whose values nobody may read: a token, and commands, which may hold passwords.
const SECRET: [&str; 4] = ["token", "ssh_program", "pre", "post"];

/// The options of the command line on one line, by their long names.
fn given(command: &Command, matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let typed = command.get_arguments().filter(|option| {
        let source = matches.value_source(option.get_id().as_str());
        source == Some(ValueSource::CommandLine)
    });
    for option in typed {
        let Some(name) = option.get_long() else {
            continue;
        };
        words.push(format!("--{name}"));
        let id = option.get_id().as_str();
        if SECRET.contains(&id) {
            words.push("…".to_owned());
        } else if option.get_action().takes_values() {
            let values = matches.get_raw(id).into_iter().flatten();
            words.extend(values.map(|value| escaped(value.as_encoded_bytes())));
        }
    }
    words.join(" ")
}

fn in_order(matches: &ArgMatches, args: &TransferArgs) -> Vec<Rule> {
    let at = |id: &str| matches.indices_of(id).into_iter().flatten();
    let excluded = at("exclude").zip(args.exclude.iter().cloned().map(Rule::Exclude));
    let included = at("include").zip(args.include.iter().cloned().map(Rule::Include));
    let files = at("exclude_from").zip(args.exclude_from.iter().cloned().map(Rule::From));
    let mut rules: Vec<_> = excluded.chain(included).chain(files).collect();
    rules.sort_by_key(|(at, _)| *at);
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// What the options select.
///
/// # Errors
/// [`PatternFileError`]; what is no pattern is found where it is used.
pub(crate) fn selection(args: &TransferArgs) -> Result<Selection, PatternFileError> {
    let mut rules = Vec::new();
    for rule in &args.rules {
        match rule {
            Rule::Exclude(pattern) => rules.push(pattern.clone()),
            Rule::Include(pattern) => rules.push(format!("!{pattern}")),
            Rule::From(path) => {
                let text = fs::read_to_string(path).map_err(|source| PatternFileError {
                    path: escaped(path.as_os_str().as_encoded_bytes()),
                    source,
                })?;
                rules.extend(text.lines().map(str::to_owned));
            }
        }
    }
    let (oldest, newest) = (args.exclude_older_than, args.exclude_newer_than);
    Ok(Selection::new(rules, oldest, newest))
}

/// A moment as people write it, in seconds since 1970: a date or a time of this place, or how long ago.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    const REFUSAL: &str = "write a date or time (2026-01-31, 2026-01-31T12:00), or how long ago: 90s, \
                           30m, 12h, 7d, 4w";
    let now = Zoned::now();
    let moment = match text.parse::<civil::DateTime>() {
        Ok(at) => at.to_zoned(now.time_zone().clone()).ok(),
        Err(_) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at.to_zoned(now.time_zone().clone())),
            Err(_) => ago(text).and_then(|span| now.checked_sub(span).ok()),
        },
    };
    let moment = moment.ok_or_else(|| REFUSAL.to_owned())?;
    Ok(moment.timestamp().as_second())
}

fn ago(text: &str) -> Option<Span> {
    let (at, unit) = text.char_indices().last()?;
    let number: i64 = text[..at].parse().ok().filter(|number| *number >= 0)?;
    let span = Span::new();
    match unit {
        's' => span.try_seconds(number),
        'm' => span.try_minutes(number),
        'h' => span.try_hours(number),
        'd' => span.try_days(number),
        'w' => span.try_weeks(number),
        _ => return None,
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_the_order_in_which_they_were_written() {
        let typed = "haul --exclude a --include b --exclude c --exclude-from f --include d x h:";
        let args = parse(typed.split(' ').map(Into::into).collect()).unwrap();
        assert_eq!(
            args.transfer.rules,
            [
                Rule::Exclude("a".into()),
                Rule::Include("b".into()),
                Rule::Exclude("c".into()),
                Rule::From("f".into()),
                Rule::Include("d".into()),
            ]
        );
    }

    #[test]
    fn options_are_told_without_what_may_be_secret() {
        let typed = "haul -l 300M --pre hunter2 -W hunter3 -p -vv --exclude a --exclude b x\x1b h:";
        let args = parse(typed.split(' ').map(Into::into).collect()).unwrap();
        assert_eq!(
            args.given,
            "--exclude a b --preserve --rate 300M --token … --pre … --verbose"
        );
    }

    #[test]
    fn moments_are_dates_times_and_ages() {
        let now = jiff::Timestamp::now().as_second();
        let day = 24 * 3600;
        assert!((moment("2d").unwrap() - (now - 2 * day)).abs() < 2 * 3600);
        assert!((moment("90s").unwrap() - (now - 90)).abs() < 3);
        assert_eq!(moment("1970-01-02T00:00:00Z"), Ok(day));
        assert!((moment("2026-01-31").unwrap() - 1_769_817_600).abs() <= day);
        assert!(moment("2026-01-31T12:00").unwrap() > moment("2026-01-31").unwrap());
        for wrong in ["", "7", "-1d", "yesterday", "2026-13-01", "5y"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
