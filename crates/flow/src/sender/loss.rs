use std::time::Duration;

use super::rtt::{GRANULARITY, Rtt};
use crate::Time;

/// Least number of later packets that must have arrived (RFC 9002, section 6.1.1).
const OVERTAKEN_BY_MIN: u64 = 3;
/// Most that is waited for: more than any path reorders in a round trip at 10 Gbit/s.
const OVERTAKEN_BY_MAX: u64 = 1 << 17;
/// Most that is waited for lateness on top of a round trip.
const LATENESS_BEYOND_RTT: Duration = Duration::from_millis(100);
/// What has been learned of reordering fades by an eighth once in so many round trips.
const DECAY_ROUND_TRIPS: u32 = 16;

/// Decides when an absent packet is lost rather than late.
///
/// A report says at which send time it was made: the send time of the largest packet it has, plus
/// how long that had been held. A packet sent well before that time and absent is lost, however long
/// the report itself was on its way (the idea of RFC 8985, RACK). "Well before" is an eighth of a
/// round trip, as RFC 9002, section 6.1.2 has it, more where packets have been seen to overtake one
/// another.
#[derive(Debug)]
pub(crate) struct LossDetector {
    /// So many later packets must have arrived, or else `lateness` must have passed on top.
    overtaken_by: u64,
    /// The greatest lateness seen of packets that did arrive, faded.
    lateness: Duration,
    decay_at: Time,
}

/// What one report proves, in the sender's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Largest packet number that had arrived.
    pub(crate) largest: u64,
    /// A packet sent before this had had the time to arrive when the report was made.
    pub(crate) made_at: Time,
}

impl LossDetector {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            overtaken_by: OVERTAKEN_BY_MIN,
            lateness: Duration::ZERO,
            decay_at: now,
        }
    }

    /// Whether a packet that the report spoke of and did not have is lost.
    pub(crate) fn judge(
        &self,
        evidence: Evidence,
        rtt: &Rtt,
    ) -> impl Fn(u64, Time) -> bool + use<> {
        let margin = Self::margin(rtt);
        let lateness = self.lateness;
        let overtaken_by = self.overtaken_by;
        let deviation = rtt.deviation();
        move |number, sent_at| {
            let waited = evidence.made_at - sent_at;
            if number < evidence.largest {
                let is_overtaken = evidence.largest - number >= overtaken_by;
                waited >= margin && (is_overtaken || waited >= margin + lateness)
            } else {
                // Nothing sent later has arrived: only time speaks, so the path's jitter counts.
                waited >= margin + lateness + deviation
            }
        }
    }

    /// A packet arrived although the report before (`evidence`) did not have it. Learns how far and
    /// for how long packets are overtaken on this path.
    pub(crate) fn on_overtaken(
        &mut self,
        number: u64,
        sent_at: Time,
        evidence: Evidence,
        rtt: &Rtt,
    ) {
        if number < evidence.largest {
            let distance = evidence.largest - number;
            let wanted = distance.saturating_add(distance / 4).min(OVERTAKEN_BY_MAX);
            self.overtaken_by = self.overtaken_by.max(wanted);
        }
        // Seen absent at `made_at`, so at least this late; the report that has it came one
        // interval later.
        let late = (evidence.made_at - sent_at) + rtt.report_interval();
        let wanted = (late + late / 4).min(rtt.srtt() + LATENESS_BEYOND_RTT);
        if late > Self::margin(rtt) {
            self.lateness = self.lateness.max(wanted);
        }
    }

    /// Lets what was learned of reordering fade.
    pub(crate) fn decay(&mut self, rtt: &Rtt, now: Time) {
        if now < self.decay_at {
            return;
        }
        self.decay_at = now + rtt.srtt().max(GRANULARITY) * DECAY_ROUND_TRIPS;
        self.overtaken_by = (self.overtaken_by - self.overtaken_by / 8).max(OVERTAKEN_BY_MIN);
        self.lateness = self.lateness * 7 / 8;
        if self.lateness < GRANULARITY {
            self.lateness = Duration::ZERO;
        }
    }

    /// How long after its sending a lost packet is still watched: late ones teach, as far as there
    /// is anything to learn.
    pub(crate) fn watch(rtt: &Rtt) -> Duration {
        rtt.srtt() * 2 + LATENESS_BEYOND_RTT + rtt.report_interval() * 4
    }

    fn margin(rtt: &Rtt) -> Duration {
        (rtt.srtt().max(rtt.latest()) / 8).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rtt() -> Rtt {
        let mut rtt = Rtt::new(MS * 80, Time::ZERO);
        rtt.on_sample(MS * 80, Duration::ZERO, Time::ZERO);
        rtt
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + MS * ms as u32
    }

    #[test]
    fn lost_only_when_well_before_what_arrived() {
        let evidence = Evidence {
            largest: 100,
            made_at: at(1_000),
        };
        let is_lost = LossDetector::new(Time::ZERO).judge(evidence, &rtt());
        assert!(is_lost(50, at(990)));
        assert!(
            !is_lost(50, at(991)),
            "an eighth of a round trip is the margin"
        );
        assert!(
            !is_lost(50, at(1_010)),
            "sent later than the report could know"
        );
        assert!(
            is_lost(99, at(990)),
            "time alone is enough while nothing is overtaken"
        );
        assert!(
            !is_lost(101, at(990)),
            "nothing later has arrived: jitter is allowed for"
        );
        assert!(is_lost(101, at(1_000 - 10 - 160)));
    }

    #[test]
    fn overtaking_is_learned_and_fades() {
        let rtt = rtt();
        let mut detector = LossDetector::new(Time::ZERO);
        let evidence = Evidence {
            largest: 3_000,
            made_at: at(1_000),
        };
        detector.on_overtaken(2_000, at(970), evidence, &rtt);
        let is_lost = detector.judge(evidence, &rtt);
        assert!(
            !is_lost(2_000, at(970)),
            "overtaken by 1,000 after 30 ms is usual here"
        );
        assert!(is_lost(1_700, at(970)), "overtaken by 1,300 is not");
        assert!(is_lost(2_000, at(900)), "100 ms late is not");
        for round in 0..200 {
            detector.decay(&rtt, at(1_000 + round * 1_280));
        }
        let is_lost = detector.judge(evidence, &rtt);
        assert!(is_lost(2_990, at(980)));
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let mut detector = LossDetector::new(Time::ZERO);
        let evidence = Evidence {
            largest: u64::MAX,
            made_at: Time::MAX,
        };
        detector.on_overtaken(0, Time::ZERO, evidence, &rtt());
        assert_eq!(detector.overtaken_by, OVERTAKEN_BY_MAX);
        assert_eq!(detector.lateness, MS * 180);
    }
}
