//! Where a run's news goes: events for a program, lines for a person, the log, each as wanted.

use std::{
    io::{self, Stdout, Write as _},
    time::Duration,
};

use haul_log::LogPlace;
use haul_transfer::{
    Cause, ChangeRecord, Direction, Event, FailedFile, Summary, TransferError, Warning, escaped,
};

use crate::{
    account::Accounts,
    args::{OutputArgs, ProofArgs},
    events::JsonLines,
    failure::{self, Failure},
    human,
    job::Job,
    line,
    logbook::Logbook,
    report::Report,
    screen::{self, Screen},
    trace::Trace,
    version,
};

/// All that a run says before its last word.
#[derive(Debug)]
pub(crate) struct Output {
    json: Option<JsonLines<Stdout>>,
    trace: Option<Trace>,
    accounts: Accounts,
    log: Option<Logbook>,
    screen: Screen,
    report: Report,
    quiet: bool,
    verbose: u8,
}

impl Output {
    /// As the command line asks.
    ///
    /// # Errors
    /// A file that is to be written cannot be, or two want standard output.
    pub(crate) fn new(args: &OutputArgs, proof: &ProofArgs) -> Result<Self, Failure> {
        if args.json && args.log == Some(LogPlace::Stdout) {
            return Err(Failure::TwoOutputs);
        }
        let log = args.log.as_ref().map(|place| Logbook::open(place, "haul"));
        Ok(Self {
            log: log.transpose()?,
            accounts: Accounts::create(proof)?,
            trace: args.trace.as_deref().map(Trace::create).transpose()?,
            json: args.json.then(|| JsonLines::new(io::stdout())),
            screen: Screen::new(args.progress, args.quiet, args.json),
            quiet: args.quiet,
            verbose: args.verbose,
            report: Report::new(),
        })
    }

    /// How the run goes as a whole.
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// The command line has been understood: the run begins.
    pub(crate) fn begin(&mut self, job: &Job) {
        if self.log.is_some() {
            let begins = beginning(job);
            self.log(|book| book.line(&begins));
        }
    }

    /// Passes on an event of the running transfer.
    pub(crate) fn event(&mut self, event: &Event) {
        self.report.note(event);
        self.log(|book| book.event(event));
        if let Some(json) = &mut self.json {
            json.event(event);
        }
        match event {
            Event::Progress(progress) => self.screen.progress(progress),
            Event::Limits(told) => {
                self.screen.limits(told);
                if told.cause == Cause::Asked {
                    self.note(&screen::in_force(told));
                }
            }
            Event::Session(facts) => {
                self.accounts.begin_again();
                if self.verbose >= 1 {
                    self.note(&screen::agreement(facts));
                }
            }
            Event::Digest(record) => self.accounts.note(record),
            Event::Path(facts) if self.verbose >= 1 => {
                self.note(&screen::change(facts));
            }
            Event::Line(facts) if self.verbose >= 1 => {
                for line in line::account(facts) {
                    self.note(&line);
                }
            }
            Event::File(file) if self.verbose >= 2 => self.note(&match &file.failure {
                None => format!("{}, {}", escaped(&file.path), human::bytes(file.bytes)),
                Some(why) => format!("{}: {why}", escaped(&file.path)),
            }),
            Event::Change(change) if !change.done => self.tell(change),
            Event::Change(change) if self.verbose >= 2 => self.note(&change_line(change)),
            Event::Warning(Warning { text, remote }) => {
                let whose = if *remote { "the other end: " } else { "" };
                self.note(&format!("warning: {whose}{text}"));
            }
            Event::Noise(text) => self.note(&format!("the other host says: {text}")),
            Event::Decision(decision) => {
                if let Some(trace) = &mut self.trace {
                    trace.note(decision);
                }
            }
            Event::Request(_)
            | Event::Path(_)
            | Event::File(_)
            | Event::Change(_)
            | Event::Line(_) => {}
        }
    }

    /// What a dry run is for goes to standard output.
    fn tell(&self, change: &ChangeRecord) {
        if self.json.is_none() {
            self.screen.clear();
            // A reader that is gone wants no more.
            let _ = writeln!(io::stdout(), "{}", change_line(change));
        }
    }

    /// A connection has failed; after a wait another one goes on.
    pub(crate) fn retrying(&mut self, failure: &Failure, wait: Duration, left: Duration) {
        self.screen.clear();
        self.report.retrying(failure);
        let text = format!(
            "{}; trying again in {}, for at most {} more",
            failure.cause(),
            human::duration(wait),
            human::duration(left),
        );
        self.note(&text);
        self.log(|book| book.line(&text));
        if let Some(json) = &mut self.json {
            json.retry(failure, wait, left);
        }
    }

    /// Says something to a person who wants to know more.
    pub(crate) fn detail(&self, line: &str) {
        if self.verbose >= 1 {
            self.note(line);
        }
    }

    /// Whether a person watches a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.screen.is_live()
    }

    /// Says something to a person only.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            self.screen.say(&format!("haul: {line}"));
        }
    }

    /// Something went not quite as asked, at this end.
    pub(crate) fn warn(&mut self, text: String) {
        let remote = false;
        self.event(&Event::Warning(Warning { text, remote }));
    }

    /// Accounts for the run, as far as there is an account, and takes the live line away.
    pub(crate) fn account(&mut self, result: &Result<Summary, Failure>) {
        self.screen.clear();
        let (summary, failures) = match result {
            Ok(summary) => (Some(summary), &[][..]),
            Err(Failure::Transfer(TransferError::Partial { failures, summary })) => {
                (Some(&**summary), &failures[..])
            }
            Err(_) => (None, &[][..]),
        };
        let lines = self.report.lines(summary);
        self.tell_account(summary, failures, &lines);
        self.log_account(summary, failures, &lines);
        if let (Some(json), Some(summary)) = (&mut self.json, summary) {
            json.summary(summary, failures, &self.report);
        }
    }

    /// Has written what files came to.
    ///
    /// # Errors
    /// It could not be.
    pub(crate) fn close_accounts(&mut self) -> Result<(), Failure> {
        Ok(self.accounts.finish()?)
    }

    /// The last word; a failure itself is the caller's to tell on standard error.
    pub(crate) fn end(&mut self, result: &Result<(), Failure>) {
        self.screen.clear();
        if let (Some(json), Err(failure)) = (&mut self.json, result) {
            json.error(failure);
        }
        let ending = failure::ending(result.as_ref().err());
        self.log(|book| book.line(&ending));
    }

    fn tell_account(&self, summary: Option<&Summary>, failures: &[FailedFile], lines: &[String]) {
        // Under --json, a person who watches a terminal still reads the last line.
        if self.json.is_some() && self.screen.is_dark() {
            return;
        }
        if let Some(summary) = summary {
            for line in failed(summary, failures) {
                self.screen.say(&format!("haul: {line}"));
            }
        }
        if self.quiet {
            return;
        }
        if let Some(summary) = summary {
            self.screen.say(&screen::account(summary));
            if summary.is_measurement {
                self.screen.say(&screen::findings(summary));
            }
        }
        if self.verbose >= 1 {
            for line in lines {
                self.note(line);
            }
        }
    }

    fn log_account(
        &mut self,
        summary: Option<&Summary>,
        failures: &[FailedFile],
        lines: &[String],
    ) {
        if let Some(summary) = summary {
            // Who receives has told of each of them when it happened.
            if summary.direction == Direction::Upload {
                for line in failed(summary, failures) {
                    self.log(|book| book.line(&line));
                }
            }
            let account = screen::account(summary);
            self.log(|book| book.line(&account));
            if summary.is_measurement {
                let findings = screen::findings(summary);
                self.log(|book| book.line(&findings));
            }
        }
        for line in lines {
            self.log(|book| book.line(line));
        }
    }

    /// Lets something be written to the log. When that fails, it is told once, and the log ends.
    fn log(&mut self, write: impl FnOnce(&mut Logbook) -> io::Result<()>) {
        if let Some(mut book) = self.log.take() {
            match write(&mut book) {
                Ok(()) => self.log = Some(book),
                Err(error) => self.warn(format!("the log ends here: {error}")),
            }
        }
    }
}

fn change_line(change: &ChangeRecord) -> String {
    format!("{} {}", change.act.name(), escaped(&change.path))
}

/// A line for each name that failed and is known, and one for the others.
fn failed(summary: &Summary, failures: &[FailedFile]) -> Vec<String> {
    let named = failures
        .iter()
        .map(|file| format!("failed: {}: {}", file.path, file.why));
    let untold = summary.failed.saturating_sub(failures.len() as u64);
    let others = (untold > 0).then(|| format!("failed: and {} more", human::count(untold)));
    named.chain(others).collect()
}

/// `haul 0.1.0 begins: upload of 3 sources to ann@host:data; options: --rate 300M`.
fn beginning(job: &Job) -> String {
    let transfer = &job.transfer;
    let (what, preposition) = match transfer.direction {
        Direction::Upload => ("upload", "to"),
        Direction::Download => ("download", "from"),
    };
    let plural = if transfer.sources.len() == 1 { "" } else { "s" };
    let what = match transfer.measure {
        Some(_) => format!("measuring, {what}"),
        None => format!("{what} of {} source{plural}", transfer.sources.len()),
    };
    let user = job.target.user.iter().map(|user| format!("{user}@"));
    let account: String = user.chain([job.target.host.clone()]).collect();
    let destination = match transfer.measure {
        Some(_) => String::new(),
        None => format!(" into \"{}\"", escaped(&transfer.destination)),
    };
    let options = match job.given.as_str() {
        "" => String::new(),
        given => format!("; options: {given}"),
    };
    format!(
        "haul {} begins: {what} {preposition} {account}{destination}{options}",
        version::short()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::summary;

    #[test]
    fn failures_that_are_not_named_are_counted() {
        let named: Vec<FailedFile> = ["a", "b"]
            .map(|path| FailedFile {
                path: path.to_owned(),
                why: "why".to_owned(),
            })
            .into();
        let failing = |failed| Summary {
            failed,
            ..summary()
        };
        assert_eq!(
            failed(&failing(2), &named),
            ["failed: a: why", "failed: b: why"]
        );
        assert_eq!(failed(&failing(1_234), &named)[2], "failed: and 1,232 more");
    }
}
