use std::time::Duration;

use haul_wire::PacketNo;

use crate::Time;

use super::deliveries::{Deliveries, Measure, Record};

/// `fair` never holds more loss than this for somebody else's doing.
const FLOOR_MAX: f64 = 0.35;
/// More than this, for that long, is a path that does not carry what is sent.
const BREAKER_LOSS: f64 = 0.5;
const BREAKER_AFTER: Duration = Duration::from_secs(5);
/// Each round above [`FLOOR_MAX`] multiplies the rate by this.
const DAMPING: f64 = 0.85;
/// Far enough down to reach the lowest rate from any.
const DAMPING_MIN: f64 = 1e-6;
/// The floor follows slow changes: it is the mean of no more packets than this.
const WEIGHT_MAX: f64 = 20_000.0;
/// Fewest packets that say anything about a loss rate.
const PACKETS_MIN: f64 = 20.0;

/// The share of packets that is lost whatever this sender does, and the watch for more.
///
/// The floor falls freely. It rises only by experiment ([`LossFloor::prove`]), or within the noise
/// of what has been proven: anything else and a shallow buffer teaches it one's own overload.
#[derive(Debug, Default)]
pub(super) struct LossFloor {
    floor: f64,
    /// Packets that the floor is the mean of.
    weight: f64,
    /// How far the last proof lets it rise.
    proven: f64,
    /// Cumulative sum of excess loss in packets (Page's test).
    score: f64,
    /// The score as a share of what calls for an experiment.
    suspicion: f64,
    /// End of the first round that counted towards `score`: what follows was not selected for
    /// being high, so its mean is honest.
    since: Option<Record>,
    damping: f64,
    /// Packets lost and sent since the guard last judged.
    guarded: (f64, f64),
    heavy_since: Option<Time>,
    broken: Option<f64>,
}

impl LossFloor {
    pub(super) fn new() -> Self {
        Self {
            damping: 1.0,
            ..Self::default()
        }
    }

    /// The floor, 0 to 1.
    pub(super) fn get(&self) -> f64 {
        self.floor
    }

    /// Factor on the rate, below 1 while the path loses more than anybody may ignore.
    pub(super) fn damping(&self) -> f64 {
        self.damping
    }

    /// Loss of the rounds that tripped the circuit breaker.
    pub(super) fn broken(&self) -> Option<f64> {
        self.broken
    }

    /// An experiment over that many packets showed this loss to be independent of the rate.
    pub(super) fn prove(&mut self, loss: f64, trust: f64, packets: f64) {
        self.floor = (self.floor + trust * (loss - self.floor)).clamp(0.0, FLOOR_MAX);
        self.weight = packets.max(1.0);
        // What was seen bounds the floor, not what the floor became: proofs must not add up.
        let deviation = (loss * (1.0 - loss) / self.weight).sqrt();
        self.proven = (loss + deviation.max(0.005)).min(FLOOR_MAX);
        self.forget();
    }

    /// The loss of that many packets sent while the path was certainly not overloaded.
    pub(super) fn seen_below_capacity(&mut self, loss: f64, packets: f64) {
        let known = self.weight.min(2000.0);
        self.prove(loss, packets / (packets + known), packets);
        self.weight += known;
    }

    /// Starts the watch afresh: the rate has changed for another reason.
    pub(super) fn forget(&mut self) {
        self.score = 0.0;
        self.suspicion = 0.0;
        self.since = None;
    }

    /// Whether the last rounds looked as if something were wrong.
    pub(super) fn is_suspicious(&self) -> bool {
        self.suspicion > 0.25
    }

    /// Standard deviation of the floor itself.
    fn deviation(&self) -> f64 {
        (self.floor.max(1e-4) * (1.0 - self.floor) / self.weight.max(1.0)).sqrt()
    }

    /// Averages the loss of an ordinary round in. Upwards this ends at the noise of the last proof.
    pub(super) fn follow(&mut self, round: &Measure) {
        let deviation = round.deviation(self.floor);
        let mut excess = (round.loss - self.floor).min(2.0 * deviation);
        if excess > -4.0 * deviation {
            excess = excess.max(-2.0 * deviation);
        }
        let gain = round.packets / (self.weight + round.packets);
        let bound = self.proven.max(self.floor);
        self.floor = (self.floor + gain * excess).clamp(0.0, bound);
        self.weight = (self.weight + round.packets).min(WEIGHT_MAX);
    }

    /// Watches one round that ended with `end`. Small excesses must last, and even a large one must
    /// show in two rounds: a burst that was lost once is not an overload. Returns the measure that
    /// shows more loss than the floor explains.
    pub(super) fn watch(
        &mut self,
        round: &Measure,
        end: Record,
        deliveries: &Deliveries,
    ) -> Option<Measure> {
        let deviation = round.deviation(self.floor);
        let threshold = (8.0 * deviation * round.packets).max(15.0);
        let slack = (0.5 * deviation).max(self.deviation()).max(0.005);
        let gained = (round.loss - self.floor - slack) * round.packets;
        self.score = (self.score + gained.min(0.6 * threshold)).max(0.0);
        self.suspicion = self.score / threshold;
        if self.score <= 0.0 {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(end);
        if self.score < threshold {
            return None;
        }
        // One clear round is the best witness: its packets were sent at one rate. Otherwise all
        // the rounds together.
        let clear = round.loss > self.floor + 4.0 * deviation && round.packets >= 50.0;
        let measure = if clear {
            *round
        } else {
            deliveries.between(&since, &end)?
        };
        (measure.packets >= PACKETS_MIN && measure.loss > self.floor + slack).then_some(measure)
    }

    /// What must hold whatever the state: damping above the cap, the circuit breaker (RFC 8084).
    /// While `starting` nothing is damped: start-up ends by itself at what the path carries, and can
    /// only see it as long as it grows; what it lost at its end was answered by ending it.
    /// A round in which the source or the receiver limited sending does not count: what it lost
    /// was not lost to the rate.
    pub(super) fn guard(&mut self, round: &Measure, now: Time, starting: bool) {
        if round.limited {
            self.heavy_since = None;
            return;
        }
        // At the lowest rate a round has two packets.
        self.guarded.0 += round.loss * round.packets;
        self.guarded.1 += round.packets;
        let (lost, packets) = self.guarded;
        if packets < PACKETS_MIN {
            return;
        }
        self.guarded = (0.0, 0.0);
        let loss = lost / packets;
        if !starting && loss > FLOOR_MAX + 3.0 * (FLOOR_MAX * (1.0 - FLOOR_MAX) / packets).sqrt() {
            self.damping = (self.damping * DAMPING).max(DAMPING_MIN);
        } else {
            self.damping = (self.damping / DAMPING).min(1.0);
        }
        if loss < BREAKER_LOSS - (1.0 / packets).sqrt() {
            self.heavy_since = None;
            return;
        }
        if loss < BREAKER_LOSS && self.heavy_since.is_none() {
            return;
        }
        let since = *self.heavy_since.get_or_insert(now);
        if now - since >= BREAKER_AFTER {
            self.broken = Some(loss);
        }
    }
}

/// Cuts the stream of reports into rounds: the packets sent within one round trip, no shorter than
/// `ROUND_MIN`.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    start: Option<Record>,
    /// Packets from here on belong to the next round.
    end: PacketNo,
}

/// Shorter rounds than this say more about processors than about paths.
const ROUND_MIN: f64 = 0.010;

impl Rounds {
    /// The round that this record completes, if it does.
    pub(super) fn on_record(
        &mut self,
        record: Record,
        next_packet: PacketNo,
        deliveries: &Deliveries,
    ) -> Option<Measure> {
        let Some(start) = self.start else {
            self.start = Some(record);
            self.end = next_packet;
            return None;
        };
        if record.largest() < self.end || record.seconds_since(&start) < ROUND_MIN {
            return None;
        }
        self.start = Some(record);
        self.end = next_packet;
        deliveries.between(&start, &record)
    }

    /// Begins anew with the next record.
    pub(super) fn restart(&mut self) {
        self.start = None;
    }
}
