//! Rate policies: how fast, never what.

mod carried;
mod fair;
mod fixed;
mod trace;

use std::{fmt, str::FromStr, time::Duration};

use haul_wire::PacketNo;

use crate::{FlowError, Time};

pub use carried::Carried;
pub use fair::Fair;
pub use fixed::Fixed;
pub use trace::{Decision, Mode, Why};

/// Who decides the sending rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Exactly the target rate, whatever the path does; only the circuit breaker lowers it.
    Fixed,
    /// As `Fair`, with twice its share.
    High,
    /// Fills the path alone, an even share in company.
    Fair,
    /// Fills the path alone, retreats before others.
    Low,
}

impl Policy {
    /// The name used on the command line and in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::High => "high",
            Self::Fair => "fair",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no rate policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown rate policy \"{0}\" (one of fixed, high, fair, low)")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        [Self::Fixed, Self::High, Self::Fair, Self::Low]
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// What an earlier transfer over this path found. A hint, never trusted: see
/// [`RateConfig::remembered`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remembered {
    /// Sending rate that filled the path, in bits per second of UDP payload.
    pub rate_bps: f64,
    /// Least round-trip time then.
    pub min_rtt: Duration,
}

/// What a policy is told when it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateConfig {
    /// When the policy begins; earlier times never appear afterwards.
    pub now: Time,
    /// Bits per second of UDP payload: the rate itself for `fixed`, a ceiling for the others.
    pub target_bps: Option<f64>,
    /// Bits per second below which the user does not want to fall. 0 = no such wish. Anything
    /// larger is a deliberate unfairness.
    pub min_bps: f64,
    /// Round-trip time measured while the path was opened.
    pub initial_rtt: Duration,
    /// What the path carried before. A policy that has to find its rate begins at half of it where
    /// the round trip is about the same (Careful Resume, draft-ietf-tsvwg-careful-resume), and
    /// believes the path from then on.
    pub remembered: Option<Remembered>,
    /// Whole datagram length in bytes.
    pub segment_len: usize,
    /// Seed of everything that is random in the policy.
    pub seed: u64,
}

/// What one report says, for the policy. Receiver's and sender's clocks are never mixed except in
/// `min_owd_ns`, whose offset is arbitrary but constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Sender's clock now.
    pub now: Time,
    /// Smoothed round-trip time, the receiver's holding time excluded.
    pub srtt: Duration,
    /// Least round-trip time of the last 15 to 30 seconds.
    pub min_rtt: Duration,
    /// Round-trip time of this report; `None` when it acknowledges no new largest packet.
    pub latest_rtt: Option<Duration>,
    /// Interval at which the receiver reports on this path.
    pub interval: Duration,
    /// Receiver's clock when the newest data packet arrived.
    pub newest_at: Time,
    /// Data packets that had arrived by then, cumulative.
    pub received_packets: u64,
    /// Bytes of those datagrams, cumulative.
    pub received_bytes: u64,
    /// Largest data packet number that has arrived.
    pub largest: PacketNo,
    /// Sender's clock when that packet left.
    pub largest_sent_at: Time,
    /// Least (receiver's arrival time − sender's send time) over this report's arrival samples, in
    /// nanoseconds.
    pub min_owd_ns: Option<i64>,
    /// The number that the next transmission will get: attributes losses to rates.
    pub next_packet: PacketNo,
    /// Whole datagram length in bytes.
    pub segment_len: usize,
    /// Whether something other than the rate (the source, the caller, the receiver's credit)
    /// limited sending since the last sample.
    pub app_limited: bool,
    /// Data packets that arrived with the ECN mark "congestion experienced", cumulative.
    pub ecn_ce: u64,
}

/// What a policy knows of the path.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimates {
    /// The sending rate that fills the path: for who takes over, and for the next time. Bits per
    /// second of UDP payload; 0 while nothing is known.
    pub bandwidth_bps: f64,
    /// Queueing delay that does not go away.
    pub queue_delay: Duration,
    /// Mean difference between the delays of successive reports.
    pub jitter: Duration,
}

/// Decides the pacing rate from what reports say. Deterministic: no clock, no randomness but the
/// seed's. Calls come in time order.
pub trait RatePolicy: Send + fmt::Debug {
    /// Takes in one report that brought something new.
    fn on_sample(&mut self, sample: &Sample);

    /// No report came for 2·srtt + 4·interval, or six times as long as reports usually are apart,
    /// although data is in flight; again after each further srtt. Should halve the rate each time.
    fn on_silence(&mut self, now: Time);

    /// Pacing rate now: bits per second of UDP payload, finite, above 0.
    fn rate_bps(&self) -> f64;

    /// Most airtime one burst may take: min(1 ms, a quarter of the queue target).
    fn burst_max(&self) -> Duration;

    /// The other end has another address, or the route is another: what is known about the path's
    /// delay no longer holds, what is known about its capacity may not.
    fn on_path_change(&mut self, now: Time);

    /// What this policy knows of the path.
    fn estimates(&self) -> Estimates;

    /// The user changed the limits (see [`RateConfig`]).
    fn set_limits(&mut self, target_bps: Option<f64>, min_bps: f64, now: Time);

    /// Share of packets lost whatever the rate, 0 to 1. None, unless a policy finds out.
    fn loss_floor(&self) -> f64 {
        0.0
    }

    /// The current state.
    fn mode(&self) -> Mode;

    /// Why sending must end; `None` while it may go on.
    fn failure(&self) -> Option<FlowError> {
        None
    }

    /// Next line of the trace. Implementations keep a bounded number and drop the oldest.
    fn poll_trace(&mut self) -> Option<Decision> {
        None
    }
}

/// How many fair flows a flow of the policy `high` counts as.
const HIGH_WEIGHT: f64 = 2.0;

/// Makes the policy a user named.
///
/// # Errors
/// [`FlowError::RateRequired`], or [`FlowError::Config`] for a
/// rate that is not a positive number.
pub fn policy(policy: Policy, config: RateConfig) -> Result<Box<dyn RatePolicy>, FlowError> {
    let positive = |bps: f64| bps.is_finite() && bps > 0.0;
    if config.target_bps.is_some_and(|bps| !positive(bps)) {
        return Err(FlowError::Config("target rate"));
    }
    if !(config.min_bps.is_finite() && config.min_bps >= 0.0) {
        return Err(FlowError::Config("minimum rate"));
    }
    match policy {
        Policy::Fixed => {
            let target_bps = config.target_bps.ok_or(FlowError::RateRequired)?;
            Ok(Box::new(Fixed::new(target_bps, config)))
        }
        Policy::Fair => Ok(Box::new(Fair::new(config))),
        Policy::High => Ok(Box::new(Fair::with_weight(config, HIGH_WEIGHT))),
        Policy::Low => Ok(Box::new(Fair::yielding(config))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(target_bps: Option<f64>) -> RateConfig {
        RateConfig {
            now: Time::ZERO,
            target_bps,
            min_bps: 0.0,
            initial_rtt: Duration::from_millis(10),
            remembered: None,
            segment_len: 1440,
            seed: 1,
        }
    }

    #[test]
    fn names_survive_the_round_trip() {
        for name in ["fixed", "high", "fair", "low"] {
            let policy: Policy = name.parse().unwrap();
            assert_eq!(policy.to_string(), name);
        }
        assert!("Fast".parse::<Policy>().is_err());
    }

    #[test]
    fn fixed_needs_a_rate_and_the_others_do_not() {
        let make = |which, target| policy(which, config(target)).map(|made| made.rate_bps());
        assert_eq!(make(Policy::Fixed, None), Err(FlowError::RateRequired));
        assert_eq!(make(Policy::Fixed, Some(5e6)), Ok(5e6));
        for which in [Policy::High, Policy::Fair, Policy::Low] {
            assert!(make(which, None).is_ok_and(|bps| bps > 0.0), "{which}");
        }
        for silly in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(make(Policy::Fair, Some(silly)).is_err(), "{silly}");
        }
    }
}
