use std::{ops::Range, time::Duration};

use haul_flow::Time;

use crate::{
    loss::{Loss, LossProcess},
    rng::Rng,
};

/// How long one draw of the jitter lasts. Drawn per datagram, with the order kept, it would only
/// be a longer delay: the latest of many draws is always near the maximum.
pub const JITTER_PERIOD: Duration = Duration::from_millis(5);

/// One direction of the path: a drop-tail queue before a bottleneck, then a hostile wire.
///
/// Rates and sizes are those of UDP payload, as in the machines under test.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// Bits per second the bottleneck carries.
    pub rate_bps: u64,
    /// Bytes that may wait before the bottleneck; what does not fit is dropped.
    pub queue_bytes: u64,
    /// Propagation delay.
    pub delay: Duration,
    /// Up to this much more delay, drawn anew every [`JITTER_PERIOD`]; the order is kept.
    pub jitter: Duration,
    /// Loss after the bottleneck.
    pub loss: Loss,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that arrive damaged: their tag does not match.
    pub corrupt: f64,
    /// Share of datagrams that are overtaken.
    pub reorder: f64,
    /// An overtaken datagram is held for the airtime of up to this many of its like.
    pub reorder_packets: u64,
    /// While one of these lasts, whatever enters the link is gone.
    pub holes: Vec<Range<Time>>,
    /// Stands before the queue and drops what exceeds its rate.
    pub policer: Option<Policer>,
}

/// A token bucket that drops instead of delaying (Flach et al., "An Internet-wide analysis of
/// traffic policing", SIGCOMM 2016).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policer {
    /// Bits per second at which tokens come.
    pub rate_bps: u64,
    /// Bytes of tokens the bucket holds; it begins full.
    pub bucket_bytes: u64,
}

impl LinkConfig {
    /// A link without faults whose queue holds half of what is in flight over `rtt`.
    pub fn clean(rate_bps: u64, rtt: Duration) -> Self {
        let in_flight_bytes = (rate_bps as f64 / 8.0 * rtt.as_secs_f64()) as u64;
        Self {
            rate_bps,
            queue_bytes: (in_flight_bytes / 2).max(64 << 10),
            delay: rtt / 2,
            jitter: Duration::ZERO,
            loss: Loss::NONE,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            reorder_packets: 0,
            holes: Vec::new(),
            policer: None,
        }
    }

    /// Time a datagram of `len` bytes occupies the bottleneck.
    pub fn airtime(&self, len: usize) -> Duration {
        let nanos = u128::from(len as u64) * 8_000_000_000 / u128::from(self.rate_bps);
        Duration::from_nanos(nanos as u64)
    }

    /// Longest time an overtaken datagram of `len` bytes is held.
    pub fn reorder_hold(&self, len: usize) -> Duration {
        match self.reorder {
            share if share > 0.0 => self.airtime(len) * self.reorder_packets as u32,
            _ => Duration::ZERO,
        }
    }

    /// Longest time from entering the queue to arriving.
    pub fn delay_max(&self, len: usize) -> Duration {
        let queued = self.airtime(self.queue_bytes as usize);
        queued + self.airtime(len) + self.delay + self.jitter + self.reorder_hold(len)
    }

    /// Long-run share of datagrams that do not arrive intact, holes and the queue aside.
    pub fn loss_share(&self) -> f64 {
        1.0 - (1.0 - self.loss.mean()) * (1.0 - self.corrupt)
    }
}

/// Why a datagram did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// The queue before the bottleneck was full, or the policer's bucket empty.
    Queue,
    /// The link's own loss.
    Wire,
    /// A black-hole.
    Hole,
    /// The scenario singled it out.
    Aimed,
    /// It arrived damaged.
    Damage,
    /// The receiver had no buffer for it.
    Overrun,
    /// A copy made by the network of one that the receiver has: refused as a replay.
    Replay,
}

/// One arrival of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When it leaves the link at the far end.
    pub at: Time,
    /// Whether its tag will fail.
    pub damaged: bool,
    /// How long it was held so that others overtook it.
    pub held: Duration,
}

/// What becomes of a datagram that enters a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It never arrives.
    Lost(LossCause),
    /// It arrives.
    Once(Arrival),
    /// It arrives, and so does a copy.
    Twice(Arrival, Arrival),
}

/// A running [`LinkConfig`].
#[derive(Debug)]
pub(crate) struct Link {
    config: LinkConfig,
    loss: LossProcess,
    rng: Rng,
    /// When the bottleneck has sent all that waits.
    free_at: Time,
    /// Jitter never lets one datagram overtake another; only `reorder` does.
    last_arrival: Time,
    jitter: Duration,
    jitter_until: Time,
    /// Bytes in the policer's bucket, and when that was so.
    tokens: (f64, Time),
}

impl Link {
    /// A link at rest.
    pub(crate) fn new(config: LinkConfig, rng: Rng) -> Self {
        let bucket = config.policer.map_or(0, |policer| policer.bucket_bytes);
        Self {
            tokens: (bucket as f64, Time::ZERO),
            loss: LossProcess::new(config.loss),
            config,
            rng,
            free_at: Time::ZERO,
            last_arrival: Time::ZERO,
            jitter: Duration::ZERO,
            jitter_until: Time::ZERO,
        }
    }

    /// Changes the link from now on. What already waits leaves at the rate it was queued under:
    /// the bottleneck is computed ahead, and a queue is short beside the time that follows.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut LinkConfig)) {
        change(&mut self.config);
        self.loss.set_model(self.config.loss);
    }

    /// How long what enters now would wait.
    pub(crate) fn wait(&self, now: Time) -> Duration {
        self.free_at - now
    }

    /// Whether the policer, if there is one, lets `len` bytes pass.
    fn is_passed(&mut self, len: usize, now: Time) -> bool {
        let Some(policer) = self.config.policer else {
            return true;
        };
        let (tokens, since) = self.tokens;
        let come = (now - since).as_secs_f64() * policer.rate_bps as f64 / 8.0;
        let tokens = (tokens + come).min(policer.bucket_bytes as f64);
        let is_passed = tokens >= len as f64;
        self.tokens = (
            if is_passed {
                tokens - len as f64
            } else {
                tokens
            },
            now,
        );
        is_passed
    }

    /// A datagram of `len` bytes enters at `now`.
    pub(crate) fn carry(&mut self, len: usize, now: Time) -> Fate {
        if self.config.holes.iter().any(|hole| hole.contains(&now)) {
            return Fate::Lost(LossCause::Hole);
        }
        if !self.is_passed(len, now) {
            return Fate::Lost(LossCause::Queue);
        }
        let wait = self.wait(now);
        let queued = (wait.as_secs_f64() * self.config.rate_bps as f64 / 8.0) as u64 + len as u64;
        if queued > self.config.queue_bytes.max(len as u64) {
            return Fate::Lost(LossCause::Queue);
        }
        self.free_at = now + wait + self.config.airtime(len);
        if self.loss.strikes(&mut self.rng) {
            return Fate::Lost(LossCause::Wire);
        }
        let arrival = self.arrival(len);
        if !self.rng.chance(self.config.duplicate) {
            return Fate::Once(arrival);
        }
        let late = self.share_of(self.config.delay / 4);
        let copy = Arrival {
            at: arrival.at + late,
            damaged: self.rng.chance(self.config.corrupt),
            held: arrival.held,
        };
        Fate::Twice(arrival, copy)
    }

    fn arrival(&mut self, len: usize) -> Arrival {
        if self.free_at >= self.jitter_until {
            self.jitter = self.share_of(self.config.jitter);
            self.jitter_until = self.free_at + JITTER_PERIOD;
        }
        let late = self.config.delay + self.jitter;
        let in_order = self.last_arrival.max(self.free_at + late);
        let held = if self.rng.chance(self.config.reorder) {
            self.share_of(self.config.reorder_hold(len))
        } else {
            self.last_arrival = in_order;
            Duration::ZERO
        };
        Arrival {
            at: in_order + held,
            held,
            damaged: self.rng.chance(self.config.corrupt),
        }
    }

    fn share_of(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        Duration::from_nanos(self.rng.within(0..=most.as_nanos() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    fn link(change: impl FnOnce(&mut LinkConfig)) -> Link {
        let mut config = LinkConfig::clean(8_000_000, RTT);
        change(&mut config);
        Link::new(config, Rng::new(5))
    }

    #[test]
    fn a_clean_link_serialises_and_delays() {
        let mut link = link(|_| ());
        let at = |nanos| Arrival {
            at: Time(nanos),
            damaged: false,
            held: Duration::ZERO,
        };
        // 1,000 bytes at 8 Mbit/s last 1 ms.
        assert_eq!(link.carry(1000, Time::ZERO), Fate::Once(at(21_000_000)));
        assert_eq!(link.carry(1000, Time::ZERO), Fate::Once(at(22_000_000)));
        assert_eq!(
            link.carry(1000, Time(9_000_000)),
            Fate::Once(at(30_000_000))
        );
    }

    #[test]
    fn a_full_queue_drops_and_recovers() {
        let mut link = link(|config| config.queue_bytes = 3000);
        let fates = [(); 4].map(|()| link.carry(1000, Time::ZERO));
        assert_eq!(fates[3], Fate::Lost(LossCause::Queue));
        assert!(fates[..3].iter().all(|fate| matches!(fate, Fate::Once(_))));
        assert!(matches!(link.carry(1000, Time(1_000_001)), Fate::Once(_)));
    }

    #[test]
    fn a_policer_passes_its_bucket_and_then_its_rate() {
        let mut link = link(|config| {
            config.policer = Some(Policer {
                rate_bps: 4_000_000,
                bucket_bytes: 10_000,
            });
        });
        // Offered 8 Mbit/s for a second: half of it passes, and the bucket once.
        let fates = (0..1000).map(|n| link.carry(1000, Time(n * 1_000_000)));
        let passed = fates.filter(|fate| matches!(fate, Fate::Once(_))).count();
        assert!((505..=511).contains(&passed), "{passed}");
    }

    #[test]
    fn holes_swallow_only_while_they_last() {
        let mut link = link(|config| config.holes = vec![Time(10)..Time(20)]);
        assert!(matches!(link.carry(1, Time(9)), Fate::Once(_)));
        assert_eq!(link.carry(1, Time(10)), Fate::Lost(LossCause::Hole));
        assert!(matches!(link.carry(1, Time(20)), Fate::Once(_)));
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let arrivals = |mut link: Link| -> Vec<Time> {
            let fates = (0..2000).map(|n| link.carry(1000, Time(n * 1_000_000)));
            fates
                .filter_map(|fate| match fate {
                    Fate::Once(arrival) => Some(arrival.at),
                    Fate::Lost(_) | Fate::Twice(..) => None,
                })
                .collect()
        };
        let jittery = arrivals(link(|config| config.jitter = Duration::from_millis(30)));
        assert!(jittery.is_sorted());
        let shuffled = arrivals(link(|config| {
            config.reorder = 0.1;
            config.reorder_packets = 100;
        }));
        let overtaken = shuffled.windows(2).filter(|w| w[1] < w[0]).count();
        assert!((100..300).contains(&overtaken), "{overtaken}");
        let reach = |&(n, at): &(usize, &Time)| shuffled[n..].iter().filter(|t| *t < at).count();
        let farthest = shuffled.iter().enumerate().map(|p| reach(&p)).max();
        assert!(
            farthest.is_some_and(|far| (80..=101).contains(&far)),
            "{farthest:?}"
        );
    }

    #[test]
    fn duplicates_and_damage_have_their_shares() {
        let mut link = link(|config| {
            config.duplicate = 0.3;
            config.corrupt = 0.1;
        });
        let (mut twice, mut damaged) = (0, 0);
        for n in 0..10_000 {
            match link.carry(1000, Time(n * 1_000_000)) {
                Fate::Once(arrival) => damaged += u32::from(arrival.damaged),
                Fate::Twice(first, second) => {
                    twice += 1;
                    damaged += u32::from(first.damaged) + u32::from(second.damaged);
                }
                Fate::Lost(cause) => panic!("{cause:?}"),
            }
        }
        assert!((2700..3300).contains(&twice), "{twice}");
        assert!((1100..1500).contains(&damaged), "{damaged}");
    }
}
