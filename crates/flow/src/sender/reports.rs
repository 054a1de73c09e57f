use std::time::Duration;

use haul_wire::{PacketNo, Report};

use super::{Evidence, LossDetector, Sender};
use crate::{FlowError, Sample, Time};

/// Sending counts as limited by something other than the rate when it lagged behind the rate for
/// more than this part of the time.
const UNUSED_PART: u32 = 16;

impl Sender {
    /// Takes in an authenticated report. Reports may be lost, repeated and reordered at will.
    ///
    /// # Errors
    /// [`FlowError::AcknowledgedUnsent`] when it names a packet that does not exist; the session
    /// must end. Any other nonsense is clamped or ignored.
    pub fn handle_report(&mut self, report: &Report, now: Time) -> Result<(), FlowError> {
        let now = self.tick(now);
        self.check_names(report)?;
        self.totals.reports += 1;
        let owd_min = self.min_owd_ns(report);
        let is_progress = self.settle_arrived(report);
        let latest_rtt = self.measure_rtt(report, now);
        self.settle_absent(report, now);
        let watch = &mut self.timing.watch;
        watch.on_report(is_progress, self.ledger.in_flight(), now);
        let sent = self.totals.sent_packets;
        if self.meter.on_report(report, sent, now) {
            self.path.ecn.on_counters(self.meter.counters());
            let sample = self.sample(latest_rtt, owd_min, now);
            self.policy.on_sample(&sample);
        }
        self.extend_credit(report, now);
        self.rest_when_settled();
        self.forget(now);
        Ok(())
    }

    /// Packets may be in flight, or have been lost last, whose blocks have all arrived otherwise: no
    /// report may come of them, and none is needed. Waiting for one would stop the sending of what comes
    /// to exist later, with nothing left to probe with.
    pub(super) fn rest_when_settled(&mut self) {
        if self.work.is_settled() {
            self.timing.watch.on_settled();
        }
    }

    /// A report that names what was never given out would make the sender send more than arrives
    /// (RFC 9000, section 21.4).
    fn check_names(&self, report: &Report) -> Result<(), FlowError> {
        if report.received_packets == 0 && report.ranges.is_empty() && report.span_high.0 == 0 {
            // Nothing has arrived: the zeros name no packet.
            return Ok(());
        }
        let ends = report.ranges.iter().map(|range| *range.end());
        let named = ends
            .chain([report.largest.0, report.span_high.0])
            .max()
            .unwrap_or(0);
        if named < self.ledger.next() {
            return Ok(());
        }
        Err(FlowError::AcknowledgedUnsent {
            named: PacketNo(named),
            next: PacketNo(self.ledger.next()),
        })
    }

    /// Least arrival time minus send time of the report's samples.
    fn min_owd_ns(&self, report: &Report) -> Option<i64> {
        let samples = report.samples.iter().filter_map(|(packet, at_us)| {
            let sent_at = self.ledger.packet(packet.0)?.sent_at?;
            Some(Time::from_micros(*at_us).signed_since(sent_at))
        });
        samples.min()
    }

    /// Settles what the report has; whether any of it is new.
    fn settle_arrived(&mut self, report: &Report) -> bool {
        let mut arrived = std::mem::take(&mut self.scratch.arrived);
        for range in &report.ranges {
            let end = range.end().saturating_add(1);
            self.ledger.arrive(*range.start(), end, &mut arrived);
        }
        let parts = self.path.parts;
        if arrived
            .iter()
            .any(|one| one.packet.block.part.count() <= parts)
        {
            self.path.pmtu.on_arrival(self.clock);
        }
        for one in &arrived {
            let number = one.packet.number;
            self.totals.delivered_blocks += u64::from(self.work.arrive(one.packet.block));
            self.totals.spurious_losses += u64::from(one.was_lost);
            let Some(sent_at) = one.packet.sent_at else {
                continue;
            };
            if let (true, Some(evidence)) = (one.was_absent, self.recovery.evidence) {
                let rtt = &self.timing.rtt;
                let detector = &mut self.recovery.detector;
                detector.on_overtaken(number, sent_at, evidence, rtt);
            }
        }
        let is_progress = !arrived.is_empty();
        arrived.clear();
        self.scratch.arrived = arrived;
        is_progress
    }

    /// Measures the round trip of the largest packet, once, when its arrival is news.
    fn measure_rtt(&mut self, report: &Report, now: Time) -> Option<Duration> {
        let known = self.recovery.largest;
        if report.received_packets == 0 || known.is_some_and(|(old, _)| report.largest <= old) {
            return None;
        }
        let sent_at = self.ledger.packet(report.largest.0)?.sent_at?;
        self.recovery.largest = Some((report.largest, sent_at));
        let hold = Duration::from_micros(u64::from(report.largest_hold_us));
        self.timing.rtt.on_sample(now - sent_at, hold, now)
    }

    /// Declares lost what the report speaks of, does not have and should have.
    fn settle_absent(&mut self, report: &Report, now: Time) {
        let Some(evidence) = self.evidence(report, now) else {
            return;
        };
        let is_lost = self.recovery.detector.judge(evidence, &self.timing.rtt);
        let mut lost = std::mem::take(&mut self.scratch.lost);
        let mut end = report.span_high.0.saturating_add(1);
        for range in &report.ranges {
            let from = range.end().saturating_add(1);
            self.ledger.miss(from, end, &is_lost, &mut lost);
            end = *range.start();
        }
        self.ledger
            .miss(report.span_low.0, end, &is_lost, &mut lost);
        self.totals.lost_packets += lost.len() as u64;
        for packet in lost.drain(..) {
            self.work.lose(packet.block);
        }
        self.scratch.lost = lost;
        self.recovery.evidence = Some(evidence);
    }

    /// At which send time the report was made: its largest packet's, and how long that was held.
    fn evidence(&self, report: &Report, now: Time) -> Option<Evidence> {
        if report.received_packets == 0 {
            return None;
        }
        let sent_at = match self.recovery.largest {
            Some((largest, sent_at)) if largest == report.largest => sent_at,
            _ => self.ledger.packet(report.largest.0)?.sent_at?,
        };
        let made_at = sent_at + Duration::from_micros(u64::from(report.largest_hold_us));
        Some(Evidence {
            largest: report.largest.0,
            // It was at least the least round trip on its way, whatever the peer claims.
            made_at: made_at.min(now - self.timing.rtt.min()),
        })
    }

    fn sample(&mut self, latest_rtt: Option<Duration>, owd: Option<i64>, now: Time) -> Sample {
        let rate_bps = self.rate_bps();
        let burst = self.policy.burst_max();
        let unused = self.timing.pacer.take_unused(rate_bps, burst, now);
        let since = self.meter.sampled(now);
        let rtt = &self.timing.rtt;
        let counters = self.meter.counters();
        let (largest, largest_sent_at) = self
            .recovery
            .largest
            .unwrap_or((PacketNo(counters.largest), now));
        Sample {
            now,
            srtt: rtt.srtt(),
            min_rtt: rtt.min(),
            latest_rtt,
            interval: rtt.report_interval(),
            newest_at: counters.newest_at,
            received_packets: counters.packets,
            received_bytes: counters.bytes,
            largest,
            largest_sent_at,
            min_owd_ns: owd,
            next_packet: PacketNo(self.ledger.next()),
            segment_len: self.datagram_len(),
            app_limited: unused > since / UNUSED_PART,
            ecn_ce: self.path.ecn.ce(),
        }
    }

    fn extend_credit(&mut self, report: &Report, now: Time) {
        if !self.meter.is_current(report.seq) {
            return;
        }
        let sent_bytes = self.totals.sent_bytes;
        let srtt = self.timing.rtt.srtt();
        let (free, written) = (report.free_bytes, report.written_bytes);
        self.credit.on_report(free, written, sent_bytes, srtt, now);
        let has_room = !self.credit.is_closed();
        let in_flight = self.ledger.in_flight();
        self.timing.watch.on_room(has_room, in_flight, now);
    }

    /// Lets go of what is settled and of what has been learned too long ago.
    pub(super) fn forget(&mut self, now: Time) {
        let rtt = &self.timing.rtt;
        self.ledger.advance(now - LossDetector::watch(rtt));
        self.recovery.detector.decay(rtt, now);
    }
}
