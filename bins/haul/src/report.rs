//! What there is to tell of a run as a whole, over all its connections: the screen, the events, the log
//! and the command of `--post` draw from it.

use std::time::{Duration, Instant};

use haul_transfer::{ErrorCode, Event, InForce, Omitted, Summary};

use crate::{bound, failure::Failure, human};

/// Most retries that are remembered one by one; the others are only counted.
const RETRIES_MAX: usize = 100;

/// A run, as far as it has come.
#[derive(Debug)]
pub(crate) struct Report {
    began: Instant,
    retries: Vec<Retry>,
    retry_count: u64,
    /// Without data, between connections.
    lost: Duration,
    /// When the last connection failed, while there is no other.
    broken: Option<Instant>,
    warnings: u64,
    limits: Option<InForce>,
    /// Bytes and files that had arrived at last.
    arrived: (u64, u64),
}

/// A connection that failed and was followed by another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retry {
    /// The kind of trouble.
    pub(crate) code: ErrorCode,
    /// What happened, on one line.
    pub(crate) text: String,
    /// When, since the run began.
    pub(crate) at: Duration,
}

impl Report {
    /// Of a run that begins now.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            retries: Vec::new(),
            retry_count: 0,
            lost: Duration::ZERO,
            broken: None,
            warnings: 0,
            limits: None,
            arrived: (0, 0),
        }
    }

    /// Takes in what happens.
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::Session(_) => self.lost += self.broken.take().map_or(Duration::ZERO, since),
            Event::Warning(_) => self.warnings += 1,
            Event::Limits(told) => self.limits = Some(*told),
            Event::Progress(progress) => self.arrived = (progress.bytes, progress.files),
            _ => {}
        }
    }

    /// A connection has failed, and another one is to follow.
    pub(crate) fn retrying(&mut self, failure: &Failure) {
        self.retry_count += 1;
        self.broken.get_or_insert_with(Instant::now);
        if self.retries.len() < RETRIES_MAX {
            self.retries.push(Retry {
                code: failure.code(),
                text: failure.cause(),
                at: since(self.began),
            });
        }
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        since(self.began)
    }

    /// The first hundred retries.
    pub(crate) fn retries(&self) -> &[Retry] {
        &self.retries
    }

    /// How many there were.
    pub(crate) fn retry_count(&self) -> u64 {
        self.retry_count
    }

    /// How long no data flowed because of them.
    pub(crate) fn lost(&self) -> Duration {
        self.lost + self.broken.map_or(Duration::ZERO, since)
    }

    /// How many things went not quite as asked.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings
    }

    /// What was last said of the rate.
    pub(crate) fn limits(&self) -> Option<&InForce> {
        self.limits.as_ref()
    }

    /// Bytes and files that had arrived when it was last told.
    pub(crate) fn arrived(&self) -> (u64, u64) {
        self.arrived
    }

    /// The account in detail, one line each; without a verdict, what is known all the same.
    pub(crate) fn lines(&self, summary: Option<&Summary>) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(summary) = summary {
            lines.extend(not_sent(summary));
        }
        lines.extend(self.troubles());
        if let Some(summary) = summary {
            lines.push(bound::cost(summary));
            let limit = bound::limit(summary, self.limits());
            lines.push(format!("limited by {limit}"));
            lines.extend(bound::advice(summary));
        }
        lines
    }

    fn troubles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.retry_count > 0 {
            lines.push(format!(
                "connected again {}, {} without data",
                times(self.retry_count),
                human::duration(self.lost())
            ));
        }
        let told = self.retries.iter().map(|retry| {
            let (at, name) = (human::duration(retry.at), retry.code.name());
            format!("after {at}: {} ({name})", retry.text)
        });
        lines.extend(told);
        let untold = self.retry_count - self.retries.len() as u64;
        if untold > 0 {
            lines.push(format!("and {} more", human::count(untold)));
        }
        if self.warnings > 0 {
            let plural = if self.warnings == 1 { "" } else { "s" };
            lines.push(format!("{} warning{plural}", human::count(self.warnings)));
        }
        lines
    }
}

/// `not sent: 3 files (2.0 GB) were there already, 5 kept as they are, 12 names left out, 1 special`.
pub(crate) fn not_sent(summary: &Summary) -> Option<String> {
    let Omitted { left_out, special } = summary.omitted.unwrap_or_default();
    let parts: Vec<String> = [
        (summary.there_files > 0 || summary.there_bytes > 0).then(|| {
            let (files, bytes) = (summary.there_files, summary.there_bytes);
            format!(
                "{} ({}) there already",
                human::files(files),
                human::bytes(bytes)
            )
        }),
        (summary.kept > 0).then(|| format!("{} kept as they are", human::count(summary.kept))),
        (left_out > 0).then(|| format!("{} left out by patterns or age", human::count(left_out))),
        (special > 0).then(|| format!("{} no regular files", human::count(special))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("not sent: {}", parts.join(", ")))
}

fn since(then: Instant) -> Duration {
    then.elapsed()
}

/// `once`, `20 times`.
fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{} times", human::count(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::{in_force, progress, summary};
    use haul_transfer::Warning;

    #[test]
    fn a_report_tells_what_was_not_sent_and_why_it_took_so_long() {
        let mut report = Report::new();
        report.note(&Event::Limits(in_force()));
        report.note(&Event::Progress(progress()));
        report.note(&Event::Warning(Warning {
            text: "odd".to_owned(),
            remote: true,
        }));
        report.retrying(&Failure::Cancelled);
        let summary = Summary {
            there_files: 3,
            there_bytes: 2_000_000_000,
            kept: 5,
            ..summary()
        };
        let lines = report.lines(Some(&summary));
        assert_eq!(
            lines[0],
            "not sent: 3 files (2.0 GB) there already, 5 kept as they are, 12 left out by patterns or \
             age, 1 no regular files"
        );
        assert_eq!(lines[1], "connected again once, 0.0 s without data");
        assert_eq!(lines[2], "after 0.0 s: cancelled (cancelled)");
        assert_eq!(lines[3], "1 warning");
        assert!(lines[4].starts_with("processor time "), "{}", lines[4]);
        assert!(lines[5].starts_with("limited by "), "{}", lines[5]);
        assert_eq!(report.lines(None), lines[1..4]);
        assert_eq!(report.arrived(), (1_200_000_000, 12));
    }

    #[test]
    fn retries_without_end_are_counted() {
        let mut report = Report::new();
        for _ in 0..RETRIES_MAX + 7 {
            report.retrying(&Failure::Cancelled);
        }
        assert_eq!(report.retries().len(), RETRIES_MAX);
        let lines = report.lines(None);
        assert!(lines[0].starts_with("connected again 107 times, "));
        assert_eq!(lines.last().unwrap(), "and 7 more");
    }
}
