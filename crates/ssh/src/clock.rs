//! Deadlines in the form poll(2) wants them.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// The time left until `deadline`; zero when it has passed.
pub(crate) fn remaining(deadline: Instant) -> Timespec {
    timespec(deadline.saturating_duration_since(Instant::now()))
}

/// A time span of at most a day, which no wait here exceeds.
pub(crate) fn timespec(span: Duration) -> Timespec {
    let span = span.min(Duration::from_secs(86_400));
    Timespec {
        tv_sec: span.as_secs().cast_signed(),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}
