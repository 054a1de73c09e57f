use crate::Why;

use super::{
    Next, Phase,
    deliveries::Measure,
    drain::{Drain, Saturated},
    law::{Core, LONG_PATH, View, is_like},
    seconds,
};

/// A round with fewer packets does not tell a plateau from noise.
const PLATEAU_PACKETS: f64 = 24.0;
/// Fewer say nothing about the loss before.
const PACKETS_KNOWN: f64 = 20.0;
/// One round with that many is enough.
const PLATEAU_PACKETS_SURE: f64 = 256.0;
/// Share of what the path is remembered to have carried to begin with (Careful Resume,
/// draft-ietf-tsvwg-careful-resume).
const RESUMED: f64 = 0.5;
/// Where less than this share of what is sent arrives, the path does not carry it: more is lost than
/// random loss would account for.
const NOT_CARRIED: f64 = 0.6;
/// Rounds of little growth after the path has carried what it is remembered for.
const GENTLE_ROUNDS: u32 = 3;
/// Rounds at the user's ceiling after which there is nothing left to start up to.
const CEILING_ROUNDS: u32 = 3;

/// Below this, bits per second, start-up triples: on a path that is no faster, the overshoot of a
/// round trip is a few hundred kilobytes, and on a faster one it is the time that counts.
const TRIPLED_BELOW: f64 = 50e6;
/// From this round trip on, seconds, two reports are far enough apart that no busy processor makes
/// the delay of both; on shorter paths it takes four.
const LONG_ROUND_TRIP: f64 = 0.050;

/// Shortest stretch of reports to judge growth by, round trips: two reports apart.
const WINDOW: f64 = 0.2;

/// Delays may jump by this many times their mean difference without being a queue.
const NOISE: f64 = 8.0;

/// Longest time that growth is reckoned over, round trips: where reports are rare, a plateau is seen
/// late.
const GROWTH_TIME_MAX: f64 = 1.25;

/// Rate to send with, relative to what was sent when the measure was, which is a round trip ago and
/// half its own length. A host that often has something else to do sends less than it may; doubling
/// what it sent would then not grow at all.
fn growth(measure: &Measure, view: &View, core: &Core, is_gentle: bool) -> f64 {
    if is_gentle {
        1.25
    } else if measure.limited {
        3.0
    } else {
        let each: f64 = if measure.sent < TRIPLED_BELOW {
            3.0
        } else {
            2.0
        };
        // On shorter paths it would save hundredths of a second, and flows that start up would see
        // each other's queues later.
        if core.srtt < LONG_PATH {
            return each;
        }
        let age = seconds(view.now, measure.middle)
            - NOISE * (core.delay.jitter() + core.delay.wildness());
        let round_trips = age / core.srtt;
        each.powf(round_trips.clamp(1.0, GROWTH_TIME_MAX))
    }
}

/// What was known of the path before this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// Bits per second.
    pub(super) bandwidth: f64,
    /// Seconds.
    pub(super) round_trip: f64,
}

/// Multiplies the rate each round trip until the path shows a queue or delivers no more.
#[derive(Debug, Default)]
pub(super) struct Startup {
    /// Sent and delivered rate of the round before.
    before: Option<(f64, f64)>,
    plateau: u32,
    plateau_rounds: usize,
    ceiling_rounds: u32,
    /// Packets lost and sent in rounds that are too long ago to have been saturated.
    settled: (f64, f64),
    /// The last rounds, the newest last.
    recent: [(f64, f64); 3],
    /// What the path before this one carried, until a report tells how long this one is.
    before_move: Option<Moved>,
    /// What the path carried before, until it shows whether it still does.
    resumed: Option<f64>,
    /// Rounds in which to grow by little, because the end is thought to be near.
    gentle_rounds: u32,
}

impl Startup {
    /// Begins at half of what the path is remembered to have carried, if anything.
    pub(super) fn new(core: &mut Core) -> Self {
        let resumed = core.resumed.take().map(|rate| rate.min(core.ceiling()));
        if let Some(rate) = resumed {
            core.rate = core.rate.max(RESUMED * rate);
        }
        Self {
            resumed,
            ..Self::default()
        }
    }

    /// Begins on another path: at half of what the one before carried as soon as a report shows about
    /// the same round trip. Not at once: the base delay would never be seen below one's own queue.
    pub(super) fn on_another_path(before: Moved) -> Self {
        Self {
            before_move: Some(before),
            ..Self::default()
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        if let Some(before) = self.before_move.take_if(|_| core.delay.is_known())
            && is_like(core.srtt, before.round_trip)
        {
            core.rate = core.rate.max(RESUMED * before.bandwidth);
            self.resumed = Some(before.bandwidth);
        }
        let window = (WINDOW * core.srtt)
            .max(0.004)
            .max(4.0 * core.delay.jitter());
        let measure = core.deliveries.last(window)?;
        core.bandwidth = core.bandwidth.max(measure.delivered);
        if let Some(next) = self.resume(core, view, &measure) {
            return Some(next);
        }
        let most = self.resumed.unwrap_or(f64::MAX);
        let grown = (growth(&measure, view, core, self.gentle_rounds > 0) * measure.sent).min(most);
        core.rate = core.rate.max(grown);
        let marked = core.marks.is_due();
        let queued = marked || self.is_queueing(core, view, &measure);
        if let Some(round) = &view.round {
            self.on_round(core, round);
        }
        if !queued && self.plateau < 2 && self.ceiling_rounds < CEILING_ROUNDS {
            return None;
        }
        // The rounds that already overloaded the path say nothing about its own losses.
        let saturated = 1 + if queued && self.plateau == 0 {
            0
        } else {
            self.plateau_rounds
        };
        let (floor, packets) = self.loss_before(saturated);
        core.floor.prove(floor, 1.0, packets);
        if self.ceiling_rounds >= CEILING_ROUNDS && !queued && self.plateau < 2 {
            core.bandwidth = core.ceiling();
            core.rate = core.ceiling();
            return Some(Next::track(view.now, Why::StartupCeiling));
        }
        core.marks.answered(view.next_packet);
        let why = if marked {
            Why::StartupMarks
        } else if queued {
            Why::StartupQueue
        } else {
            Why::StartupPlateau
        };
        core.bandwidth = (measure.delivered / (1.0 - core.floor.get())).min(core.ceiling());
        let saturated = Saturated {
            delivered: measure.delivered,
            queue: core.delay.latest(),
        };
        let drain = Drain::new(core, view, saturated);
        Some(Next {
            phase: Phase::Drain(drain),
            why,
        })
    }

    /// Does the path carry what it is remembered to have carried? Then it will not carry much more.
    /// Does it carry much less, this ends at once.
    fn resume(&mut self, core: &mut Core, view: &View, measure: &Measure) -> Option<Next> {
        let remembered = self.resumed?;
        let tells = measure.packets >= PLATEAU_PACKETS && !measure.limited;
        if tells && measure.delivered < NOT_CARRIED * measure.sent {
            self.resumed = None;
            core.bandwidth = measure.delivered;
            let saturated = Saturated {
                delivered: measure.delivered,
                queue: core.delay.latest(),
            };
            return Some(Next {
                phase: Phase::Drain(Drain::new(core, view, saturated)),
                why: Why::StartupLess,
            });
        }
        if measure.sent >= 0.9 * remembered {
            self.resumed = None;
            self.gentle_rounds = GENTLE_ROUNDS;
        }
        None
    }

    fn is_queueing(&self, core: &Core, view: &View, measure: &Measure) -> bool {
        let threshold = (core.srtt / 8.0).clamp(0.004, 0.016).max(view.target);
        let noise = 3.0 * core.delay.jitter().min(0.003) + NOISE * core.delay.wildness();
        let threshold = threshold + noise;
        let reports = if core.srtt < LONG_ROUND_TRIP { 4 } else { 2 };
        !measure.limited
            && core.delay.least_of(reports) > threshold
            && measure.delivered / (1.0 - measure.loss).max(0.05) < 0.92 * measure.sent
    }

    fn on_round(&mut self, core: &Core, round: &Measure) {
        self.gentle_rounds = self.gentle_rounds.saturating_sub(1);
        self.settled.0 += self.recent[0].0;
        self.settled.1 += self.recent[0].1;
        self.recent.rotate_left(1);
        self.recent[2] = (round.loss * round.packets, round.packets);
        let (sent, delivered) = self.before.unwrap_or((0.0, 0.0));
        self.before = Some((round.sent, round.delivered));
        let grew = if sent > 0.0 { round.sent / sent } else { 0.0 };
        let followed = if delivered > 0.0 {
            round.delivered / delivered
        } else {
            f64::MAX
        };
        let flat = grew > 1.2 && followed < 1.0 + 0.5 * (grew - 1.0) && !round.limited;
        // A source that limits sending hides a plateau, but not what overflows.
        let (before, packets) = self.loss_before(1 + self.plateau_rounds);
        let jumped = round.loss > before + (4.0 * round.deviation(before)).max(0.2);
        let overflows = jumped && packets > PACKETS_KNOWN;
        if round.packets >= PLATEAU_PACKETS && (flat || overflows) {
            self.plateau += if round.packets >= PLATEAU_PACKETS_SURE {
                2
            } else {
                1
            };
            self.plateau_rounds += 1;
        } else {
            self.plateau = 0;
            self.plateau_rounds = 0;
        }
        if core.rate >= core.ceiling() && !round.limited {
            self.ceiling_rounds += 1;
        }
    }

    /// Loss of all rounds but the last `saturated` ones, and of how many packets.
    fn loss_before(&self, saturated: usize) -> (f64, f64) {
        let kept = self.recent.len().saturating_sub(saturated);
        let (lost, sent) = self
            .recent
            .iter()
            .take(kept)
            .fold(self.settled, |sum, round| {
                (sum.0 + round.0, sum.1 + round.1)
            });
        (
            if sent > PACKETS_KNOWN {
                lost / sent
            } else {
                0.0
            },
            sent,
        )
    }
}
