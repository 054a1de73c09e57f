use crate::{Time, Why};

use super::{
    Next, Phase,
    compete::Compete,
    deliveries::Measure,
    dip::{Dip, Reason},
    duration,
    law::{Core, PERIOD_MIN, View},
    marks::yield_to_mark,
    probe::ProbeBase,
    seconds,
};

/// The rate never falls below the bandwidth by more than this because of a queue.
const CUT_MAX: f64 = 0.25;
/// The base delay is probed when the queue has not been nearly empty for that long, seconds.
const PROBE_AFTER: f64 = 10.0;
/// Pacing rate relative to what a limited sender sends, at most.
const HEADROOM_WHEN_LIMITED: f64 = 3.0;
/// A limited sender of which less than this arrives fills a queue all the same.
const LAGGING: f64 = 0.97;
/// A queue that is longer than this many times the target is not this sender's alone.
const NOT_OURS: f64 = 1.5;
/// With a floor above this, single losses say nothing.
const CLEAN: f64 = 0.002;
/// With a floor below this, each loss says something.
const RARE: f64 = 5e-5;
/// A floor above this is audited.
const AUDITED_FLOOR: f64 = 0.01;

/// The steady state: keeps the queue at its target and the loss at its floor.
#[derive(Debug)]
pub(super) struct Track {
    since: Time,
    probe_at: Time,
    /// The base delay has just fallen: a probe is due whatever the queue seems to be.
    probe_soon: bool,
    above: Option<Above>,
}

/// A stretch of time in which the queue stayed above its target.
#[derive(Debug, Clone, Copy)]
struct Above {
    since: Time,
    /// Bandwidth when it began, and four periods later.
    bandwidth: f64,
    bandwidth_later: Option<f64>,
    peak: f64,
    /// Does the queue drain as it should? Judged in windows of four periods.
    window_since: Time,
    window_queue: f64,
    predicted: f64,
    strikes: u32,
}

impl Track {
    pub(super) fn new(now: Time) -> Self {
        Self {
            since: now,
            probe_at: now + duration(PROBE_AFTER),
            probe_soon: false,
            above: None,
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        if let Some(round) = &view.round
            && let Some(next) = self.on_round(core, view, round)
        {
            return Some(next);
        }
        let measure = view.measure?;
        if core.marks.is_due() {
            yield_to_mark(core, view);
        } else if measure.limited {
            self.above = None;
            while_limited(core, view, &measure);
        } else if view.queue > view.target {
            if let Some(next) = self.yield_to_queue(core, view, &measure) {
                return Some(next);
            }
        } else {
            self.above = None;
            rise(core, view, &measure);
        }
        if core.delay.base_fell() > view.target {
            core.calendar.base_fell(view.now, core.bandwidth);
            self.probe_soon = true;
            self.probe_at = view.now + duration(2.0 * core.period);
        } else if measure.limited || (view.queue < 0.15 * view.target && !self.probe_soon) {
            self.probe_at = view.now + duration(PROBE_AFTER);
        }
        (view.now > self.probe_at).then(|| Next {
            phase: Phase::ProbeBase(ProbeBase::new(core, view)),
            why: if self.probe_soon {
                Why::BaseFell
            } else {
                Why::NeverEmpty
            },
        })
    }

    fn on_round(&mut self, core: &mut Core, view: &View, round: &Measure) -> Option<Next> {
        if round.limited {
            // Too little is known of what was tried to experiment, but not to stop growing.
            if core
                .floor
                .watch(round, view.record, &core.deliveries)
                .is_some()
            {
                core.floor.forget();
                core.growth.hold(view.now, (4.0 * core.period).max(1.0));
            }
            return None;
        }
        let growing = core.growth.is_growing(view.now, core.period);
        let settled = seconds(view.now, self.since) > 2.5 * core.period;
        if settled
            && !growing
            && core.competes
            && overflowed_by_others(core, view, round)
            && core.calendar.overflowed_before(view.now, core.period)
        {
            let bandwidth = core.bandwidth;
            let why = Why::OverflowByOthers;
            return Some(Compete::begin(core, view, bandwidth, true, why));
        }
        let calm = view.queue < view.target;
        if core.floor.get() > AUDITED_FLOOR
            && core.calendar.audit_due(view.now)
            && view.queue < 1.5 * view.target
        {
            return Some(Dip::begin(core, view, Reason::Audit, *round));
        }
        let excess = core.floor.watch(round, view.record, &core.deliveries);
        if let Some(control) = excess
            && seconds(view.now, self.since) > 1.2 * core.period
        {
            return Some(Dip::begin(core, view, Reason::Loss { growing }, control));
        }
        if !core.floor.is_suspicious() {
            core.buffer_held(view.queue);
        }
        if calm {
            core.floor.follow(round);
        }
        if view.fill() < 0.75 && !core.floor.is_suspicious() {
            let step = core.growth_step(view.target);
            core.growth.on_clear_round(view.now, core.bandwidth, step);
        } else {
            core.growth.calm();
        }
        None
    }

    /// Too much queue: follows the delivery rate and sends less by as much as drains the excess
    /// within the correction time.
    fn yield_to_queue(&mut self, core: &mut Core, view: &View, measure: &Measure) -> Option<Next> {
        let shown = measure.bandwidth(core.floor.get());
        let step = (view.elapsed / core.period).min(1.0);
        core.bandwidth += step * (shown - core.bandwidth);
        core.growth.calm();
        let cut = ((view.queue - view.target) / core.correction_time()).min(CUT_MAX);
        core.rate = core.bandwidth * (1.0 - cut);

        let above = self.above.get_or_insert_with(|| Above::new(core, view));
        let stands = above.on_report(core, view, cut);
        if !(stands && core.calendar.queue_dip_allowed(view.now)) {
            return None;
        }
        let before = above.bandwidth;
        Some(Dip::begin(core, view, Reason::Queue { before }, *measure))
    }
}

/// Where losses are rare, a loss that comes with the longest queue there has been, while this sender
/// was not growing, is a buffer that others have filled. Each of them is below what a watch for
/// excess could see, and each makes a CUBIC flow cut.
fn overflowed_by_others(core: &Core, view: &View, round: &Measure) -> bool {
    let floor = core.floor.get();
    let noise = if floor > RARE {
        3.0 * round.deviation(floor) * round.packets
    } else {
        0.0
    };
    floor < CLEAN
        && (round.loss - floor) * round.packets >= noise.max(0.9)
        && view.round_peak > NOT_OURS * view.target
        && core.delay.is_exceptional(view.round_peak)
}

/// No queue to speak of: the bandwidth is at least what was sent, and a little more is tried.
fn rise(core: &mut Core, view: &View, measure: &Measure) {
    let mut gain = core.growth.gain(view.now);
    let before = core.bandwidth;
    core.raise_bandwidth(measure);
    if gain == 0.0 {
        // At rest the largest of many measures would creep up.
        let ceiling = core.growth.ceiling().unwrap_or(before);
        core.bandwidth = core.bandwidth.min(ceiling.max(before));
    }
    if view.fill() > 0.25 {
        let room = (view.target - view.queue).max(0.0) / core.correction_time();
        gain = gain.min(room + 0.002);
    }
    core.rate = core.bandwidth * (1.0 + gain);
    if gain > 0.0 {
        core.growth.grew(view.now);
    }
}

/// The measure says what the source had, not what the path can carry: only ever good news,
/// unless less arrives than is sent and it shows in the queue.
fn while_limited(core: &mut Core, view: &View, measure: &Measure) {
    let before = core.rate;
    let shown = measure.bandwidth(core.floor.get());
    if view.queue > 2.0 * view.target && shown < LAGGING * measure.sent {
        // The pacing rate at which what is really sent would just fit.
        let fits = shown / measure.used.clamp(0.1, 1.0);
        let step = (view.elapsed / core.period).min(1.0);
        core.bandwidth += step * (fits - core.bandwidth).min(0.0);
        core.rate = core.bandwidth;
        return;
    }
    rise(core, view, measure);
    // On a short path the limit is a host that is not always there. Keeps the pacer from being the
    // next one, so that what was missed can be made good. A slow source on a long path would come
    // back with a round trip of overload.
    let clear = view.queue < view.target && core.growth.gain(view.now) > 0.0;
    if core.srtt < PERIOD_MIN && clear {
        let step = 0.25 * view.elapsed / core.period;
        let wanted = (before * (1.0 + step)).min(HEADROOM_WHEN_LIMITED * measure.sent);
        core.rate = core.rate.max(wanted);
    }
}

impl Above {
    fn new(core: &Core, view: &View) -> Self {
        Self {
            since: view.now,
            bandwidth: core.bandwidth,
            bandwidth_later: None,
            peak: 0.0,
            window_since: view.now,
            window_queue: view.queue,
            predicted: 0.0,
            strikes: 0,
        }
    }

    /// Notes one report; whether the queue refuses to go although this sender yields.
    fn on_report(&mut self, core: &Core, view: &View, cut: f64) -> bool {
        self.peak = self.peak.max(view.queue);
        let age = seconds(view.now, self.since) / core.period;
        if age > 4.0 && self.bandwidth_later.is_none() {
            self.bandwidth_later = Some(core.bandwidth);
        }
        if age > 1.5 {
            self.predicted += view.elapsed * cut;
        }
        let judged = seconds(view.now, self.window_since) > 4.0 * core.period;
        if judged && self.predicted > 0.5 * view.target {
            if self.window_queue - view.queue < 0.4 * self.predicted {
                self.strikes += 1;
            } else {
                self.strikes = 0;
            }
            self.window_since = view.now;
            self.window_queue = view.queue;
            self.predicted = 0.0;
        }
        let standing = view.queue > (1.5 * view.target).max(0.5 * self.peak);
        let giving_way = self
            .bandwidth_later
            .is_some_and(|later| core.bandwidth < 0.92 * later);
        (age > 8.0 && standing && giving_way)
            || (self.strikes >= 2 && view.queue > 1.3 * view.target)
            || (age > 16.0 && standing)
    }
}
