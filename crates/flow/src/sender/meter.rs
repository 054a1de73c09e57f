use std::time::Duration;

use haul_wire::Report;

use crate::Time;

/// Fewest packet numbers over which a loss share is measured.
const LOSS_PACKETS_MIN: u64 = 64;
/// How much faster than ours the receiver's clock is believed to run at most, and by how much it
/// may jump: anything beyond is clamped.
const CLOCK_RATE_MAX: u64 = 2;
const CLOCK_JUMP_MAX_US: u64 = 10_000_000;

/// The receiver's cumulative counters as the newest report has them, made plausible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    pub(crate) newest_at: Time,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) largest: u64,
    pub(crate) ecn_ect0: u64,
    pub(crate) ecn_ce: u64,
}

/// What the newest report counts, and the share of packets that do not arrive.
#[derive(Debug)]
pub(crate) struct Meter {
    segment_len: u64,
    seq: Option<u32>,
    /// Our time and the receiver's at the first report that counted anything.
    began: Option<(Time, u64)>,
    counters: Counters,
    /// Counters at the last measurement of loss.
    measured: Counters,
    loss: Option<f64>,
    sampled_at: Time,
}

impl Meter {
    pub(crate) fn new(segment_len: usize, now: Time) -> Self {
        Self {
            segment_len: segment_len as u64,
            seq: None,
            began: None,
            counters: Counters::default(),
            measured: Counters::default(),
            loss: None,
            sampled_at: now,
        }
    }

    /// Takes in a report's counters; whether they say anything new. Reports that were overtaken by
    /// a newer one say nothing new here.
    pub(crate) fn on_report(&mut self, report: &Report, sent_packets: u64, now: Time) -> bool {
        let is_newest = self
            .seq
            .is_none_or(|seq| report.seq.wrapping_sub(seq).cast_signed() > 0);
        if !is_newest {
            return false;
        }
        self.seq = Some(report.seq);
        let before = self.counters;
        if report.received_packets > 0 {
            self.began.get_or_insert((now, report.newest_at_us));
        }
        // Before anything has arrived a report names no time.
        let (began_at, began_us) = self.began.unwrap_or((now, 0));
        let elapsed_us = (now - began_at).as_micros() as u64;
        let latest_us = began_us
            .saturating_add(elapsed_us.saturating_mul(CLOCK_RATE_MAX))
            .saturating_add(CLOCK_JUMP_MAX_US);
        let packets = report
            .received_packets
            .min(sent_packets)
            .max(before.packets);
        self.counters = Counters {
            newest_at: Time::from_micros(report.newest_at_us.min(latest_us)).max(before.newest_at),
            packets,
            bytes: report
                .received_bytes
                .min(packets.saturating_mul(self.segment_len))
                .max(before.bytes),
            largest: report.largest.0.max(before.largest),
            ecn_ect0: report.ecn_ect0.min(packets).max(before.ecn_ect0),
            ecn_ce: report.ecn_ce.min(packets).max(before.ecn_ce),
        };
        self.measure_loss();
        self.counters != before
    }

    /// Whether no newer report than this one has been taken in.
    pub(crate) fn is_current(&self, seq: u32) -> bool {
        self.seq == Some(seq)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Share of packets that do not arrive, smoothed.
    pub(crate) fn loss(&self) -> f64 {
        self.loss.unwrap_or(0.0)
    }

    /// Notes that the policy gets a sample now; returns the time since the one before.
    pub(crate) fn sampled(&mut self, now: Time) -> Duration {
        let since = now - self.sampled_at;
        self.sampled_at = now;
        since
    }

    fn measure_loss(&mut self) {
        let numbers = self.counters.largest - self.measured.largest;
        if numbers < LOSS_PACKETS_MIN {
            return;
        }
        let packets = self.counters.packets - self.measured.packets;
        let share = (1.0 - packets as f64 / numbers as f64).clamp(0.0, 1.0);
        // A few hundred packets of memory, whatever the report interval holds.
        let weight = (numbers as f64 / 1_024.0).clamp(1.0 / 16.0, 0.5);
        self.loss = Some(match self.loss {
            Some(loss) => loss + weight * (share - loss),
            None => share,
        });
        self.measured = self.counters;
    }
}

#[cfg(test)]
mod tests {
    use haul_wire::PacketNo;

    use super::*;

    fn report(seq: u32, received: u64, largest: u64) -> Report {
        Report {
            seq,
            received_packets: received,
            received_bytes: received * 1_440,
            largest: PacketNo(largest),
            newest_at_us: largest,
            ..Report::default()
        }
    }

    #[test]
    fn an_overtaken_report_counts_nothing() {
        let mut meter = Meter::new(1_440, Time::ZERO);
        assert!(meter.on_report(&report(u32::MAX, 10, 10), 100, Time(1)));
        assert!(meter.on_report(&report(0, 20, 20), 100, Time(2)), "wraps");
        assert!(!meter.on_report(&report(u32::MAX, 15, 15), 100, Time(3)));
        assert!(
            !meter.on_report(&report(1, 20, 20), 100, Time(4)),
            "nothing new"
        );
        assert_eq!(meter.counters().packets, 20);
    }

    #[test]
    fn loss_is_what_did_not_arrive() {
        let mut meter = Meter::new(1_440, Time::ZERO);
        for seq in 1..=200 {
            let largest = u64::from(seq) * 100;
            meter.on_report(&report(seq, largest * 9 / 10, largest), 1 << 40, Time(1));
        }
        assert!((meter.loss() - 0.1).abs() < 0.001, "{}", meter.loss());
    }

    #[test]
    fn a_receiver_whose_clock_is_far_ahead_is_believed_from_its_first_packet_on() {
        let mut meter = Meter::new(1_440, Time::ZERO);
        meter.on_report(&Report::default(), 0, Time::ZERO);
        let far_us = 1_000_000_000_000;
        for seq in 1..=20 {
            let step = u64::from(seq);
            let report = Report {
                seq,
                received_packets: step,
                newest_at_us: far_us + 1_000 * step,
                ..Report::default()
            };
            assert!(meter.on_report(&report, 100, Time(1_000_000 * step)));
            let shown = meter.counters().newest_at;
            assert_eq!(shown, Time::from_micros(far_us + 1_000 * step));
        }
    }

    #[test]
    fn absurd_counters_are_clamped() {
        let mut meter = Meter::new(1_440, Time::ZERO);
        meter.on_report(&report(1, 10, 10), 100, Time(1));
        let absurd = Report {
            seq: 2,
            received_packets: u64::MAX,
            received_bytes: u64::MAX,
            newest_at_us: u64::MAX,
            ecn_ce: u64::MAX,
            largest: PacketNo(50),
            ..Report::default()
        };
        meter.on_report(&absurd, 100, Time(2));
        let counters = meter.counters();
        assert_eq!((counters.packets, counters.ecn_ce), (100, 100));
        assert!(counters.newest_at <= Time::from_micros(10 + CLOCK_JUMP_MAX_US));
        assert!(counters.bytes <= 100 * 1_440);
        let fewer = report(3, 5, 5);
        assert!(
            !meter.on_report(&fewer, 100, Time(3)),
            "counters never fall"
        );
    }
}
