use std::fmt;

use super::meter::Counters;

/// Packets that must have arrived before their marks are judged (RFC 9000, section 13.4.2, has ten).
const JUDGED_MIN: u64 = 32;
/// Packets over which "everything is marked congested" is judged; twice in a row, because a queue
/// may be that full when a transfer begins.
const WINDOW: u64 = 256;
const WINDOWS_MAX: u32 = 2;

/// Whether packets are marked "able" (ECT(0), RFC 3168), and whether the marks survive the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EcnState {
    /// Packets are not marked: nobody wants it, or the policy does not answer to marks.
    #[default]
    Off,
    /// Marked; whether the marks arrive is not known yet.
    Testing,
    /// Marked, and the marks arrive.
    Capable,
    /// No longer marked, because of this.
    Failed(EcnFault),
}

/// Why marking was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcnFault {
    /// The receiver counts fewer marks than packets: somebody removes them.
    Bleached,
    /// Everything arrives marked "congestion experienced".
    AlwaysMarked,
    /// Nothing that is marked arrives.
    Dropped,
}

impl fmt::Display for EcnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Testing => "testing",
            Self::Capable => "capable",
            Self::Failed(EcnFault::Bleached) => "bleached",
            Self::Failed(EcnFault::AlwaysMarked) => "always-marked",
            Self::Failed(EcnFault::Dropped) => "dropped",
        })
    }
}

/// Validates what the receiver counts (RFC 9000, section 13.4.2 and appendix A.4).
///
/// All packets are marked from the first on, or none any more, so the counts can be compared as
/// they are.
#[derive(Debug)]
pub(crate) struct Ecn {
    state: EcnState,
    /// Counts when the test began, and when the present window did.
    began: Counters,
    window: Counters,
    full_windows: u32,
    /// Marks of congestion that were believed.
    ce: u64,
}

impl Ecn {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self {
            state: if is_wanted {
                EcnState::Testing
            } else {
                EcnState::Off
            },
            began: Counters::default(),
            window: Counters::default(),
            full_windows: 0,
            ce: 0,
        }
    }

    pub(crate) fn state(&self) -> EcnState {
        self.state
    }

    /// Whether packets are to be marked.
    pub(crate) fn is_marking(&self) -> bool {
        matches!(self.state, EcnState::Testing | EcnState::Capable)
    }

    /// Marks of congestion so far; stays as it is once marking has been given up.
    pub(crate) fn ce(&self) -> u64 {
        self.ce
    }

    /// Nobody answers to the marks any more: packets must not claim it.
    pub(crate) fn switch_off(&mut self) {
        if self.is_marking() {
            self.state = EcnState::Off;
        }
    }

    /// Another path: what was known of the old one says nothing.
    pub(crate) fn retest(&mut self, now: Counters) {
        if self.state == EcnState::Capable {
            self.state = EcnState::Testing;
            (self.began, self.window) = (now, now);
            self.full_windows = 0;
        }
    }

    /// A probe time-out, the `nth` in a row: perhaps marked packets are dropped.
    pub(crate) fn on_probe_timeout(&mut self, nth: u32, counters: Counters) {
        if self.state == EcnState::Testing && nth >= 2 && counters.packets == self.began.packets {
            self.state = EcnState::Failed(EcnFault::Dropped);
        }
    }

    /// Takes in what the receiver has counted.
    pub(crate) fn on_counters(&mut self, counters: Counters) {
        if !self.is_marking() {
            return;
        }
        let packets = counters.packets - self.began.packets;
        let marks = counters.ecn_ect0 + counters.ecn_ce - self.began.ecn_ect0 - self.began.ecn_ce;
        if packets < JUDGED_MIN {
            self.ce = counters.ecn_ce;
            return;
        }
        if marks < packets - packets / 10 {
            self.state = EcnState::Failed(EcnFault::Bleached);
            return;
        }
        let in_window = counters.packets - self.window.packets;
        if in_window >= WINDOW {
            let ce = counters.ecn_ce - self.window.ecn_ce;
            let is_full = ce >= in_window - in_window / 32;
            self.full_windows = if is_full { self.full_windows + 1 } else { 0 };
            self.window = counters;
        }
        if self.full_windows >= WINDOWS_MAX {
            self.state = EcnState::Failed(EcnFault::AlwaysMarked);
            return;
        }
        self.state = EcnState::Capable;
        self.ce = counters.ecn_ce;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(packets: u64, ecn_ect0: u64, ecn_ce: u64) -> Counters {
        Counters {
            packets,
            ecn_ect0,
            ecn_ce,
            ..Counters::default()
        }
    }

    #[test]
    fn marks_that_arrive_are_believed() {
        let mut ecn = Ecn::new(true);
        ecn.on_counters(counted(10, 10, 0));
        assert_eq!((ecn.state(), ecn.is_marking()), (EcnState::Testing, true));
        ecn.on_counters(counted(100, 97, 3));
        assert_eq!((ecn.state(), ecn.ce()), (EcnState::Capable, 3));
        ecn.retest(counted(100, 97, 3));
        assert_eq!(ecn.state(), EcnState::Testing);
        ecn.on_counters(counted(140, 97, 3));
        assert_eq!(
            ecn.state(),
            EcnState::Failed(EcnFault::Bleached),
            "the new path's doing"
        );
        assert_eq!((ecn.is_marking(), ecn.ce()), (false, 3));
    }

    #[test]
    fn marks_that_mean_nothing_are_given_up() {
        let mut bleached = Ecn::new(true);
        bleached.on_counters(counted(40, 0, 0));
        assert_eq!(bleached.state(), EcnState::Failed(EcnFault::Bleached));

        let mut full = Ecn::new(true);
        full.on_counters(counted(300, 0, 300));
        assert!(full.is_marking(), "a full queue");
        full.on_counters(counted(600, 0, 600));
        assert_eq!(full.state(), EcnState::Failed(EcnFault::AlwaysMarked));

        let mut dropped = Ecn::new(true);
        dropped.on_probe_timeout(1, counted(0, 0, 0));
        assert!(dropped.is_marking());
        dropped.on_probe_timeout(2, counted(0, 0, 0));
        assert_eq!(dropped.state(), EcnState::Failed(EcnFault::Dropped));
    }

    #[test]
    fn nobody_marks_unasked_or_for_a_policy_that_does_not_answer() {
        let mut unwanted = Ecn::new(false);
        unwanted.on_counters(counted(1_000, 1_000, 0));
        assert_eq!(
            (unwanted.state(), unwanted.is_marking()),
            (EcnState::Off, false)
        );
        let mut fixed = Ecn::new(true);
        fixed.switch_off();
        assert!(!fixed.is_marking());
    }
}
