use std::{collections::VecDeque, time::Duration};

use crate::{Sample, Time};

use super::seconds;

/// A base delay lives that long: shorter loses it under a competitor's standing queue.
const BUCKETS: u64 = 15;
const BUCKET: Duration = Duration::from_secs(2);
/// Anything above is a clock that jumped, not a queue.
const QUEUE_MAX: f64 = 10.0;
/// How much larger second differences of noise are than first ones, on average: √3 where each delay is
/// drawn by itself, less where they wander.
const SECOND_DIFFERENCES: f64 = 1.6;
/// Weight of one difference in the jitter average.
const JITTER_GAIN: f64 = 1.0 / 64.0;
/// Senders that share a queue make no more jitter than this, seconds: what is above it is the path's.
const WILD: f64 = 0.001;
/// A measure over so many mean differences says more of the path than of its jitter.
const SMOOTHING: f64 = 12.0;
/// Below this, delay differences come from the queue itself, not from a noisy path.
const NOISY: f64 = 0.0005;

/// How much of the longest queue is forgotten with each report.
const PEAK_FADE: f64 = 0.0005;
/// Relative step of the running median with each report.
const MEDIAN_STEP: f64 = 0.002;

/// Least value of the last 30 seconds.
#[derive(Debug, Default)]
struct Base {
    /// (number of the bucket, least value in nanoseconds), oldest first.
    buckets: VecDeque<(u64, i64)>,
}

impl Base {
    /// Notes a value and returns its distance to the base in seconds.
    fn note(&mut self, now: Time, value: i64) -> f64 {
        let bucket = now.0 / super::nanos(BUCKET);
        match self.buckets.back_mut() {
            Some((last, least)) if *last >= bucket => *least = value.min(*least),
            _ => self.buckets.push_back((bucket, value)),
        }
        while self
            .buckets
            .front()
            .is_some_and(|(first, _)| first + BUCKETS < bucket)
        {
            self.buckets.pop_front();
        }
        value.saturating_sub(self.min()).max(0) as f64 * 1e-9
    }

    fn min(&self) -> i64 {
        self.buckets
            .iter()
            .map(|(_, least)| *least)
            .min()
            .unwrap_or(0)
    }

    /// The path has become longer by that much: what was seen before no longer counts.
    fn raise(&mut self, now: Time, by: f64) {
        let base = self.min().saturating_add((by * 1e9) as i64);
        self.buckets.clear();
        self.buckets.push_back((now.0 / super::nanos(BUCKET), base));
    }
}

/// How long packets wait in queues, as far as delays tell.
///
/// Two views of the same queue: one-way delay is free of the reverse path's queue, round-trip time
/// is free of the drift between the two clocks. The lesser of both is free of both.
#[derive(Debug, Default)]
pub(super) struct Delay {
    one_way: Base,
    round_trip: Base,
    /// Queueing delays of the last half round trip.
    recent: VecDeque<(Time, f64)>,
    queue: f64,
    /// Difference of the last two, seconds.
    slope: f64,
    samples: u32,
    /// By how much the base has fallen since anybody asked, seconds.
    fell: f64,
    /// Mean difference of two delays in a row,
    jitter: f64,
    /// and what of it is no trend: a queue that grows or drains does not jump about.
    roughness: f64,
    noise: f64,
    range: Range,
}

/// Where queueing delays have moved of late, seconds.
#[derive(Debug, Default)]
struct Range {
    /// Longest of the present round.
    round_peak: f64,
    /// Longest, slowly forgotten.
    peak: f64,
    /// As many were above as below.
    median: f64,
}

impl Range {
    fn note(&mut self, queue: f64) {
        self.round_peak = self.round_peak.max(queue);
        self.peak = (self.peak * (1.0 - PEAK_FADE)).max(queue);
        let step = MEDIAN_STEP * self.median.max(NOISY);
        self.median += if queue > self.median { step } else { -step };
    }
}

impl Delay {
    /// Takes in the delays of one report.
    pub(super) fn on_sample(&mut self, sample: &Sample) {
        let base = self.one_way.min();
        let known = self.samples > 0;
        let one_way = sample
            .min_owd_ns
            .map(|owd| self.one_way.note(sample.now, owd));
        if known {
            self.fell += base.saturating_sub(self.one_way.min()).max(0) as f64 * 1e-9;
        }
        let round_trip = sample.latest_rtt.map(|rtt| {
            let rtt = i64::try_from(rtt.as_nanos()).unwrap_or(i64::MAX);
            self.round_trip.note(sample.now, rtt)
        });
        let queue = match (one_way, round_trip) {
            (Some(one_way), Some(round_trip)) => one_way.min(round_trip),
            (Some(delay), None) | (None, Some(delay)) => delay,
            (None, None) => return,
        };
        let queue = queue.min(QUEUE_MAX);
        self.samples = self.samples.saturating_add(1);
        let gain = (1.0 / f64::from(self.samples)).max(JITTER_GAIN);
        let slope = queue - self.queue;
        self.jitter += (slope.abs() - self.jitter) * gain;
        let strayed = (slope - self.slope).abs() / SECOND_DIFFERENCES;
        self.roughness += (strayed - self.roughness) * gain;
        (self.queue, self.slope) = (queue, slope);
        self.range.note(queue);
        self.recent.push_back((sample.now, queue));
        // Four reports at least: the least of them sees through a busy processor at either end.
        let span = (sample.srtt.as_secs_f64() * 0.5)
            .max(4.0 * sample.interval.as_secs_f64())
            .max(self.smoothing());
        while self.recent.len() > 1
            && self
                .recent
                .front()
                .is_some_and(|(at, _)| seconds(sample.now, *at) > span)
        {
            self.recent.pop_front();
        }
    }

    /// Whether any report has told a delay.
    pub(super) fn is_known(&self) -> bool {
        self.samples > 0
    }

    /// Queueing delay in the last report, seconds.
    pub(super) fn latest(&self) -> f64 {
        self.queue
    }

    /// Queueing delay that never went away during the last half round trip, seconds.
    pub(super) fn standing(&self) -> f64 {
        self.least_of(self.recent.len())
    }

    /// Least of the last `count` reports' queueing delays, seconds.
    pub(super) fn least_of(&self, count: usize) -> f64 {
        let last = self.recent.iter().rev().take(count);
        last.map(|(_, queue)| *queue)
            .reduce(f64::min)
            .unwrap_or(self.queue)
    }

    /// Longest queueing delay since the last call, seconds.
    pub(super) fn take_round_peak(&mut self) -> f64 {
        std::mem::take(&mut self.range.round_peak)
    }

    /// Longest queueing delay of late, seconds.
    pub(super) fn peak(&self) -> f64 {
        self.range.peak
    }

    /// Whether a queue of this length is about the longest there has been, and not the usual one.
    pub(super) fn is_exceptional(&self, queue: f64) -> bool {
        queue > 0.9 * self.range.peak && queue > 1.3 * self.range.median
    }

    /// Mean difference between successive queueing delays, seconds.
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    /// What of the jitter is no trend of a queue, seconds.
    pub(super) fn roughness(&self) -> f64 {
        self.roughness
    }

    /// How much more the delays jump about than those of queues do, seconds.
    pub(super) fn wildness(&self) -> f64 {
        (self.jitter - WILD).max(0.0)
    }

    /// Time over which jitter averages out, seconds.
    pub(super) fn smoothing(&self) -> f64 {
        SMOOTHING * self.jitter
    }

    /// Whether delays jump about as those of queues do not.
    pub(super) fn is_noisy(&self) -> bool {
        self.roughness > NOISY && self.roughness > 0.08 * self.standing()
    }

    /// Delay to be put up with because the path is noisy, seconds. Bounded by the jitter: noise
    /// jumps about, another sender's queue is smooth and must not be taken for noise.
    pub(super) fn noise(&self) -> f64 {
        1.5 * self.noise.min(3.0 * self.roughness)
            + 2.0 * self.roughness.min(NOISY)
            + 3.0 * self.wildness()
    }

    /// Learns from a moment when this sender certainly had no queue; `trust` is 0 to 1.
    pub(super) fn learn_noise(&mut self, trust: f64) {
        let seen = if self.roughness > NOISY {
            self.standing()
        } else {
            0.0
        };
        self.noise += trust * (seen - self.noise);
    }

    /// By how much the base delay has fallen since the last call, seconds. A lot means a shorter
    /// route, whose base was first seen through one's own queue.
    pub(super) fn base_fell(&mut self) -> f64 {
        std::mem::take(&mut self.fell)
    }

    /// Takes the present standing delay for the new base: the route has become longer.
    pub(super) fn rebase(&mut self, now: Time) {
        let by = self.standing();
        self.one_way.raise(now, by);
        self.round_trip.raise(now, by);
        self.recent.clear();
        self.range = Range::default();
        self.queue = 0.0;
    }
}
