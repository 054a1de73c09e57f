use haul_wire::PacketNo;

use crate::{RateConfig, Sample, Time, random::Random};

use super::{
    delay::Delay,
    deliveries::{Deliveries, Measure, Record},
    dip::Calendar,
    floor::LossFloor,
    growth::Growth,
    marks::Marks,
};

/// Queue target at [`REFERENCE_RATE`], seconds.
const TARGET_AT_REFERENCE: f64 = 0.004;
/// Bits per second.
const REFERENCE_RATE: f64 = 100e6;
const STEP_AT_REFERENCE: f64 = 0.02;
const STEP_MIN: f64 = 0.002;
const STEP_MAX: f64 = 0.08;
const BUFFER_SHARE_MIN: f64 = 0.15;
/// Share of the queue at which a buffer overflowed that is safe to aim at.
const ROOM_BELOW_OVERFLOW: f64 = 0.7;
/// A queue this much longer than the one that overflowed refutes it.
const HELD_BEYOND_OVERFLOW: f64 = 1.1;
/// Seconds after which a shortened queue target is whole again.
const BUFFER_MEMORY: f64 = 100.0;
/// Bits per second; faster than any path.
const RATE_MAX: f64 = 1e15;
const TARGET_MIN: f64 = 0.00025;
const TARGET_MAX: f64 = 0.025;
/// A shorter round trip does not raise the least rate, seconds: a slow path may be short.
const RTT_LEAST: f64 = 0.050;
/// Packets per round trip that are sent whatever happens.
const WINDOW_MIN: f64 = 2.0;
/// Packets in the first round trip. RFC 6928 says ten, sent at once; these are paced over the round
/// trip, and each doubling saved is a round trip less of start-up.
const WINDOW_INITIAL: f64 = 32.0;
/// From this round trip on, seconds, start-up hurries. The first window grows, up to two and a half
/// times that at a quarter more: what the bottleneck feels is the rate, and that is no higher than on a
/// shorter path.
pub(super) const LONG_PATH: f64 = 0.150;
/// A shorter round trip does not make the beginning any faster, seconds.
const RTT_INITIAL_MIN: f64 = 0.001;
/// No law works on less time than this: on shorter paths processors, not queues, make the delay.
pub(super) const PERIOD_MIN: f64 = 0.010;
/// Longer round trips than this are not believed.
const PERIOD_MAX: f64 = 10.0;

/// What all states share: the senses, the estimates, and the rate they decide.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) weight: f64,
    /// Whether to stand up to flows that fill buffers.
    pub(super) competes: bool,
    target_bps: f64,
    min_bps: f64,
    pub(super) segment_bits: f64,
    /// Smoothed round-trip time, seconds.
    pub(super) srtt: f64,
    /// One step of the control law: the round trip, but no less than [`PERIOD_MIN`]. Seconds.
    pub(super) period: f64,
    /// Sending rate that fills the path, bits per second (losses included).
    pub(super) bandwidth: f64,
    /// Packets before this one were sent at rates that an experiment found too high.
    distrusted: PacketNo,
    /// Largest recent bandwidth, forgotten over half a minute.
    best: f64,
    /// Share of the queue target that the path's buffer has room for.
    buffer_share: f64,
    /// Queue at which the buffer is thought to overflow, seconds.
    overflow: f64,
    /// Pacing rate, bits per second.
    pub(super) rate: f64,
    pub(super) delay: Delay,
    pub(super) deliveries: Deliveries,
    pub(super) floor: LossFloor,
    pub(super) growth: Growth,
    pub(super) calendar: Calendar,
    pub(super) random: Random,
    /// What the path carried before, where its round trip is about the same: bits per second.
    pub(super) resumed: Option<f64>,
    pub(super) marks: Marks,
}

/// What one report shows, as the states need it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) now: Time,
    /// Seconds since the last report, no more than a period.
    pub(super) elapsed: f64,
    pub(super) record: Record,
    pub(super) next_packet: PacketNo,
    /// The last period or so.
    pub(super) measure: Option<Measure>,
    /// The round that this report completed, if it did.
    pub(super) round: Option<Measure>,
    /// Longest queue of any report of that round, seconds; 0 where there is none.
    pub(super) round_peak: f64,
    /// Standing queue and its target, seconds.
    pub(super) queue: f64,
    pub(super) target: f64,
    /// What of both may be noise, seconds.
    noise: f64,
}

impl View {
    /// How full the queue is: 1 at its target; 0 or less where all of the delay may be noise.
    pub(super) fn fill(&self) -> f64 {
        (self.queue - self.noise) / (self.target - self.noise)
    }
}

impl Core {
    pub(super) fn new(config: RateConfig, weight: f64, competes: bool) -> Self {
        let srtt = config.initial_rtt.as_secs_f64().clamp(1e-4, PERIOD_MAX);
        let segment_bits = config.segment_len.max(1) as f64 * 8.0;
        let mut core = Self {
            weight,
            competes,
            target_bps: config.target_bps.unwrap_or(f64::MAX),
            min_bps: config.min_bps,
            segment_bits,
            srtt,
            period: srtt.max(PERIOD_MIN),
            bandwidth: 0.0,
            distrusted: PacketNo(0),
            best: 0.0,
            buffer_share: 1.0,
            overflow: f64::MAX,
            rate: 0.0,
            delay: Delay::default(),
            deliveries: Deliveries::new(config.now, 0.0, config.segment_len),
            floor: LossFloor::new(),
            growth: Growth::new(config.seed),
            calendar: Calendar::default(),
            random: Random::new(config.seed.rotate_left(32)),
            resumed: config
                .remembered
                .filter(|remembered| is_like(srtt, remembered.min_rtt.as_secs_f64()))
                .map(|remembered| remembered.rate_bps),
            marks: Marks::default(),
        };
        core.rate = core.initial_rate();
        core.deliveries = Deliveries::new(config.now, core.rate, config.segment_len);
        core
    }

    /// The path is another: its delay is unknown, its capacity perhaps what it was.
    pub(super) fn forget_path(&mut self) {
        self.delay = Delay::default();
        self.deliveries.restart();
        self.floor.forget();
        self.growth.forget();
        self.buffer_share = 1.0;
        self.overflow = f64::MAX;
        self.bandwidth = 0.0;
        self.best = 0.0;
        self.rate = self.initial_rate();
    }

    /// What to begin with when nothing is known.
    fn initial_rate(&self) -> f64 {
        let window = WINDOW_INITIAL * (6.0 * self.srtt / LONG_PATH - 5.0).clamp(1.0, 2.5);
        self.limited(window * self.segment_bits / self.srtt.max(RTT_INITIAL_MIN))
    }

    /// Takes in the delays of a report.
    pub(super) fn sense(&mut self, sample: &Sample) {
        self.srtt = sample.srtt.as_secs_f64().clamp(1e-6, PERIOD_MAX);
        self.period = self.srtt.max(PERIOD_MIN);
        self.segment_bits = sample.segment_len.max(1) as f64 * 8.0;
        self.delay.on_sample(sample);
        self.marks.on_sample(sample);
    }

    /// Seconds of reports worth remembering: the longest experiment and its control.
    pub(super) fn memory(&self) -> f64 {
        12.0 * self.period + 40.0 * self.delay.jitter() + 2.0
    }

    /// Packets per second at the present rate.
    pub(super) fn packet_rate(&self) -> f64 {
        (self.rate / self.segment_bits).max(1.0)
    }

    pub(super) fn view(
        &mut self,
        sample: &Sample,
        record: Record,
        gap: f64,
        round: Option<Measure>,
    ) -> View {
        let elapsed = gap.min(self.period);
        self.buffer_share = (self.buffer_share + elapsed / BUFFER_MEMORY).min(1.0);
        self.best = (self.best * (1.0 - (elapsed / 30.0).min(0.5))).max(self.bandwidth);
        let window = self.period.max(self.delay.smoothing());
        View {
            now: sample.now,
            elapsed,
            record,
            next_packet: sample.next_packet,
            measure: self.deliveries.last(window),
            round_peak: round.map_or(0.0, |_| self.delay.take_round_peak()),
            round,
            queue: self.delay.standing(),
            target: self.target_queue(),
            noise: self.delay.noise(),
        }
    }

    /// The standing queue to aim at, seconds.
    pub(super) fn target_queue(&self) -> f64 {
        let ceiling = TARGET_MAX.min((0.5 * self.srtt).max(0.001));
        let target = (self.buffer_share * self.whole_target()).max(TARGET_MIN);
        target.min(ceiling) + self.delay.noise()
    }

    /// What the target would be with any amount of buffer and no noise: shrinks with the square
    /// root of the rate (Swift), so that flows in one queue rest only at equal rates.
    fn whole_target(&self) -> f64 {
        let rate = self.bandwidth.max(0.4 * self.best);
        let rate = rate.max(0.3 * self.rate).max(1e5);
        TARGET_AT_REFERENCE * (REFERENCE_RATE / rate * self.weight).sqrt()
    }

    /// The buffer overflowed at `queue` seconds, short of the target: aims below that from now on.
    ///
    /// Kept as a factor, so that the targets of flows with different rates stay apart. It grows
    /// back by addition: flows that overflow one buffer become equal.
    pub(super) fn shorten_target(&mut self, queue: f64) {
        let room = (ROOM_BELOW_OVERFLOW * queue - self.delay.noise()).max(0.0);
        let share = (room / self.whole_target()).max(BUFFER_SHARE_MIN);
        self.buffer_share = self.buffer_share.min(share);
        self.overflow = queue;
    }

    /// A round passed with this queue and no loss to speak of: so the buffer has room for it, unless
    /// it is one that marks instead of dropping.
    pub(super) fn buffer_held(&mut self, queue: f64) {
        if queue > HELD_BEYOND_OVERFLOW * self.overflow && !self.marks.has_any() {
            self.buffer_share = 1.0;
            self.overflow = f64::MAX;
        }
    }

    /// First relative step of growth: shrinks with the square root of the rate (with
    /// multiplicative cuts that is a binomial algorithm, which converges also where no delay
    /// tells; Bansal and Balakrishnan, 2001), and two of them fill no more than the queue target.
    pub(super) fn growth_step(&self, target: f64) -> f64 {
        let step = STEP_AT_REFERENCE * (REFERENCE_RATE / self.bandwidth.max(1e5)).sqrt();
        step.clamp(STEP_MIN, STEP_MAX)
            .min((0.35 * target / self.period).max(STEP_MIN))
    }

    /// An experiment found this bandwidth: what was sent before, faster, is no evidence any more.
    pub(super) fn settle(&mut self, bandwidth: f64, view: &View) {
        self.bandwidth = bandwidth;
        self.rate = bandwidth;
        self.distrusted = view.next_packet;
    }

    /// Raises the bandwidth to what was sent and arrived.
    pub(super) fn raise_bandwidth(&mut self, measure: &Measure) {
        if measure.first >= self.distrusted {
            let shown = measure.sent.min(measure.bandwidth(self.floor.get()));
            self.bandwidth = self.bandwidth.max(shown);
        }
    }

    /// Time in which the law corrects a wrong queue, seconds: 2.2 periods keep the phase margin
    /// with one period of dead time.
    pub(super) fn correction_time(&self) -> f64 {
        (2.2 * self.period).max(0.02)
    }

    /// The ceiling the user set, bits per second.
    pub(super) fn ceiling(&self) -> f64 {
        self.target_bps
    }

    pub(super) fn set_limits(&mut self, target_bps: Option<f64>, min_bps: f64) {
        self.target_bps = target_bps.unwrap_or(f64::MAX);
        self.min_bps = min_bps;
        self.bound();
    }

    /// The rate to pace with: `rate` within the limits, sane whatever came in.
    pub(super) fn limited(&self, rate: f64) -> f64 {
        let rate = if rate.is_finite() { rate } else { self.best };
        let least = WINDOW_MIN * self.segment_bits / self.srtt.max(RTT_LEAST);
        let rate = (rate * self.floor.damping()).max(least).max(self.min_bps);
        rate.min(self.target_bps).min(RATE_MAX)
    }

    /// Keeps what a state decided within sane bounds.
    pub(super) fn bound(&mut self) {
        let sane = |rate: f64, otherwise: f64| {
            if rate.is_finite() {
                rate.clamp(0.0, RATE_MAX)
            } else {
                otherwise
            }
        };
        self.bandwidth = sane(self.bandwidth, self.best);
        self.rate = sane(self.rate, self.bandwidth).min(self.target_bps);
    }
}

/// Whether two round trips may be the same path's (Careful Resume: between half and twice).
pub(super) fn is_like(rtt: f64, remembered: f64) -> bool {
    (0.5 * remembered..=2.0 * remembered).contains(&rtt)
}
