use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// Nanoseconds since the session began, on this host's monotonic clock.
///
/// Arithmetic saturates: a time before the beginning is [`Time::ZERO`], and no sum overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of the session.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens: "never" where an `Option` would be too large.
    pub const MAX: Self = Self(u64::MAX);

    /// A time that many microseconds after the beginning, as reports carry it.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Whole microseconds since the beginning.
    pub fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Signed distance to an `earlier` time in nanoseconds; the two may be of different clocks.
    pub fn signed_since(self, earlier: Self) -> i64 {
        let distance = i128::from(self.0) - i128::from(earlier.0);
        i64::try_from(distance).unwrap_or(if distance < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Whole nanoseconds of a duration, saturating after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos(later)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(earlier)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let early = Time(5);
        assert_eq!(early - Time(9), Duration::ZERO);
        assert_eq!(early - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time(1_500) + Duration::from_nanos(500), Time(2_000));
    }

    #[test]
    fn distances_between_clocks_keep_their_sign() {
        assert_eq!(Time(5).signed_since(Time(9)), -4);
        assert_eq!(Time::MAX.signed_since(Time::ZERO), i64::MAX);
        assert_eq!(Time::ZERO.signed_since(Time::MAX), i64::MIN);
    }
}
