use std::time::Duration;

use tokio::time::Instant;

use crate::{Demand, Limits, Seat, TransferError};

/// Time over which use is smoothed: long enough for batches, short beside a user's patience.
const SMOOTHING: Duration = Duration::from_millis(400);
/// How far above its ceiling a session may be for any time: what is measured here has been sent
/// a path's delay ago, in bursts.
const TOLERANCE: f64 = 1.25;
/// How long it may send at twice that.
const GRACE: Duration = Duration::from_secs(5);

/// A session that has taken its seat: measures what it uses, and whether that is too much.
pub(super) struct Seated {
    seat: Seat,
    last: (Instant, u64),
    used_bps: f64,
    /// Bits beyond what was tolerated, as far as they have not been made up for.
    excess: f64,
}

impl Seated {
    pub(super) fn new(seat: Seat, now: Instant) -> Self {
        Self {
            seat,
            last: (now, 0),
            used_bps: 0.0,
            excess: 0.0,
        }
    }

    pub(super) fn ceiling(&self) -> Option<u64> {
        self.seat.share()
    }

    /// The next ceiling; never resolves when none can come any more. Cancel-safe.
    pub(super) async fn moved(&mut self) -> Option<u64> {
        if self.seat.ceiling.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.seat.ceiling.borrow_and_update()
    }

    /// Tells the owner of the cap what is asked for, and how much of it `bytes`, a count of all UDP
    /// payload so far, has used.
    ///
    /// # Errors
    /// [`TransferError::NotPermitted`] for a peer that goes on sending more than it may.
    pub(super) fn note(
        &mut self,
        limits: Limits,
        bytes: u64,
        now: Instant,
    ) -> Result<(), TransferError> {
        let (then, before) = self.last;
        let step = (now - then).as_secs_f64();
        if step <= 0.0 {
            return Ok(());
        }
        self.last = (now, bytes);
        let bits = bytes.saturating_sub(before) as f64 * 8.0;
        let weight = (step / SMOOTHING.as_secs_f64()).min(1.0);
        self.used_bps += weight * (bits / step - self.used_bps);
        self.seat.demand.send_replace(Some(Demand {
            limits,
            used_bps: self.used_bps as u64,
        }));
        self.watch(bits, step)
    }

    fn watch(&mut self, bits: f64, step: f64) -> Result<(), TransferError> {
        let Some(ceiling) = self.ceiling() else {
            self.excess = 0.0;
            return Ok(());
        };
        let tolerated = ceiling as f64 * TOLERANCE;
        self.excess = (self.excess + bits - tolerated * step).max(0.0);
        if self.excess > tolerated * GRACE.as_secs_f64() {
            return Err(TransferError::NotPermitted(
                "sending more than this session's share",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use haul_flow::Policy;
    use tokio::sync::watch;

    use super::*;

    const LIMITS: Limits = Limits {
        policy: Policy::Fair,
        target_bps: None,
        min_bps: 0,
    };

    /// For how many tenths of a second a session under a ceiling of 8 Mbit/s may send at this rate.
    fn tolerated(bps: u64) -> Option<u64> {
        let (_mover, ceiling) = watch::channel(Some(8_000_000));
        let (demand, _listener) = watch::channel(None);
        let start = Instant::now();
        let mut seated = Seated::new(Seat { ceiling, demand }, start);
        (1..600).find(|tenth| {
            let now = start + Duration::from_millis(tenth * 100);
            seated.note(LIMITS, bps / 80 * tenth, now).is_err()
        })
    }

    #[test]
    fn who_stays_about_below_the_ceiling_may_go_on_for_ever() {
        assert_eq!(tolerated(8_000_000), None);
        assert_eq!(tolerated(9_900_000), None);
    }

    #[test]
    fn who_does_not_is_stopped_the_sooner_the_worse() {
        let twice = tolerated(20_000_000).expect("stopped");
        assert!((49..=52).contains(&twice), "{twice}");
        let much = tolerated(200_000_000).expect("stopped");
        assert!(much < 5, "{much}");
    }

    #[test]
    fn use_is_what_arrived_lately() {
        let (_mover, ceiling) = watch::channel(None);
        let (demand, listener) = watch::channel(None);
        let start = Instant::now();
        let mut seated = Seated::new(Seat { ceiling, demand }, start);
        for tenth in 1..=30 {
            let now = start + Duration::from_millis(tenth * 100);
            seated.note(LIMITS, tenth * 125_000, now).unwrap();
        }
        let used = listener.borrow().expect("told").used_bps;
        assert!((9_900_000..=10_000_000).contains(&used), "{used}");
    }
}
