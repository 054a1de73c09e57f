use haul_wire::PacketNo;

use crate::{Mode, Time, Why};

use super::{
    Next, Phase,
    compete::Compete,
    deliveries::Measure,
    duration,
    law::{Core, View},
    seconds,
};

/// Share of the rate to send with during the experiment.
const DEPTH: f64 = 0.8;
/// Delivery that falls less than this did not follow the rate.
const FLAT: f64 = 0.92;
/// Where slowing down made no more than this of a difference to what arrives, the path was no
/// longer overloaded while it lasted.
const LIGHT_OVERLOAD: f64 = 1.1;
/// Share of the bandwidth that a policy which yields keeps each time others show.
const YIELDING: f64 = 0.8;
/// So many overloads in a row without growing are others' doing,
const OVERLOADS: u32 = 3;
/// unless they are further apart than this many seconds or round trips.
const OVERLOADS_WITHIN: (f64, f64) = (20.0, 100.0);
/// So many overflows in a row are others' doing
const OVERFLOWS: u32 = 3;
/// when they are this many periods apart, but no more seconds.
const OVERFLOWS_APART: (f64, f64) = (4.0, 40.0);
/// A queue that stayed although this sender yielded may be a newcomer's start-up, once;
const FILLER: f64 = 1.0;
/// one that went, and came back, may be peers that yield, a few times.
const PEERS: f64 = 0.2;
/// A queue so many times the target is longer than flows that yield leave it for long,
const DEEP: f64 = 3.0;
/// and says more.
const DEEP_FILLER: f64 = 1.5;
/// A queue that grew this much within the experiment is a newcomer's start-up.
const STARTED: f64 = 1.5;
/// From here on it is a flow that fills buffers.
const CERTAIN: f64 = 2.5;
/// Seconds after which a suspicion is forgotten.
const COMPANY_MEMORY: f64 = 30.0;
/// Standing delay above this is never taken for noise, seconds.
const NOISE_MAX: f64 = 0.040;
/// Excess loss that shrank to this share of itself at unchanged rate is over.
const TRANSIENT: f64 = 0.25;
/// An audit must tell two loss rates apart that differ by three times this.
const AUDIT_DEVIATION: f64 = 0.015;
/// A floor above this is audited as often as may be.
const AUDITED_OFTEN: f64 = 0.03;
/// Loss that this floor's noise could explain is no evidence.
const LOSS_MARGIN: f64 = 0.01;

/// The question that an experiment answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reason {
    /// More loss than the floor explains: one's own, or the path's?
    Loss {
        /// Whether the rate was being raised when it happened.
        growing: bool,
    },
    /// The queue stays although this sender yields: whose is it?
    Queue {
        /// Bandwidth before yielding, bits per second.
        before: f64,
    },
    /// Is the floor still independent of the rate?
    Audit,
}

impl Reason {
    /// Seconds to send slowly for: long enough for the path to answer, and for enough packets that
    /// the answer is not chance.
    fn lasts(self, core: &Core, control: &Measure) -> f64 {
        let floor = core.floor.get();
        let (periods, packets, most): (f64, f64, f64) = match self {
            Self::Queue { .. } => (3.5, 0.0, 0.0),
            Self::Audit => (1.2, floor * (1.0 - floor) / AUDIT_DEVIATION.powi(2), 1.5),
            Self::Loss { .. } => {
                // Three deviations between the two answers.
                let fall = (control.loss - floor)
                    .min(0.25 * (1.0 - control.loss))
                    .max(0.01);
                (
                    1.2,
                    10.0 * control.loss * (1.0 - control.loss) / fall.powi(2),
                    0.4,
                )
            }
        };
        let wanted = packets / (DEPTH * core.packet_rate());
        let evidence = wanted.min(most.max(4.0 * core.period));
        let noise = core.delay.smoothing().min(1.0);
        (periods * core.period).max(noise).max(evidence)
    }
}

/// What full rate did and what the dip did.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    control: Measure,
    dip: Measure,
}

impl Evidence {
    /// Did the share that arrived rise by more than half of what it would if the loss above
    /// `floor` were one's own? At light overload the loss falls back to the floor; at heavy
    /// overload it hardly moves, but then what arrives stays the same although less is sent.
    fn is_overload(&self, floor: f64) -> bool {
        let arrived = (1.0 - self.control.loss).max(0.001);
        let slower = self.control.sent / self.dip.sent.max(1.0);
        let expected = ((1.0 - floor) / arrived).min(slower.max(1.0));
        (1.0 - self.dip.loss) / arrived > 0.5 * (1.0 + expected)
    }

    /// Is the difference between the two more than chance?
    fn is_significant(&self) -> bool {
        let deviation = (self.control.variance() + self.dip.variance()).sqrt();
        self.control.loss - self.dip.loss > 3.0 * deviation
    }
}

/// Who else may be there, judging from queues that this sender had yielded to.
#[derive(Debug, Default)]
struct Company {
    score: f64,
    at: Time,
    /// Bandwidth before the first of them, bits per second.
    held: f64,
    /// When a queue that did not move was last taken for a longer route.
    rebased_at: Option<Time>,
}

impl Company {
    fn suspect(&mut self, now: Time, weight: f64, bandwidth: f64) {
        if seconds(now, self.at) > COMPANY_MEMORY {
            self.score = 0.0;
            self.held = 0.0;
        }
        self.at = now;
        self.score += weight;
        self.held = self.held.max(bandwidth);
    }
}

/// When experiments may be made.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    audit_at: Time,
    queue_at: Time,
    company: Company,
    /// Overloads in a row that were not due to growing, and when the last one was.
    overloads: (u32, Time),
    /// Buffers that overflowed in a row without this sender's doing, and when the last one did.
    overflows: (u32, Time),
    /// How often the last probes of the base delay in a row were too short.
    probe_doublings: u32,
}

impl Calendar {
    /// Whether the floor should be audited now.
    pub(super) fn audit_due(&self, now: Time) -> bool {
        now >= self.audit_at
    }

    /// The next audit comes that many seconds from now.
    pub(super) fn audit_in(&mut self, now: Time, seconds: f64) {
        self.audit_at = now + duration(seconds);
    }

    /// Whether a standing queue may be examined now.
    pub(super) fn queue_dip_allowed(&self, now: Time) -> bool {
        now >= self.queue_at
    }

    /// Factor on the length of a probe of the base delay.
    pub(super) fn probe_scale(&self) -> f64 {
        f64::from(1_u32 << self.probe_doublings)
    }

    /// A probe of the base delay ended.
    pub(super) fn probed(&mut self, emptied: bool) {
        self.probe_doublings = if emptied {
            0
        } else {
            (self.probe_doublings + 2).min(10)
        };
    }

    /// Notes an overload that was not due to growing; whether there have been several of late.
    fn overloaded_by_others(&mut self, now: Time, period: f64) -> bool {
        let (count, last) = self.overloads;
        let (least, periods) = OVERLOADS_WITHIN;
        let recent = seconds(now, last) < least.max(periods * period);
        let count = if recent { count + 1 } else { 1 };
        let many = count > OVERLOADS;
        self.overloads = (if many { 0 } else { count }, now);
        many
    }

    /// Notes a buffer that overflowed without this sender's doing; whether it did so a few times before,
    /// neither just now nor long ago. Less often, that may be newcomers who start up.
    pub(super) fn overflowed_before(&mut self, now: Time, period: f64) -> bool {
        let (count, last) = self.overflows;
        let apart = seconds(now, last);
        if count > 0 && apart < OVERFLOWS_APART.0 * period {
            return false;
        }
        let count = if apart < OVERFLOWS_APART.1 {
            count + 1
        } else {
            1
        };
        self.overflows = (count, now);
        count >= OVERFLOWS
    }

    /// The base delay has fallen. Soon after a longer route was found, there was none: the queue of
    /// somebody else had stood still for a moment.
    pub(super) fn base_fell(&mut self, now: Time, bandwidth: f64) {
        let rebased_at = self.company.rebased_at.take();
        if rebased_at.is_some_and(|at| seconds(now, at) < COMPANY_MEMORY) {
            self.company.suspect(now, FILLER, bandwidth);
        }
    }

    pub(super) fn no_queue_dip_for(&mut self, now: Time, seconds: f64) {
        self.queue_at = now + duration(seconds);
    }
}

/// How to go on from `core.bandwidth`.
enum Verdict {
    Track(Why),
    Compete { cut: bool, why: Why },
}

/// The deciding experiment: sends a fifth slower for a moment and looks whether delivery, loss and
/// delay follow, on exactly the packets sent slowly.
#[derive(Debug)]
pub(super) struct Dip {
    reason: Reason,
    until: Time,
    /// Largest packet heard of when it began: the packets from here to `first` were sent at full
    /// rate and not chosen for what became of them.
    heard: PacketNo,
    first: PacketNo,
    /// First packet after the dip; `None` while it lasts.
    end: Option<PacketNo>,
    /// What was measured at full rate.
    control: Measure,
    rate: f64,
    bandwidth: f64,
    queue: f64,
}

impl Dip {
    pub(super) fn begin(core: &mut Core, view: &View, reason: Reason, control: Measure) -> Next {
        let lasts = reason.lasts(core, &control);
        let dip = Self {
            reason,
            until: view.now + duration(lasts),
            heard: view.record.largest(),
            first: view.next_packet,
            end: None,
            control,
            rate: core.rate,
            bandwidth: core.bandwidth,
            queue: view.queue,
        };
        core.rate = DEPTH * dip.rate;
        if reason == Reason::Audit {
            let pause = (80.0 * core.period).max(8.0).max(60.0 * lasts);
            // The less it explains, the less can hide behind it.
            let rarer = (AUDITED_OFTEN / core.floor.get()).clamp(1.0, 3.0);
            core.calendar.audit_in(view.now, rarer * pause);
        }
        Next {
            phase: Phase::Dip(dip),
            why: match reason {
                Reason::Loss { .. } => Why::ExcessLoss,
                Reason::Queue { .. } => Why::QueueStays,
                Reason::Audit => Why::AuditBegins,
            },
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self.reason {
            Reason::Loss { .. } => Mode::DipLoss,
            Reason::Queue { .. } => Mode::DipQueue,
            Reason::Audit => Mode::DipAudit,
        }
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        if self.end.is_none() && view.now >= self.until {
            self.end = Some(view.next_packet);
        }
        let Some(end) = self.end else {
            core.rate = DEPTH * self.rate;
            return None;
        };
        core.rate = match self.reason {
            Reason::Audit => self.bandwidth,
            _ => 0.95 * self.rate.min(1.02 * self.bandwidth),
        };
        if view.record.largest() >= end {
            return Some(self.judge(core, view, end));
        }
        let patience = 6.0 * core.period + 30.0 * core.delay.jitter();
        (seconds(view.now, self.until) > patience).then(|| self.abandon(core, view))
    }

    fn abandon(&self, core: &mut Core, view: &View) -> Next {
        self.restore(core, view, 0.0);
        Next::track(view.now, Why::NoResult)
    }

    fn judge(&self, core: &mut Core, view: &View, end: PacketNo) -> Next {
        // The first sixth left while the pacer was still changing.
        let skip = end.0.saturating_sub(self.first.0) / 6;
        let first = PacketNo(self.first.0.saturating_add(skip));
        let Some(dip) = core
            .deliveries
            .packets(first, end)
            .filter(|dip| !dip.limited)
        else {
            return self.abandon(core, view);
        };
        core.floor.forget();
        let control = self.control(core);
        let verdict = match self.reason {
            Reason::Queue { before } if self.queue > 1.2 * view.target => {
                self.judge_queue(core, view, &dip, before)
            }
            Reason::Audit => {
                Verdict::Track(self.judge_audit(core, view, Evidence { control, dip }))
            }
            Reason::Loss { growing } => {
                let excess = self.control.loss - core.floor.get();
                if control.loss < core.floor.get() + TRANSIENT * excess {
                    self.restore(core, view, 1.0);
                    Verdict::Track(Why::LossWent)
                } else {
                    self.judge_loss(core, view, Evidence { control, dip }, growing)
                }
            }
            Reason::Queue { .. } => {
                self.restore(core, view, 1.0);
                Verdict::Track(Why::QueueWent)
            }
        };
        match verdict {
            Verdict::Track(why) => Next::track(view.now, why),
            Verdict::Compete { cut, why } => {
                let bandwidth = core.bandwidth;
                Compete::begin(core, view, bandwidth, cut, why)
            }
        }
    }

    /// What full rate did: preferably to the packets in flight when the dip began.
    fn control(&self, core: &Core) -> Measure {
        match core.deliveries.packets(self.heard, self.first) {
            Some(flying) if flying.limited || flying.packets < 10.0 => self.control,
            Some(flying)
                if flying.packets < 50.0 || 2.0 * flying.packets < self.control.packets =>
            {
                flying.and(&self.control)
            }
            Some(flying) => flying,
            None => self.control,
        }
    }

    fn judge_loss(
        &self,
        core: &mut Core,
        view: &View,
        evidence: Evidence,
        growing: bool,
    ) -> Verdict {
        let floor = core.floor.get();
        let Evidence { control, dip } = evidence;
        if !evidence.is_overload(floor) {
            core.floor
                .prove(0.5 * (control.loss + dip.loss), 0.8, dip.packets);
            core.delay.learn_noise(0.3);
            if core.floor.get() > floor + LOSS_MARGIN {
                let soon = (20.0 * core.period).max(1.0);
                core.calendar.audit_in(view.now, soon);
            }
            self.restore(core, view, 1.0);
            return Verdict::Track(Why::RandomLoss);
        }
        // The more packets the better: all of them met a full path.
        let seen = dip.delivered.max(control.and(&self.control).delivered);
        let found = (seen / (1.0 - floor)).min(self.bandwidth);
        if (1.0 - dip.loss) < LIGHT_OVERLOAD * (1.0 - control.loss) {
            core.floor.seen_below_capacity(dip.loss, dip.packets);
        }
        if self.queue > 0.5 * view.target {
            // The queue was there to be seen: from now on stop short of the end of the buffer.
            core.shorten_target(self.queue);
            core.settle(0.97 * found.max(0.97 * self.bandwidth), view);
            core.growth.hold(view.now, 2.0 * core.period);
            return Verdict::Track(Why::BufferShort);
        }
        let ceiling = core.growth.found_ceiling(view.now, found, core.period);
        core.settle(0.99 * ceiling, view);
        self.yield_more(core, view);
        if !growing && core.calendar.overloaded_by_others(view.now, core.period) && core.competes {
            let why = Why::OverloadByOthers;
            return Verdict::Compete { cut: true, why };
        }
        Verdict::Track(Why::Overload)
    }

    fn judge_audit(&self, core: &mut Core, view: &View, evidence: Evidence) -> Why {
        let floor = core.floor.get();
        let Evidence { control, dip } = evidence;
        let margin = (3.0 * dip.deviation(floor)).max(LOSS_MARGIN);
        let fell = dip.loss < floor - margin;
        let overload = evidence.is_overload(0.0) && evidence.is_significant();
        if !(fell || overload) {
            self.restore(core, view, 1.0);
            return Why::FloorStands;
        }
        core.floor.prove(dip.loss.min(floor), 1.0, dip.packets);
        let seen = dip.delivered.max(control.delivered);
        let found = (seen / (1.0 - core.floor.get())).min(self.bandwidth);
        core.settle(found, view);
        core.growth.hold(view.now, 3.0 * core.period);
        // A deep overload shows only a fifth of itself at a time.
        core.calendar.audit_in(view.now, 4.0 * core.period);
        Why::FloorTooHigh
    }

    fn judge_queue(&self, core: &mut Core, view: &View, dip: &Measure, before: f64) -> Verdict {
        let ratio = dip.delivered / self.control.delivered.max(1.0);
        let floor = core.floor.get();
        let no_loss = dip.loss < floor + LOSS_MARGIN;
        let moved = (view.queue - self.queue).abs();
        if ratio > FLAT {
            core.calendar.company = Company::default();
            core.bandwidth = dip.bandwidth(floor);
            core.rate = 0.85 * core.bandwidth;
            core.calendar.no_queue_dip_for(view.now, 10.0 * core.period);
            return Verdict::Track(Why::PathSlower);
        }
        if core.delay.is_noisy()
            && view.queue > 0.8 * self.queue
            && no_loss
            && self.queue < NOISE_MAX
        {
            core.delay.learn_noise(0.5);
            if core.target_queue() < view.queue {
                // Most packets are late by about as much, so that it hardly shows as jitter.
                core.delay.rebase(view.now);
            }
            core.settle(core.bandwidth.max(before), view);
            return Verdict::Track(Why::Noise);
        }
        let still = (0.04 * self.queue).max(0.0003).max(core.delay.roughness());
        if moved < still && no_loss && core.calendar.company.score < FILLER {
            core.calendar.company.rebased_at = Some(view.now);
            core.delay.rebase(view.now);
            core.bandwidth = core.bandwidth.max(before);
            core.rate = core.bandwidth;
            core.growth.hold(view.now, 2.0 * core.period);
            return Verdict::Track(Why::RouteChange);
        }
        self.restore(core, view, 0.0);
        let went = view.queue < 0.7 * self.queue || view.queue < 1.2 * view.target;
        // Those who fill a buffer do it slowly, but for their own start-up.
        let started = view.queue > STARTED * self.queue;
        let deep = view.queue.min(self.queue) > DEEP * view.target;
        let (weight, pause) = match (went, started, deep) {
            (true, ..) => (PEERS, 6.0),
            (_, true, _) => (PEERS, 20.0),
            (.., true) => (DEEP_FILLER, 8.0),
            _ => (FILLER, 20.0),
        };
        core.calendar.company.suspect(view.now, weight, before);
        core.calendar
            .no_queue_dip_for(view.now, pause * core.period);
        if core.calendar.company.score < CERTAIN {
            return Verdict::Track(if went {
                Why::PeersYield
            } else {
                // A newcomer's start-up looks the same, but only once.
                Why::QueueStayed
            });
        }
        let why = Why::BufferFiller;
        let held = std::mem::take(&mut core.calendar.company).held;
        let before = before.max(0.5 * held);
        if core.competes {
            core.bandwidth = core.bandwidth.max(before);
            return Verdict::Compete { cut: false, why };
        }
        self.yield_more(core, view);
        Verdict::Track(why)
    }

    /// Who does not stand up to others makes room for them.
    fn yield_more(&self, core: &mut Core, view: &View) {
        if !core.competes {
            let bandwidth = YIELDING * core.bandwidth;
            core.settle(bandwidth, view);
        }
    }

    /// Goes on as before, without growing for that many periods.
    fn restore(&self, core: &mut Core, view: &View, hold: f64) {
        core.bandwidth = self.bandwidth;
        core.rate = core.bandwidth;
        core.growth.hold(view.now, hold * core.period);
    }
}
