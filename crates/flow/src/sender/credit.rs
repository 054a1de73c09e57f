use std::time::Duration;

use haul_wire::SEGMENT_OVERHEAD;

use crate::Time;

/// Larger claims of free memory are the peer's fantasy.
const FREE_BYTES_MAX: u64 = 1 << 40;
/// Shortest time over which a writing rate is measured.
const MEASURE_MIN: Duration = Duration::from_millis(10);
/// A buffer smaller than so many segments is a mistake: so many go into it in any case.
const SEGMENTS_MIN: u64 = 2;
/// Most that may be in flight beyond the free buffer, in parts of what is written in a round trip:
/// above 1, or a disk could never show that it is faster than it was asked to be.
const OVERCOMMIT: f64 = 1.5;
/// A buffer with less free than this part shows a disk that does not keep up,
const DIP_SHARE: f64 = 0.5;
/// one with so much free again shows that it does.
const CALM_SHARE: f64 = 0.75;
/// A disk that did not keep up is trusted half as far as before,
const CUT: f64 = 0.5;
/// and each calm round trip by this part further, of the trust or of the buffer.
const STEP: f64 = 1.0 / 32.0;

/// How much the receiver's memory and disk allow to be in flight: its free buffer, and, where the
/// path holds more than that buffer, what the disk has shown to write away meanwhile.
///
/// What arrives at a full buffer is lost, so only a receiver whose buffer is mostly empty is
/// overcommitted, the less the fuller it is, not at all from half on; and one that filled up less
/// than it would ask for, for a while, as a congestion window would be. No room means no data: the
/// receiver repeats what it has free for as long as it lives, so nothing need be sent to ask.
#[derive(Debug)]
pub(crate) struct Credit {
    segment_len: u64,
    free_bytes: u64,
    /// The most that has been told free: the whole buffer, as far as anybody knows. What was agreed on
    /// before the first report is a promise, of which the receiver's kernel may have granted less: taken
    /// for the buffer, it would never look more than half free.
    buffer_bytes: Option<u64>,
    writing: Writing,
    /// Most bytes of overcommitment since the buffer filled up; no such bound before it ever has.
    trust_bytes: f64,
    is_dip: bool,
}

/// The rate at which the receiver gets rid of blocks.
#[derive(Debug)]
struct Writing {
    /// Block bytes per second: a rise counts at once, a fall by half.
    rate: f64,
    measured_bytes: u64,
    measured_at: Time,
}

impl Writing {
    /// Takes in how much has been written; whether that completed a measurement.
    fn measure(&mut self, written_bytes: u64, srtt: Duration, now: Time) -> bool {
        let over = now - self.measured_at;
        if over < srtt.max(MEASURE_MIN) {
            return false;
        }
        let written_bytes = written_bytes.max(self.measured_bytes);
        let rate = (written_bytes - self.measured_bytes) as f64 / over.as_secs_f64();
        self.rate = rate.max((self.rate + rate) / 2.0);
        self.measured_bytes = written_bytes;
        self.measured_at = now;
        true
    }

    fn bytes_in(&self, time: Duration) -> f64 {
        self.rate * time.as_secs_f64()
    }
}

impl Credit {
    pub(crate) fn new(segment_len: usize, free_bytes: u64, now: Time) -> Self {
        let free_bytes = free_bytes.min(FREE_BYTES_MAX);
        Self {
            segment_len: segment_len as u64,
            free_bytes,
            buffer_bytes: None,
            writing: Writing {
                rate: 0.0,
                measured_bytes: 0,
                measured_at: now,
            },
            trust_bytes: f64::INFINITY,
            is_dip: false,
        }
    }

    /// Takes in what the newest report says. `sent_bytes` bounds what can have been written.
    pub(crate) fn on_report(
        &mut self,
        free_bytes: u64,
        written_bytes: u64,
        sent_bytes: u64,
        srtt: Duration,
        now: Time,
    ) {
        self.free_bytes = free_bytes.min(FREE_BYTES_MAX);
        self.buffer_bytes = self.buffer_bytes.max(Some(self.free_bytes));
        let share = self.free_share();
        if share < DIP_SHARE && !self.is_dip {
            self.is_dip = true;
            let asked = self.writing.bytes_in(srtt) * OVERCOMMIT;
            self.trust_bytes = self.trust_bytes.min(asked) * CUT;
        }
        let written_bytes = written_bytes.min(sent_bytes);
        if self.writing.measure(written_bytes, srtt, now) && share >= CALM_SHARE {
            self.is_dip = false;
            self.trust_bytes += self.trust_bytes.max(self.buffer_bytes() as f64) * STEP;
        }
    }

    /// Bytes of whole datagrams that may be in flight and planned.
    pub(crate) fn bytes(&self, min_rtt: Duration) -> u64 {
        let asked = self.writing.bytes_in(min_rtt) * OVERCOMMIT;
        let caution = ((self.free_share() - DIP_SHARE) / (1.0 - DIP_SHARE)).max(0.0);
        let meanwhile = asked.min(self.trust_bytes) * caution;
        self.segments(self.free_bytes.saturating_add(meanwhile as u64)) * self.segment_len
    }

    /// Whether the receiver has no room for a single segment.
    pub(crate) fn is_closed(&self) -> bool {
        self.segments(self.free_bytes) == 0
    }

    /// The receiver counts block bytes, the flight is counted in datagrams.
    fn segments(&self, block_bytes: u64) -> u64 {
        let block_len = self.segment_len - SEGMENT_OVERHEAD as u64;
        if self.buffer_bytes() < SEGMENTS_MIN * block_len {
            return SEGMENTS_MIN;
        }
        block_bytes / block_len
    }

    fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes.unwrap_or(self.free_bytes)
    }

    fn free_share(&self) -> f64 {
        self.free_bytes as f64 / self.buffer_bytes().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(100);
    const BUFFER: u64 = 1_400_000;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// Credit after so many round trips of 1.4 MB written in each, the buffer empty at each end.
    fn after_round_trips(count: u64) -> Credit {
        let mut credit = Credit::new(1_440, BUFFER, Time::ZERO);
        for round in 1..=count {
            credit.on_report(BUFFER, round * 1_400_000, u64::MAX, RTT, at(round * 100));
        }
        credit
    }

    #[test]
    fn free_buffer_is_credit_and_none_is_none() {
        let mut credit = Credit::new(1_440, 140_000, Time::ZERO);
        assert_eq!(credit.bytes(RTT), 144_000);
        credit.on_report(140_000, 0, 0, RTT, at(5));
        credit.on_report(1_399, 0, 0, RTT, at(10));
        assert_eq!((credit.bytes(RTT), credit.is_closed()), (0, true));
        credit.on_report(1_400, 0, 0, RTT, at(20));
        assert_eq!((credit.bytes(RTT), credit.is_closed()), (1_440, false));
    }

    #[test]
    fn a_buffer_too_small_for_anything_is_not_believed() {
        let mut credit = Credit::new(1_440, 0, Time::ZERO);
        assert_eq!((credit.bytes(RTT), credit.is_closed()), (2_880, false));
        credit.on_report(2_000, 0, 0, RTT, at(10));
        assert_eq!(credit.bytes(RTT), 2_880);
    }

    #[test]
    fn an_empty_buffer_is_overcommitted_by_what_is_written_meanwhile() {
        let credit = after_round_trips(3);
        assert_eq!(credit.bytes(RTT), (1_000 + 1_500) * 1_440);
        assert_eq!(credit.bytes(RTT / 2), (1_000 + 750) * 1_440);
    }

    #[test]
    fn less_than_was_promised_is_no_buffer_that_fills_up() {
        let mut credit = Credit::new(1_440, 2 * BUFFER, Time::ZERO);
        assert_eq!(credit.bytes(RTT), 2_000 * 1_440);
        for round in 1..=3 {
            credit.on_report(BUFFER, round * 1_400_000, u64::MAX, RTT, at(round * 100));
        }
        assert_eq!(credit.bytes(RTT), after_round_trips(3).bytes(RTT));
    }

    #[test]
    fn the_fuller_the_buffer_the_less_is_overcommitted() {
        let mut credit = after_round_trips(3);
        let now = at(310);
        credit.on_report(BUFFER * 3 / 4, 4_200_000, u64::MAX, RTT, now);
        assert_eq!(credit.bytes(RTT), (750 + 750) * 1_440);
        credit.on_report(BUFFER / 2, 4_200_000, u64::MAX, RTT, now);
        assert_eq!(credit.bytes(RTT), 500 * 1_440);
        credit.on_report(BUFFER / 4, 4_200_000, u64::MAX, RTT, now);
        assert_eq!(credit.bytes(RTT), 250 * 1_440);
    }

    #[test]
    fn a_disk_that_fell_behind_is_trusted_by_and_by() {
        let mut credit = after_round_trips(3);
        for _ in 0..2 {
            // One dip, however many reports speak of it.
            credit.on_report(0, 4_200_000, u64::MAX, RTT, at(310));
        }
        let mut segments = Vec::new();
        for round in 4..=30 {
            let written = round * 1_400_000;
            credit.on_report(BUFFER, written, u64::MAX, RTT, at(round * 100));
            segments.push(credit.bytes(RTT) / 1_440 - 1_000);
        }
        assert_eq!(segments[..2], [781, 812], "half, and a 32nd of the buffer");
        assert!(segments.is_sorted());
        assert_eq!(segments.last(), Some(&1_500), "all in the end");
    }

    #[test]
    fn c45_absurd_claims_are_clamped() {
        let mut credit = Credit::new(1_440, u64::MAX, Time::ZERO);
        credit.on_report(u64::MAX, u64::MAX, 1_000_000, MS, at(1_000));
        assert!(credit.bytes(Duration::from_secs(60)) < 2 << 40);
        credit.on_report(0, 5, u64::MAX, MS, at(2_000));
        assert_eq!(credit.bytes(MS), 0, "written bytes never fall");
    }
}
