//! Whether, and when, a run that was cut off is to go on by itself.

use std::time::{Duration, Instant};

use haul_transfer::{ErrorCode, Event, FailedFile, TransferError};

use crate::failure::Failure;

/// First wait; each further one in a row is twice as long,
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// up to this.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// How a run has gone, over all its connections.
#[derive(Debug)]
pub(crate) struct Course {
    patience: Duration,
    /// Whether data has ever flowed: before, a failure is most likely for good.
    has_begun: bool,
    /// Bytes that had arrived at most.
    bytes: u64,
    /// When something last went forward.
    progress_at: Instant,
    wait: Duration,
}

impl Course {
    /// A run that has not begun, with so much patience between two steps forward.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            has_begun: false,
            bytes: 0,
            progress_at: Instant::now(),
            wait: WAIT_FIRST,
        }
    }

    /// Takes in what happens.
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::Session(_) if !self.has_begun => {
                self.has_begun = true;
                self.step();
            }
            Event::Progress(progress) if progress.bytes > self.bytes => {
                self.bytes = progress.bytes;
                self.step();
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        self.progress_at = Instant::now();
        self.wait = WAIT_FIRST;
    }

    /// How long to wait before connecting again after this failure; `None` to give up.
    pub(crate) fn next_wait(&mut self, failure: &Failure) -> Option<Duration> {
        if !self.has_begun || !may_pass(failure) {
            return None;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(WAIT_MAX);
        (self.left() > wait).then_some(wait)
    }

    /// For how much longer it would be tried.
    pub(crate) fn left(&self) -> Duration {
        self.patience.saturating_sub(self.progress_at.elapsed())
    }
}

/// Whether the cause lies between the two ends, and may go away.
fn may_pass(failure: &Failure) -> bool {
    match failure.code() {
        ErrorCode::ConnectionLost
        | ErrorCode::PathFailed
        | ErrorCode::Unreachable
        | ErrorCode::SetupTimeout => true,
        ErrorCode::Partial => matches!(
            failure,
            Failure::Transfer(TransferError::Partial { failures, summary })
                if failures.len() as u64 == summary.failed
                    && failures.iter().all(FailedFile::is_busy)
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use haul_transfer::Phase;

    use super::*;
    use crate::events::tests::{progress, summary};

    const BUSY: &str = "another transfer is writing this file";

    fn lost() -> Failure {
        Failure::Transfer(TransferError::ConnectionLost {
            during: Phase::Data,
            cause: "nothing was heard".to_owned(),
        })
    }

    fn begun(patience: Duration) -> Course {
        let mut course = Course::new(patience);
        course.note(&Event::Progress(progress()));
        course.has_begun = true;
        course
    }

    #[test]
    fn what_has_not_begun_is_not_tried_again() {
        let mut course = Course::new(Duration::from_secs(300));
        assert_eq!(course.next_wait(&lost()), None);
    }

    #[test]
    fn waits_grow_until_something_moves() {
        let mut course = begun(Duration::from_secs(300));
        let waits: Vec<u64> = (0..6)
            .map(|_| course.next_wait(&lost()).unwrap().as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
        let mut further = progress();
        further.bytes += 1;
        course.note(&Event::Progress(further));
        assert_eq!(course.next_wait(&lost()), Some(WAIT_FIRST));
    }

    #[test]
    fn patience_ends_and_none_is_none() {
        let mut course = begun(Duration::from_millis(500));
        assert_eq!(course.next_wait(&lost()), None);
        let mut course = begun(Duration::ZERO);
        assert_eq!(course.next_wait(&lost()), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut course = begun(Duration::from_secs(300));
        assert_eq!(course.next_wait(&Failure::Cancelled), None);
        let partial = |whys: &[&str]| {
            let failures = whys.iter().map(|why| FailedFile {
                path: "f".to_owned(),
                why: (*why).to_owned(),
            });
            let mut summary = summary();
            summary.failed = whys.len() as u64;
            Failure::Transfer(TransferError::Partial {
                failures: failures.collect(),
                summary: Box::new(summary),
            })
        };
        assert!(course.next_wait(&partial(&[BUSY, BUSY])).is_some());
        assert_eq!(course.next_wait(&partial(&[BUSY, "no permission"])), None);
    }
}
