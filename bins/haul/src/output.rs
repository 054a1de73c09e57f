//! Where a run's news goes: events for a program, lines for a person, each as wanted.

use std::{
    io::{self, Stdout, Write as _},
    time::Duration,
};

use haul_transfer::{
    Cause, ChangeRecord, Event, FailedFile, InForce, Summary, TransferError, Warning, escaped,
};

use crate::{
    account::Accounts,
    args::{OutputArgs, ProofArgs},
    bound,
    events::JsonLines,
    failure::Failure,
    human, line,
    screen::{self, Screen},
    trace::Trace,
};

/// All that a run says before its last word.
#[derive(Debug)]
pub(crate) struct Output {
    json: Option<JsonLines<Stdout>>,
    trace: Option<Trace>,
    accounts: Accounts,
    screen: Screen,
    quiet: bool,
    verbose: u8,
    /// What was last said of the rate.
    limits: Option<InForce>,
}

impl Output {
    /// As the command line asks.
    ///
    /// # Errors
    /// A file that is to be written cannot be.
    pub(crate) fn new(args: &OutputArgs, proof: &ProofArgs) -> Result<Self, Failure> {
        Ok(Self {
            accounts: Accounts::create(proof)?,
            trace: args.trace.as_deref().map(Trace::create).transpose()?,
            json: args.json.then(|| JsonLines::new(io::stdout())),
            screen: Screen::new(args.progress, args.quiet, args.json),
            quiet: args.quiet,
            verbose: args.verbose,
            limits: None,
        })
    }

    /// Passes on an event of the running transfer.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Some(json) = &mut self.json {
            json.event(event);
        }
        match event {
            Event::Progress(progress) => self.screen.progress(progress),
            Event::Limits(told) => {
                self.screen.limits(told);
                self.limits = Some(*told);
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
            Event::Path(_) | Event::File(_) | Event::Change(_) | Event::Line(_) => {}
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
        self.note(&format!(
            "{}; trying again in {}, for at most {} more",
            failure.cause(),
            human::duration(wait),
            human::duration(left),
        ));
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

    /// Accounts for the run and takes the live line away; the failure itself is the caller's to
    /// tell.
    ///
    /// # Errors
    /// What was to be written could not be.
    pub(crate) fn finish(&mut self, result: &Result<Summary, Failure>) -> Result<(), Failure> {
        self.screen.clear();
        match result {
            Ok(summary) => self.account(summary, &[]),
            Err(failure) => {
                if let Failure::Transfer(TransferError::Partial { failures, summary }) = failure {
                    self.account(summary, failures);
                }
                if let Some(json) = &mut self.json {
                    json.error(failure);
                }
            }
        }
        Ok(self.accounts.finish()?)
    }

    fn account(&mut self, summary: &Summary, failures: &[FailedFile]) {
        // Under --json, a person who watches a terminal still reads the last line.
        let told = self.json.is_none() || !self.screen.is_dark();
        if told {
            for file in failures {
                self.screen
                    .say(&format!("haul: failed: {}: {}", file.path, file.why));
            }
        }
        if told && !self.quiet {
            self.screen.say(&screen::account(summary));
            if summary.is_measurement {
                self.screen.say(&screen::findings(summary));
            }
            if self.verbose >= 1 {
                self.note(&bound::cost(summary));
                let limit = bound::limit(summary, self.limits.as_ref());
                self.note(&format!("limited by {limit}"));
                for line in bound::advice(summary) {
                    self.note(&line);
                }
            }
        }
        if let Some(json) = &mut self.json {
            json.summary(summary, failures, self.limits.as_ref());
        }
    }
}

fn change_line(change: &ChangeRecord) -> String {
    format!("{} {}", change.act.name(), escaped(&change.path))
}
