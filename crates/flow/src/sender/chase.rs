use std::{collections::VecDeque, time::Duration};

use haul_wire::BlockAddr;

use crate::Time;

/// Chance at which one of the last losses may be lost again with all its copies.
const MISS_CHANCE: f64 = 0.01;
/// Share of the copies left that may be taken at once: losses among them are far fewer.
const FIRST_PART: f64 = 0.7;
/// Most transmissions of one block in one go, the first included.
const COPIES_MAX: f64 = 8.0;
/// Copies of a packet are spread in time (RFC 8085, section 3.1): losses come in bursts.
const SPREAD: Duration = Duration::from_millis(1);
/// Smoothed loss above this is not believed: it would ask for any number of copies.
const LOSS_MAX: f64 = 0.9;

/// Sends the last losses of a transfer several times over, so that the end does not wait for one
/// more round trip per loss of a loss.
///
/// Active only once no fresh data is left; the copies are bounded to 1 % of what was lost or one
/// bandwidth-delay product, whichever is larger.
#[derive(Debug, Default)]
pub(crate) struct Chase {
    /// In due order: when, what, how many copies remain.
    due: VecDeque<(Time, BlockAddr, u32)>,
    spent: u64,
}

impl Chase {
    /// How often to send each of `outstanding` losses when `loss` of packets do not arrive, so that
    /// all arrive with 99 % chance, while `allowed` copies may be taken in all. A part of what is left
    /// of those is kept for the losses among the copies, which are far fewer.
    pub(crate) fn copies(&self, outstanding: u64, loss: f64, allowed: u64) -> u32 {
        let loss = loss.clamp(0.0, LOSS_MAX);
        if loss == 0.0 {
            return 1;
        }
        let outstanding = outstanding.max(1) as f64;
        let wanted = (MISS_CHANCE / outstanding).ln() / loss.ln();
        let left = allowed.saturating_sub(self.spent) as f64;
        let affordable = 1.0 + FIRST_PART * left / outstanding;
        wanted.ceil().min(affordable).clamp(1.0, COPIES_MAX) as u32
    }

    /// Plans `copies` further transmissions of a block that is released at `release_at`.
    pub(crate) fn schedule(&mut self, block: BlockAddr, copies: u32, release_at: Time) {
        if copies > 0 {
            self.due.push_back((release_at + SPREAD, block, copies));
        }
    }

    /// Takes the next copy that is due, while fewer than `allowed` have been taken in all.
    pub(crate) fn take_due(
        &mut self,
        now: Time,
        allowed: u64,
        has_arrived: impl Fn(BlockAddr) -> bool,
    ) -> Option<BlockAddr> {
        if self.spent >= allowed {
            self.due.clear();
        }
        while self.due.front().is_some_and(|(due, ..)| *due <= now) {
            let (_, block, copies) = self.due.pop_front()?;
            if !has_arrived(block) {
                self.spent += 1;
                self.schedule(block, copies - 1, now);
                return Some(block);
            }
        }
        None
    }

    /// When the next copy is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.front().map(|(due, ..)| *due)
    }

    /// Losses that still have copies to come.
    pub(crate) fn outstanding(&self) -> u64 {
        self.due.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_follow_the_formula() {
        let chase = Chase::default();
        let most = COPIES_MAX as u32;
        assert_eq!(chase.copies(83, 0.1, 833), 4);
        assert_eq!(chase.copies(8, 0.01, 833), 2);
        assert_eq!(chase.copies(1, 0.0, 833), 1);
        assert_eq!(chase.copies(1_000, 0.5, u64::MAX), most);
        assert_eq!(chase.copies(1_000, f64::INFINITY, u64::MAX), most);
        assert_eq!(chase.copies(250, 0.3, 833), 3, "some are kept for later");
        assert_eq!(chase.copies(250, 0.3, 0), 1);
    }

    #[test]
    fn copies_are_spread_stop_on_arrival_and_are_bounded() {
        let mut chase = Chase::default();
        let (one, two) = (BlockAddr::content(1), BlockAddr::content(2));
        chase.schedule(one, 2, Time::ZERO);
        chase.schedule(two, 2, Time::ZERO);
        assert_eq!(chase.take_due(Time(999_999), 9, |_| false), None);
        let now = Time::ZERO + SPREAD;
        assert_eq!(chase.take_due(now, 9, |block| block == one), Some(two));
        assert_eq!(chase.take_due(now, 9, |_| false), None);
        assert_eq!(chase.next_due(), Some(now + SPREAD));
        assert_eq!(chase.take_due(now + SPREAD, 1, |_| false), None, "spent");
        assert_eq!(chase.outstanding(), 0);
    }
}
