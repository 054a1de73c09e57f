//! `-L`: what happens, a line each, in a log that outlives the terminal.

use std::{
    io,
    time::{Duration, Instant},
};

use haul_log::{Log, LogError, LogPlace};
use haul_transfer::{Direction, Event, escaped};

use crate::{human, line, screen};

/// Time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A log being written. One that cannot be written any more ends; the transfer goes on.
#[derive(Debug)]
pub(crate) struct Logbook {
    log: Log,
    progressed: Instant,
}

impl Logbook {
    /// Opens the log for lines of `program`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn open(place: &LogPlace, program: &str) -> Result<Self, LogError> {
        Ok(Self {
            log: Log::open(place, program)?,
            progressed: Instant::now(),
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The system's: nothing more should be written.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.log.line(text)
    }

    /// Adds what is to be told of an event, if anything.
    ///
    /// # Errors
    /// The system's: nothing more should be written.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Progress(_) if self.progressed.elapsed() < PROGRESS_INTERVAL => return Ok(()),
            Event::Progress(_) => self.progressed = Instant::now(),
            _ => {}
        }
        words(event).iter().try_for_each(|text| self.line(text))
    }
}

fn words(event: &Event) -> Vec<String> {
    vec![match event {
        Event::Request(asked) => {
            let what = match asked.direction {
                Direction::Upload => "asked to receive into",
                Direction::Download => "asked to send",
            };
            let paths: Vec<String> = (asked.paths.iter())
                .map(|path| format!("\"{}\"", escaped(path)))
                .collect();
            match paths.is_empty() {
                true => "asked to measure".to_owned(),
                false => format!("{what} {}", paths.join(" ")),
            }
        }
        Event::Session(facts) => screen::agreement(facts),
        Event::Path(facts) => screen::change(facts),
        Event::Limits(told) => screen::in_force(told),
        Event::Progress(progress) => screen::status(progress, None),
        Event::Line(facts) => return line::account(facts),
        Event::Warning(warning) => {
            let whose = if warning.remote {
                "the other end: "
            } else {
                ""
            };
            format!("warning: {whose}{}", warning.text)
        }
        Event::Noise(text) => format!("the other host says: {text}"),
        Event::File(file) => match &file.failure {
            Some(why) => format!("failed: {}: {why}", escaped(&file.path)),
            None => format!(
                "file: {}, {}",
                escaped(&file.path),
                human::bytes(file.bytes)
            ),
        },
        Event::Change(change) if change.done => {
            format!("{}: {}", change.act.name(), escaped(&change.path))
        }
        // These have files of their own, or are for who watches.
        Event::Change(_) | Event::Digest(_) | Event::Decision(_) => return Vec::new(),
    }]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::events::tests::progress;

    #[test]
    fn progress_is_told_now_and_then_and_everything_else_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string().parse().unwrap();
        let mut book = Logbook::open(&place, "haul").unwrap();
        let event = Event::Progress(progress());
        let lines = || {
            let log = fs::read_to_string(dir.path().join("haul.log")).unwrap();
            log.lines().count()
        };
        book.event(&event).unwrap();
        assert_eq!(lines(), 0);
        book.progressed = Instant::now().checked_sub(PROGRESS_INTERVAL).unwrap();
        book.event(&event).unwrap();
        book.event(&event).unwrap();
        assert_eq!(lines(), 1);
        book.event(&Event::Noise("motd".to_owned())).unwrap();
        assert_eq!(lines(), 2);
    }
}
