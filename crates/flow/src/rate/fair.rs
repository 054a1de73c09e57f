//! The policy `fair`: fills the path alone with a short queue, takes an even share in company.
//!
//! The rate is the bandwidth the path has shown, corrected in proportion to how far the queueing
//! delay is from a target that shrinks with the rate; flows on one queue can therefore only rest
//! at equal rates. Loss does not enter at all as long as it stays at a floor, and the floor rises
//! by experiment alone: send a fifth slower for a moment and see what follows ([`dip`]).
//! Why this law: `docs/decisions/0001-fair-rate-law.md`.
//!
//! ```text
//! STARTUP ──► DRAIN ──► TRACK ◄──► DIP (loss, queue, audit) ──► COMPETE ──► LISTEN
//!                         ▲  ▲                                     │          │
//!                         │  └─────────────────────────────────────┴──────────┘
//!                         └──────► PROBE_BASE
//! ```

use std::{collections::VecDeque, time::Duration};

use super::{Decision, Estimates, Mode, RateConfig, RatePolicy, Sample, Why};
use crate::{FlowError, Time, time::nanos};

mod compete;
mod delay;
mod deliveries;
mod dip;
mod drain;
mod floor;
mod growth;
mod law;
mod marks;
mod probe;
mod startup;
mod track;

use self::{
    compete::Compete,
    dip::Dip,
    drain::Drain,
    floor::Rounds,
    law::{Core, View},
    probe::ProbeBase,
    startup::{Moved, Startup},
    track::Track,
};

/// Lines of trace kept for a caller that does not ask.
const TRACE_MAX: usize = 256;
/// Silence lowers the rate no faster than this, however short the round trip: on a short path it
/// is a busy processor long before it is congestion.
const SILENCE_STEP: Duration = Duration::from_millis(25);

/// Weight of a flow that yields.
const YIELDING_WEIGHT: f64 = 0.25;

/// Seconds from `earlier` to `later`, 0 if they are the other way round.
fn seconds(later: Time, earlier: Time) -> f64 {
    (later - earlier).as_secs_f64()
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// State machine of the policy; each state decides alone how fast to send and when to end.
#[derive(Debug)]
enum Phase {
    Startup(Startup),
    Drain(Drain),
    Track(Track),
    Dip(Dip),
    ProbeBase(ProbeBase),
    Compete(Compete),
}

impl Phase {
    fn mode(&self) -> Mode {
        match self {
            Self::Startup(_) => Mode::Startup,
            Self::Drain(_) => Mode::Drain,
            Self::Track(_) => Mode::Track,
            Self::Dip(dip) => dip.mode(),
            Self::ProbeBase(_) => Mode::ProbeBase,
            Self::Compete(compete) if compete.is_listening() => Mode::Listen,
            Self::Compete(_) => Mode::Compete,
        }
    }

    fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        match self {
            Self::Startup(startup) => startup.step(core, view),
            Self::Drain(drain) => drain.step(core, view),
            Self::Track(track) => track.step(core, view),
            Self::Dip(dip) => dip.step(core, view),
            Self::ProbeBase(probe) => probe.step(core, view),
            Self::Compete(compete) => compete.step(core, view),
        }
    }
}

/// The state to go to, and why.
#[derive(Debug)]
struct Next {
    phase: Phase,
    why: Why,
}

impl Next {
    fn track(now: Time, why: Why) -> Self {
        Self {
            phase: Phase::Track(Track::new(now)),
            why,
        }
    }
}

/// Fills the path alone, takes an even share in company, and ignores proven random loss.
#[derive(Debug)]
pub struct Fair {
    core: Core,
    phase: Phase,
    rounds: Rounds,
    heard_at: Option<Time>,
    /// Packets that were sent earlier took another path.
    path_since: Time,
    /// Rate after the silence's cuts, and when the last cut was; the bandwidth is not forgotten.
    silenced: Option<(f64, Time)>,
    trace: VecDeque<Decision>,
}

impl Fair {
    /// Begins at 32 packets per round trip, and up to 80 on a long path.
    pub fn new(config: RateConfig) -> Self {
        Self::with_weight(config, 1.0)
    }

    /// A flow that takes `weight` times the share of a fair one (0.1 to 10).
    pub fn with_weight(config: RateConfig, weight: f64) -> Self {
        Self::with_core(Core::new(config, weight.clamp(0.1, 10.0), true))
    }

    /// A flow that retreats before others: before flows like itself down to a fifth of the link,
    /// before flows that fill buffers as far as they push.
    pub fn yielding(config: RateConfig) -> Self {
        Self::with_core(Core::new(config, YIELDING_WEIGHT, false))
    }

    fn with_core(mut core: Core) -> Self {
        let startup = Startup::new(&mut core);
        Self {
            core,
            phase: Phase::Startup(startup),
            rounds: Rounds::default(),
            heard_at: None,
            path_since: Time::ZERO,
            silenced: None,
            trace: VecDeque::new(),
        }
    }

    fn enter(&mut self, now: Time, next: Next) {
        self.phase = next.phase;
        self.note(now, next.why);
    }

    fn note(&mut self, now: Time, why: Why) {
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(Decision {
            at: now,
            mode: self.phase.mode(),
            rate_bps: self.rate_bps(),
            bandwidth_bps: self.core.bandwidth,
            loss_floor: self.core.floor.get(),
            queue_delay: duration(self.core.delay.standing()),
            why,
        });
    }

    /// Reports have come back after a gap: what is measured across it mixes two times.
    fn resume_after(&mut self, gap: f64, sample: &Sample) {
        self.silenced = None;
        if gap < 4.0 * self.core.period + 10.0 * sample.interval.as_secs_f64() {
            return;
        }
        self.core.deliveries.restart();
        self.rounds.restart();
        self.core.floor.forget();
        if !matches!(self.phase, Phase::Startup(_) | Phase::Track(_)) {
            self.core.rate = self.core.bandwidth;
            self.enter(sample.now, Next::track(sample.now, Why::ReportsResumed));
        }
    }
}

impl RatePolicy for Fair {
    fn on_sample(&mut self, sample: &Sample) {
        if sample.largest_sent_at < self.path_since {
            return;
        }
        let gap = self
            .heard_at
            .map_or(0.0, |heard_at| seconds(sample.now, heard_at));
        self.heard_at = Some(sample.now);
        self.resume_after(gap, sample);
        let core = &mut self.core;
        core.sense(sample);
        if let Some(record) = core.deliveries.on_sample(sample, core.memory()) {
            let round = self
                .rounds
                .on_record(record, sample.next_packet, &core.deliveries);
            if let Some(round) = &round {
                let starting = matches!(self.phase, Phase::Startup(_) | Phase::Drain(_));
                core.floor.guard(round, sample.now, starting);
            }
            let view = core.view(sample, record, gap, round);
            let next = self.phase.step(core, &view);
            core.bound();
            if let Some(next) = next {
                self.enter(sample.now, next);
            }
        }
        let rate = self.rate_bps();
        self.core
            .deliveries
            .set_rate(sample.now, rate, sample.app_limited);
    }

    fn on_silence(&mut self, now: Time) {
        let (rate, last) = self.silenced.unwrap_or((self.core.rate, Time::ZERO));
        if self.silenced.is_some() && now - last < SILENCE_STEP {
            return;
        }
        self.silenced = Some((rate / 2.0, now));
        let rate = self.rate_bps();
        self.core.deliveries.set_rate(now, rate, false);
        self.note(now, Why::NoReports);
    }

    fn rate_bps(&self) -> f64 {
        self.core
            .limited(self.silenced.map_or(self.core.rate, |(rate, _)| rate))
    }

    fn burst_max(&self) -> Duration {
        duration((self.core.target_queue() / 4.0).min(0.001))
    }

    /// The delay of the new path is unknown, and so is its capacity: begins again, and goes on at half
    /// of what the old one carried if it is about as long (Careful Resume applied to migration).
    fn on_path_change(&mut self, now: Time) {
        let before = Moved {
            bandwidth: self.core.bandwidth,
            round_trip: self.core.srtt,
        };
        self.core.forget_path();
        self.rounds.restart();
        (self.heard_at, self.silenced) = (None, None);
        self.path_since = now;
        let phase = Phase::Startup(Startup::on_another_path(before));
        let why = Why::AnotherPath;
        self.enter(now, Next { phase, why });
    }

    fn estimates(&self) -> Estimates {
        Estimates {
            bandwidth_bps: self.core.bandwidth,
            queue_delay: duration(self.core.delay.standing()),
            jitter: duration(self.core.delay.jitter()),
        }
    }

    fn set_limits(&mut self, target_bps: Option<f64>, min_bps: f64, now: Time) {
        self.core.set_limits(target_bps, min_bps);
        let rate = self.rate_bps();
        self.core.deliveries.set_rate(now, rate, false);
        self.note(now, Why::LimitsChanged);
    }

    fn loss_floor(&self) -> f64 {
        self.core.floor.get()
    }

    fn mode(&self) -> Mode {
        self.phase.mode()
    }

    fn failure(&self) -> Option<FlowError> {
        self.core
            .floor
            .broken()
            .map(|loss| FlowError::CircuitBreaker {
                delivered_percent: ((1.0 - loss) * 100.0).round() as u8,
            })
    }

    fn poll_trace(&mut self) -> Option<Decision> {
        self.trace.pop_front()
    }
}
