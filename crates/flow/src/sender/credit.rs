use std::time::Duration;

use haul_wire::SEGMENT_OVERHEAD;

use crate::Time;

/// Larger claims of free memory are the peer's fantasy.
const FREE_BYTES_MAX: u64 = 1 << 40;
/// Shortest time over which a writing rate is measured.
const MEASURE_MIN: Duration = Duration::from_millis(10);
/// Segments that may always be in flight, or nothing would ever move again.
const SEGMENTS_MIN: u64 = 2;

/// How much the receiver's memory and disk allow to be in flight: its free buffer, and what it
/// writes away meanwhile.
#[derive(Debug)]
pub(crate) struct Credit {
    segment_len: u64,
    free_bytes: u64,
    /// Block bytes per second, smoothed.
    writing_rate: f64,
    measured_bytes: u64,
    measured_at: Time,
}

impl Credit {
    pub(crate) fn new(segment_len: usize, free_bytes: u64, now: Time) -> Self {
        Self {
            segment_len: segment_len as u64,
            free_bytes: free_bytes.min(FREE_BYTES_MAX),
            writing_rate: 0.0,
            measured_bytes: 0,
            measured_at: now,
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
        let over = now - self.measured_at;
        if over < srtt.max(MEASURE_MIN) {
            return;
        }
        let written_bytes = written_bytes.min(sent_bytes).max(self.measured_bytes);
        let rate = (written_bytes - self.measured_bytes) as f64 / over.as_secs_f64();
        self.writing_rate = (self.writing_rate + rate) / 2.0;
        self.measured_bytes = written_bytes;
        self.measured_at = now;
    }

    /// Bytes of whole datagrams that may be in flight and planned.
    pub(crate) fn bytes(&self, min_rtt: Duration) -> u64 {
        let meanwhile = 2.0 * self.writing_rate * min_rtt.as_secs_f64();
        let blocks = self.free_bytes.saturating_add(meanwhile as u64);
        let block_len = self.segment_len - SEGMENT_OVERHEAD as u64;
        // The receiver counts block bytes, the flight is counted in datagrams.
        let segments = blocks.div_ceil(block_len).max(SEGMENTS_MIN);
        segments * self.segment_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn a_full_receiver_still_gets_two_segments() {
        let mut credit = Credit::new(1_440, 0, Time::ZERO);
        assert_eq!(credit.bytes(MS * 100), 2_880);
        credit.on_report(140_000, 0, 0, MS * 100, at(10));
        assert_eq!(credit.bytes(MS * 100), 144_000);
    }

    #[test]
    fn what_is_written_meanwhile_counts() {
        let mut credit = Credit::new(1_440, 0, Time::ZERO);
        for round in 1..=20 {
            credit.on_report(0, round * 1_400_000, u64::MAX, MS * 100, at(round * 100));
        }
        // 14 MB/s over two round trips of 100 ms, as datagrams.
        let bytes = credit.bytes(MS * 100);
        assert!((2_870_000..=2_880_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn absurd_claims_are_clamped() {
        let mut credit = Credit::new(1_440, u64::MAX, Time::ZERO);
        credit.on_report(u64::MAX, u64::MAX, 1_000_000, MS, at(1_000));
        assert!(credit.bytes(Duration::from_secs(60)) < 2 << 40);
        credit.on_report(0, 5, u64::MAX, MS, at(2_000));
        assert!(credit.bytes(MS) < 4_000, "written bytes never fall");
    }
}
