use haul_wire::PacketNo;

use crate::{Time, Why};

use super::{
    Next, Phase,
    deliveries::Measure,
    dip::{Dip, Reason},
    duration,
    law::{Core, View},
    seconds,
};

/// CUBIC's constant, packets per cubic second (RFC 9438, section 5).
const C: f64 = 0.4;
/// What CUBIC gives up at a loss: 1 - beta (RFC 9438, section 4.6).
const CUT: f64 = 0.3;
/// Additive increase that makes CUBIC's Reno estimate as fast as Reno: 3·(1-beta)/(1+beta).
const RENO: f64 = 0.53;
/// How many CUBIC flows a fair flow stands for: a paced flow that cuts once a round trip gets less
/// than its share of a full buffer.
const FLOWS: f64 = 1.4;
/// Loss above a floor that is nothing to speak of: each lost packet counts, as it does for TCP.
const CLEAN: f64 = 0.001;
/// Share of the rate to send with while looking whether anybody else is there.
const DEPTH: f64 = 0.8;
/// Delivery that falls less than this did not follow the rate: nobody took what was left free.
const FLAT: f64 = 0.94;
/// So many looks in a row that found nobody make sure.
const LOOKS: u32 = 2;
/// Share of the bandwidth that was had before yielding to listen with.
const LISTENING_SHARE: f64 = 0.95;
/// Share of the rate to send with while several flows that compete give each other a chance to see
/// the queue empty.
const YIELD: f64 = 0.5;
/// Seconds between two of these.
const YIELD_EVERY: f64 = 10.0;

/// Company that fills buffers: a queue of its length is no sign to yield to, so the rate follows the
/// window that CUBIC (RFC 9438) would have in this place, until nobody is there any more.
///
/// Only loss above the floor cuts, once a round trip, and only where a queue says that it is
/// congestion.
#[derive(Debug)]
pub(super) struct Compete {
    since: Time,
    /// Bits in flight.
    window: f64,
    /// Window before the last cut, in bits.
    window_max: f64,
    /// Reno's window since the last cut, in bits.
    reno: f64,
    /// When the last cut was.
    epoch: Time,
    /// Packets from here on were sent after the last cut.
    cut_at: PacketNo,
    yielded_at: Time,
    yields_until: Time,
    /// Bandwidth before the last yield, bits per second.
    share: f64,
    look: Look,
    listening: Option<Listening>,
    /// Seconds to compete before listening.
    listen_after: f64,
}

/// Holds the rate still to see whether anything happens.
#[derive(Debug, Clone, Copy)]
struct Listening {
    until: Time,
    rate: f64,
}

/// Looks at random times, never at a loss: others cut then, too.
#[derive(Debug)]
struct Look {
    next_at: Time,
    found_nobody: u32,
    running: Option<Running>,
}

/// A look: sends a fifth slower for a round trip and sees whether less arrives.
#[derive(Debug, Clone, Copy)]
struct Running {
    until: Time,
    delivered: f64,
    first: PacketNo,
    /// First packet after it; `None` while it lasts.
    end: Option<PacketNo>,
}

impl Compete {
    /// From this bandwidth on, after a cut if it was a loss that told.
    pub(super) fn begin(core: &mut Core, view: &View, bandwidth: f64, cut: bool, why: Why) -> Next {
        let window = bandwidth * core.srtt;
        let after = if cut {
            window * (1.0 - CUT / flows(core))
        } else {
            window
        };
        let mut compete = Self {
            since: view.now,
            window: after,
            window_max: window,
            reno: after,
            epoch: view.now,
            cut_at: view.next_packet,
            yielded_at: view.now,
            yields_until: Time::ZERO,
            look: Look {
                next_at: view.now,
                found_nobody: 0,
                running: None,
            },
            share: bandwidth,
            listening: None,
            listen_after: YIELD_EVERY,
        };
        compete.look.next_in(core, view.now, (4.0, 20.0));
        core.rate = after / core.srtt;
        Next {
            phase: Phase::Compete(compete),
            why,
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening.is_some()
    }

    pub(super) fn step(&mut self, core: &mut Core, view: &View) -> Option<Next> {
        let measure = view.measure?;
        let shown = measure.delivered / (1.0 - core.floor.get());
        let step = (view.elapsed / core.period).min(1.0);
        core.bandwidth += step * (shown - core.bandwidth);
        if let Some(listening) = self.listening {
            return self.listen(core, view, listening);
        }
        if let Some(round) = &view.round
            && let Some(next) = self.on_round(core, view, round)
        {
            return Some(next);
        }
        if !measure.limited {
            self.grow(core, view);
        }
        core.rate = self.window / core.srtt;
        if view.now < self.yields_until {
            core.rate *= YIELD;
        }
        self.look(core, view, &measure);
        if self.look.found_nobody >= LOOKS {
            core.bandwidth = shown;
            core.rate = 0.9 * shown;
            core.calendar.no_queue_dip_for(view.now, 10.0 * core.period);
            return Some(Next::track(view.now, Why::LookedAlone));
        }
        self.maybe_listen(core, view);
        None
    }

    /// Loss above the floor cuts the window; without a queue it is no congestion. A mark of congestion
    /// cuts it, too.
    fn on_round(&mut self, core: &mut Core, view: &View, round: &Measure) -> Option<Next> {
        let floor = core.floor.get();
        let deviation = round.deviation(floor);
        let excess = round.loss - floor;
        let lost = excess * round.packets;
        let marked = core.marks.is_due();
        let event = if marked {
            true
        } else if floor < CLEAN {
            lost >= 0.9
        } else {
            let is_high = view.queue > view.target && view.round_peak > 0.5 * core.delay.peak();
            excess > (3.0 * deviation).max(0.01)
                || (is_high && excess > 2.0 * deviation && lost >= 2.0)
        };
        if !event {
            if floor >= CLEAN && excess < 3.0 * deviation {
                core.floor.follow(round);
            }
            return None;
        }
        if round.first < self.cut_at {
            return None;
        }
        if !marked && view.round_peak < low_queue(view.target) {
            core.bandwidth = self.window / core.srtt;
            core.rate = core.bandwidth;
            return Some(Dip::begin(
                core,
                view,
                Reason::Loss { growing: false },
                *round,
            ));
        }
        let beta = 1.0 - CUT / flows(core);
        // Fast convergence (RFC 9438, section 4.7).
        self.window_max = if self.window < self.window_max {
            self.window * (1.0 + beta) / 2.0
        } else {
            self.window
        };
        self.window *= beta;
        self.reno = self.window;
        self.epoch = view.now;
        self.cut_at = view.next_packet;
        core.marks.answered(view.next_packet);
        if seconds(view.now, self.yielded_at) > YIELD_EVERY.max(100.0 * core.srtt) {
            self.yielded_at = view.now;
            self.share = core.bandwidth;
            self.yields_until = view.now + duration(3.0 * core.srtt);
        }
        None
    }

    /// RFC 9438, sections 4.2 and 4.3, for several flows at once.
    fn grow(&mut self, core: &Core, view: &View) {
        let flows = flows(core);
        let packet = core.segment_bits;
        let window_max = self.window_max / packet;
        let k = (window_max * (CUT / flows) / (C * flows)).cbrt();
        let t = seconds(view.now, self.epoch) + core.srtt;
        let cubic = (C * flows * (t - k).powi(3) + window_max) * packet;
        let round_trips = view.elapsed / core.srtt;
        self.reno += flows * RENO * packet * round_trips;
        let target = cubic.max(self.reno).min(1.5 * self.window);
        if target > self.window {
            self.window += (target - self.window) * round_trips.min(1.0);
        }
    }

    fn look(&mut self, core: &mut Core, view: &View, measure: &Measure) {
        let since_cut = seconds(view.now, self.epoch) / core.srtt;
        let Some(running) = &mut self.look.running else {
            let settled = since_cut > 6.0
                && view.now > self.yields_until + duration(4.0 * core.srtt)
                && view.queue > 1.3 * view.target;
            if view.now > self.look.next_at && settled && !measure.limited {
                self.look.running = Some(Running {
                    until: view.now + duration(1.2 * core.srtt),
                    delivered: measure.delivered,
                    first: view.next_packet,
                    end: None,
                });
            }
            return;
        };
        if running.end.is_none() && view.now >= running.until {
            running.end = Some(view.next_packet);
        }
        let Some(end) = running.end else {
            core.rate *= DEPTH;
            return;
        };
        if view.record.largest() < end {
            return;
        }
        let skip = end.0.saturating_sub(running.first.0) / 6;
        let first = PacketNo(running.first.0.saturating_add(skip));
        let slow = core.deliveries.packets(first, end);
        let flat = slow.is_some_and(|slow| {
            !slow.limited && slow.delivered > FLAT * running.delivered && view.queue > view.target
        });
        self.look.running = None;
        if flat {
            self.look.found_nobody += 1;
            self.look.next_at = view.now + duration(3.0 * core.srtt);
        } else {
            self.look.found_nobody = 0;
            self.look.next_in(core, view.now, (8.0, 60.0));
        }
    }

    /// The queue is gone: those who filled it may be, too.
    fn maybe_listen(&mut self, core: &mut Core, view: &View) {
        let age = seconds(view.now, self.since);
        let has_yielded = self.yields_until > Time::ZERO
            && view.now < self.yields_until + duration(2.0 * core.srtt);
        let long = age > self.listen_after.max(40.0 * core.srtt);
        if view.queue < view.target && age > 8.0 * core.srtt && (has_yielded || long) {
            let packets = core.bandwidth * core.srtt / core.segment_bits;
            let lasts = (20.0 * core.srtt)
                .max((0.75 * packets).cbrt())
                .clamp(1.0, 10.0);
            // A window that was filled up to the end of the buffer is too much without one.
            let rate = (self.window / core.srtt).min(LISTENING_SHARE * self.share);
            self.listening = Some(Listening {
                until: view.now + duration(lasts),
                rate,
            });
            self.yields_until = Time::ZERO;
            core.rate = rate;
        }
    }

    /// Holds the rate: whoever fills the buffer will show.
    fn listen(&mut self, core: &mut Core, view: &View, listening: Listening) -> Option<Next> {
        core.rate = listening.rate;
        if let Some(round) = &view.round {
            let floor = core.floor.get();
            let loses = round.loss - floor > (3.0 * round.deviation(floor)).max(0.004);
            if loses || view.queue > view.target {
                self.window_max = self.window_max.max(self.window);
                self.epoch = view.now;
                self.since = view.now;
                self.reno = self.window;
                self.listening = None;
                self.listen_after = (2.0 * self.listen_after).min(120.0);
                return None;
            }
        }
        (view.now > listening.until).then(|| {
            core.bandwidth = core.rate;
            Next::track(view.now, Why::NobodyFills)
        })
    }
}

impl Look {
    /// The next look comes after this many seconds or round trips, or up to twice that.
    fn next_in(&mut self, core: &mut Core, now: Time, (least, round_trips): (f64, f64)) {
        let stretch = 1.0 + core.random.unit();
        self.next_at = now + duration(least.max(round_trips * core.srtt) * stretch);
    }
}

/// A queue shorter than this, seconds, is none that a loss could be due to.
pub(super) fn low_queue(target: f64) -> f64 {
    (0.25 * target).max(0.0004)
}

/// How many CUBIC flows this one stands for.
fn flows(core: &Core) -> f64 {
    FLOWS * core.weight
}
