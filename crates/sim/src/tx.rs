use std::{collections::VecDeque, time::Duration};

use haul_flow::{Plan, Time};

use crate::{check::BURST_MAX, rng::Rng};

/// How late a timer of an idle host fires at most.
const TIMER_LATENESS: Duration = Duration::from_micros(60);
/// Share of the timers that fire while the host is busy with something else.
const LATE_SHARE: f64 = 0.05;

/// The sending stage: holds plans until they may leave, as a real one does. It sleeps meanwhile and
/// is sometimes woken late; then whatever is due leaves at once.
#[derive(Debug)]
pub(crate) struct Tx {
    waiting: VecDeque<Plan>,
    wake_at: Option<Time>,
    /// When the airtime of what has left ends.
    busy_until: Time,
    lateness_max: Duration,
    rng: Rng,
}

impl Tx {
    pub(crate) fn new(lateness_max: Duration, rng: Rng) -> Self {
        Self {
            waiting: VecDeque::new(),
            wake_at: None,
            busy_until: Time::ZERO,
            lateness_max,
            rng,
        }
    }

    pub(crate) fn handle_plan(&mut self, plan: Plan, now: Time) {
        self.waiting.push_back(plan);
        if self.wake_at.is_none() {
            self.sleep(now);
        }
    }

    /// When the stage wakes.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.wake_at
    }

    /// The next batch that leaves now; `None` when the stage sleeps or nothing more is due.
    pub(crate) fn poll_departure(&mut self, now: Time) -> Option<Plan> {
        self.wake_at.filter(|wake| *wake <= now)?;
        let Some(due) = self.next_due().filter(|due| *due <= now) else {
            self.sleep(now);
            return None;
        };
        let plan = self.waiting.pop_front()?;
        // As the engine does: one burst of a stall is made up for, what is beyond is lost.
        self.busy_until = due.max(now - BURST_MAX) + plan.gap;
        Some(plan)
    }

    /// Bytes that wait, at `segment_len` each.
    pub(crate) fn waiting_bytes(&self, segment_len: usize) -> u64 {
        let segments: usize = self.waiting.iter().map(|plan| plan.blocks.len()).sum();
        (segments * segment_len) as u64
    }

    fn next_due(&self) -> Option<Time> {
        let plan = self.waiting.front()?;
        Some(plan.release_at.max(self.busy_until))
    }

    fn sleep(&mut self, now: Time) {
        let most = match self.rng.chance(LATE_SHARE) {
            true => self.lateness_max,
            false => self.lateness_max.min(TIMER_LATENESS),
        };
        let late = Duration::from_nanos(self.rng.within(0..=most.as_nanos() as u64));
        self.wake_at = self.next_due().map(|due| due.max(now) + late);
    }
}
