//! What a user may want of a running transfer, whichever way it is said: keys or the control socket.

use std::{str::FromStr, sync::Arc};

use haul_transfer::{Bps, BpsError, Event, InForce, Limits, Policy, Progress};
use tokio::sync::{broadcast, watch};

use crate::events;

/// Preferred numbers of the series R10 (ISO 3), rounded as people write them: a step is a quarter.
const LADDER: [f64; 10] = [1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0];
/// The order in which one key goes through the policies.
const POLICIES: [Policy; 4] = [Policy::Fair, Policy::High, Policy::Low, Policy::Fixed];
/// Slowest target that one step leads to, bits per second.
const TARGET_MIN_BPS: u64 = 100_000;
/// Lines that a slow listener may be behind.
const LINES_MAX: usize = 256;

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// This target; `None` lifts it.
    Rate(Option<u64>),
    /// This minimum; 0 for none.
    Min(u64),
    /// This policy.
    Policy(Policy),
    /// The next policy that is possible now.
    NextPolicy,
    /// A target one step above the present one, or above the present rate.
    Faster,
    /// One step below.
    Slower,
    /// The end.
    Cancel,
}

/// Why a wish cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SteerError {
    /// Not a command.
    #[error(
        "unknown command \"{0}\"; one of status, rate, min, policy, faster, slower, cancel, watch"
    )]
    Unknown(String),
    /// A command that needs a word.
    #[error("\"{0}\" needs a value, such as {1}")]
    ValueMissing(&'static str, &'static str),
    /// A command with a word too many.
    #[error("\"{0}\" takes one value at most")]
    TooMuch(String),
    /// A rate that is none.
    #[error("rate: {0}")]
    Rate(#[from] BpsError),
    /// A policy that is none.
    #[error("{0}")]
    Policy(String),
    /// `fixed` without a rate.
    #[error("policy fixed needs a target rate; set one first, such as rate 500M")]
    FixedWithoutRate,
    /// A minimum above the target.
    #[error("the minimum rate would be above the target rate")]
    MinAboveTarget,
    /// Nothing is known of the rate yet.
    #[error("there is no rate to step from yet; wait until data flows, or name one")]
    NoRateYet,
}

impl FromStr for Order {
    type Err = SteerError;

    fn from_str(line: &str) -> Result<Self, SteerError> {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let value = words.next();
        if words.next().is_some() {
            return Err(SteerError::TooMuch(verb.escape_debug().to_string()));
        }
        let rate = |verb, value: Option<&str>| match value {
            None => Err(SteerError::ValueMissing(verb, "300M or none")),
            Some("none") => Ok(None),
            Some(text) => Ok(Some(text.parse::<Bps>()?.0)),
        };
        match (verb, value) {
            ("rate", value) => Ok(Self::Rate(rate("rate", value)?)),
            ("min", value) => Ok(Self::Min(rate("min", value)?.unwrap_or(0))),
            ("policy", None) => Err(SteerError::ValueMissing("policy", "high")),
            ("policy", Some(name)) => {
                let policy = name.parse::<Policy>();
                let policy = policy.map_err(|error| SteerError::Policy(error.to_string()))?;
                Ok(Self::Policy(policy))
            }
            ("faster", None) => Ok(Self::Faster),
            ("slower", None) => Ok(Self::Slower),
            ("cancel", None) => Ok(Self::Cancel),
            ("faster" | "slower" | "cancel", Some(_)) => Err(SteerError::TooMuch(verb.to_owned())),
            _ => Err(SteerError::Unknown(verb.escape_debug().to_string())),
        }
    }
}

impl Order {
    /// The limits that the order leads to from those that are asked for now.
    fn apply(self, asked: Limits, rate_bps: Option<u64>) -> Result<Limits, SteerError> {
        let from = asked.target_bps.or(rate_bps).filter(|bps| *bps > 0);
        let step = |next: fn(u64) -> u64| from.map(next).ok_or(SteerError::NoRateYet);
        let limits = match self {
            Self::Rate(target_bps) => Limits {
                target_bps,
                ..asked
            },
            Self::Min(min_bps) => Limits { min_bps, ..asked },
            Self::Policy(policy) => Limits { policy, ..asked },
            Self::NextPolicy => next_policy(asked),
            Self::Faster => Limits {
                target_bps: Some(step(above)?),
                ..asked
            },
            Self::Slower => Limits {
                target_bps: Some(step(below)?.max(asked.min_bps)),
                ..asked
            },
            Self::Cancel => asked,
        };
        possible(limits)
    }
}

/// Whether limits make sense together.
fn possible(limits: Limits) -> Result<Limits, SteerError> {
    if limits.policy == Policy::Fixed && limits.target_bps.is_none() {
        return Err(SteerError::FixedWithoutRate);
    }
    if limits
        .target_bps
        .is_some_and(|target| target < limits.min_bps)
    {
        return Err(SteerError::MinAboveTarget);
    }
    match limits.check() {
        Ok(()) => Ok(limits),
        Err(error) => Err(SteerError::Policy(error.to_string())),
    }
}

fn next_policy(asked: Limits) -> Limits {
    let at = POLICIES.iter().position(|policy| *policy == asked.policy);
    let after = POLICIES.iter().cycle().skip(at.unwrap_or(0) + 1);
    after
        .take(POLICIES.len())
        .map(|policy| Limits {
            policy: *policy,
            ..asked
        })
        .find(|limits| possible(*limits).is_ok())
        .unwrap_or(asked)
}

/// The next rung of the ladder above this rate, bits per second.
fn above(bps: u64) -> u64 {
    rungs(bps)
        .find(|rung| *rung as f64 > bps as f64 * 1.01)
        .unwrap_or(bps)
}

/// The next rung below.
fn below(bps: u64) -> u64 {
    rungs(bps)
        .filter(|rung| (*rung as f64) < bps as f64 * 0.99)
        .last()
        .unwrap_or(bps)
        .max(TARGET_MIN_BPS)
}

/// The rungs of the ladder about this rate, ascending.
fn rungs(bps: u64) -> impl Iterator<Item = u64> {
    let decade = (bps.max(1) as f64).log10().floor() as i32;
    (decade - 1..=decade + 1)
        .flat_map(|decade| LADDER.map(|rung| (rung * 10_f64.powi(decade)).round() as u64))
}

/// What is known of the transfer at this moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// What the sender keeps to.
    pub(crate) in_force: Option<InForce>,
    /// How often that has been told.
    pub(crate) told: u64,
    /// Where the transfer is.
    pub(crate) progress: Option<Progress>,
}

/// The one place through which orders reach the transfer, and news those who give them.
#[derive(Debug, Clone)]
pub(crate) struct Helm {
    limits: watch::Sender<Limits>,
    cancel: watch::Sender<bool>,
    news: watch::Sender<News>,
    lines: broadcast::Sender<Arc<str>>,
}

impl Helm {
    /// A helm of a transfer that begins with these limits and ends when `cancel` turns true.
    pub(crate) fn new(limits: Limits, cancel: watch::Sender<bool>) -> Self {
        Self {
            limits: watch::Sender::new(limits),
            cancel,
            news: watch::Sender::default(),
            lines: broadcast::Sender::new(LINES_MAX),
        }
    }

    /// Where the transfer hears of new limits.
    pub(crate) fn limits(&self) -> watch::Receiver<Limits> {
        self.limits.subscribe()
    }

    /// Where others hear what is known.
    pub(crate) fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Where others hear every event as a line of JSON.
    pub(crate) fn lines(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    /// Passes an event of the transfer on.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Limits(in_force) => self.news.send_modify(|news| {
                news.in_force = Some(*in_force);
                news.told += 1;
            }),
            Event::Progress(progress) => {
                self.news
                    .send_modify(|news| news.progress = Some(progress.clone()));
            }
            _ => {}
        }
        if self.lines.receiver_count() > 0
            && let Some(line) = events::line(event)
        {
            // Whoever listened has gone.
            let _ = self.lines.send(line.into());
        }
    }

    /// Gives an order; returns what is asked for from now on.
    ///
    /// # Errors
    /// The order makes no sense now; nothing has changed.
    pub(crate) fn give(&self, order: Order) -> Result<Limits, SteerError> {
        let asked = *self.limits.borrow();
        if order == Order::Cancel {
            self.cancel.send_replace(true);
            return Ok(asked);
        }
        let rate_bps = self
            .news
            .borrow()
            .progress
            .as_ref()
            .map(|progress| progress.rate_bps);
        let limits = order.apply(asked, rate_bps)?;
        self.limits.send_replace(limits);
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits = Limits {
        policy: Policy::Fair,
        target_bps: None,
        min_bps: 0,
    };

    fn at(target_bps: u64) -> Limits {
        Limits {
            target_bps: Some(target_bps),
            ..FREE
        }
    }

    #[test]
    fn orders_are_words() {
        for (line, order) in [
            ("rate 300M", Order::Rate(Some(300_000_000))),
            ("  rate\tnone ", Order::Rate(None)),
            ("min 10M", Order::Min(10_000_000)),
            ("min none", Order::Min(0)),
            ("policy high", Order::Policy(Policy::High)),
            ("faster", Order::Faster),
            ("cancel", Order::Cancel),
        ] {
            assert_eq!(line.parse(), Ok(order), "{line}");
        }
        for (line, words) in [
            ("", "unknown command"),
            ("rat 5M", "unknown command"),
            ("rate", "such as 300M"),
            ("rate 300MB", "bits per second"),
            ("rate 1M 2M", "one value"),
            ("policy rude", "fixed, high, fair, low"),
            ("cancel now", "one value"),
        ] {
            let error = line.parse::<Order>().unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn steps_go_up_and_down_the_same_ladder() {
        let mut rate = 300_000_000;
        for expected in [315, 400, 500, 630, 800, 1000, 1250] {
            rate = above(rate);
            assert_eq!(rate, expected * 1_000_000);
        }
        for expected in [1000, 800, 630] {
            rate = below(rate);
            assert_eq!(rate, expected * 1_000_000);
        }
        assert_eq!(below(TARGET_MIN_BPS), TARGET_MIN_BPS);
        assert_eq!(above(10_000), 12_500);
    }

    #[test]
    fn a_step_starts_from_the_target_or_else_from_the_rate() {
        let faster = |limits, rate| Order::Faster.apply(limits, rate);
        assert_eq!(faster(at(100_000_000), Some(1)), Ok(at(125_000_000)));
        assert_eq!(faster(FREE, Some(210_000_000)), Ok(at(250_000_000)));
        assert_eq!(faster(FREE, None), Err(SteerError::NoRateYet));
        assert_eq!(faster(FREE, Some(0)), Err(SteerError::NoRateYet));
    }

    #[test]
    fn nonsense_is_refused() {
        let fixed = Order::Policy(Policy::Fixed);
        assert_eq!(fixed.apply(FREE, None), Err(SteerError::FixedWithoutRate));
        let min = Order::Min(20_000_000);
        assert_eq!(
            min.apply(at(10_000_000), None),
            Err(SteerError::MinAboveTarget)
        );
        let kept = Limits {
            policy: Policy::Fixed,
            ..at(10_000_000)
        };
        assert_eq!(
            Order::Rate(None).apply(kept, None),
            Err(SteerError::FixedWithoutRate)
        );
    }

    #[test]
    fn one_key_goes_through_the_policies() {
        let fixed = Order::NextPolicy;
        let mut limits = at(10_000_000);
        let mut seen = vec![limits.policy];
        loop {
            limits = fixed.apply(limits, None).unwrap();
            if limits.policy == Policy::Fair {
                break;
            }
            seen.push(limits.policy);
        }
        assert_eq!(seen.last(), Some(&Policy::Fixed));
        let without = fixed.apply(FREE, None).unwrap();
        assert_ne!(without.policy, Policy::Fixed);
    }
}
