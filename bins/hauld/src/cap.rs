//! What the sessions of one direction may use together, shared among those that run.
//!
//! Shares are max-min fair: nobody gets less than an equal share unless they want less, and what
//! they leave goes to the others (Bertsekas and Gallager, *Data Networks*, section 6.5.2).

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use haul_transfer::{Demand, Seat};
use tokio::{
    sync::watch,
    time::{Instant, interval},
};

/// How often shares are dealt anew: a session that begins or wakes up waits no longer for its own.
const DEAL_INTERVAL: Duration = Duration::from_millis(200);
/// A session that uses this share of its ceiling would use more.
const AT_CEILING: f64 = 0.8;
/// What any other is given beyond what it uses, so that it can show that it would use more: enough to
/// be at its ceiling although use is known smoothed and late.
const HEADROOM: f64 = 1.5;
/// Nobody judges a new session by what it uses for so long: it may be starting up.
const GRACE: Duration = Duration::from_secs(3);
/// Nobody is given less than this share of an equal one: from there, a session that wakes up is at its
/// ceiling at once.
const LEAST: f64 = 0.1;

/// A cap in bits per second of UDP payload, and who is under it.
#[derive(Debug)]
pub(crate) struct Cap {
    bps: u64,
    chairs: Mutex<Vec<Chair>>,
}

/// The other ends of a session's [`Seat`].
#[derive(Debug)]
struct Chair {
    ceiling: watch::Sender<Option<u64>>,
    demand: watch::Receiver<Option<Demand>>,
    since: Instant,
}

impl Chair {
    /// What the session would use, bits per second; `None` when nobody knows how much that is.
    fn wants(&self, equal: f64) -> Option<f64> {
        let demand = (*self.demand.borrow())?;
        let used = demand.used_bps as f64;
        let ceiling = self.ceiling.borrow().unwrap_or(u64::MAX) as f64;
        let target = demand.limits.target_bps.map(|bps| bps as f64);
        if used >= AT_CEILING * ceiling || self.since.elapsed() < GRACE {
            return target;
        }
        let wants = (HEADROOM * used).max(LEAST * equal);
        Some(target.map_or(wants, |target| wants.min(target)))
    }

    fn is_taken(&self) -> bool {
        self.demand.has_changed().is_ok()
    }
}

impl Cap {
    /// Deals shares from now on, as long as anybody holds the cap.
    pub(crate) fn new(bps: u64) -> Arc<Self> {
        let cap = Arc::new(Self {
            bps,
            chairs: Mutex::default(),
        });
        tokio::spawn(deal(Arc::downgrade(&cap)));
        cap
    }

    /// A place for one more session; it is free again when the session drops its seat.
    pub(crate) fn seat(&self) -> Seat {
        let (ceiling, ceiling_in) = watch::channel(Some(0));
        let (demand_in, demand) = watch::channel(None);
        let chair = Chair {
            ceiling,
            demand,
            since: Instant::now(),
        };
        self.lock().push(chair);
        self.deal();
        Seat {
            ceiling: ceiling_in,
            demand: demand_in,
        }
    }

    fn deal(&self) {
        let mut chairs = self.lock();
        chairs.retain(Chair::is_taken);
        let equal = self.bps as f64 / chairs.len().max(1) as f64;
        let wants: Vec<_> = chairs.iter().map(|chair| chair.wants(equal)).collect();
        for (chair, share) in chairs.iter().zip(shares(self.bps as f64, &wants)) {
            let share = Some(share as u64);
            chair
                .ceiling
                .send_if_modified(|ceiling| std::mem::replace(ceiling, share) != share);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Chair>> {
        // A panic elsewhere leaves the list whole.
        self.chairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn deal(cap: Weak<Cap>) {
    let mut ticks = interval(DEAL_INTERVAL);
    loop {
        ticks.tick().await;
        match cap.upgrade() {
            Some(cap) => cap.deal(),
            None => return,
        }
    }
}

/// Max-min fair shares of `all` for who wants so much; `None` wants as much as there is. What they leave
/// when together they want less is dealt out evenly: anybody may want more at any moment.
fn shares(all: f64, wants: &[Option<f64>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    let want = |place: usize| wants.get(place).copied().flatten().unwrap_or(f64::MAX);
    order.sort_by(|a, b| want(*a).total_cmp(&want(*b)));
    let mut shares = vec![0.0; wants.len()];
    let mut left = all;
    for (dealt, place) in order.iter().enumerate() {
        let equal = left / (order.len() - dealt) as f64;
        let share = want(*place).min(equal);
        if let Some(slot) = shares.get_mut(*place) {
            *slot = share;
        }
        left -= share;
    }
    let more = left / wants.len().max(1) as f64;
    shares.iter().map(|share| share + more).collect()
}

#[cfg(test)]
mod tests {
    use haul_transfer::{Limits, Policy};

    use super::*;

    const LIMITS: Limits = Limits {
        policy: Policy::Fair,
        target_bps: None,
        min_bps: 0,
    };

    /// What each of these sessions ends up using when they can use at most so much.
    fn settled(cap: &Cap, seats: &[Seat], most: &[u64]) -> Vec<u64> {
        for _ in 0..50 {
            for (seat, most) in seats.iter().zip(most) {
                let used_bps = (*most).min(seat.ceiling.borrow().unwrap());
                let limits = LIMITS;
                seat.demand.send_replace(Some(Demand { limits, used_bps }));
            }
            cap.deal();
        }
        seats
            .iter()
            .filter_map(|seat| *seat.ceiling.borrow())
            .collect()
    }

    fn cap(bps: u64) -> Cap {
        Cap {
            bps,
            chairs: Mutex::default(),
        }
    }

    #[test]
    fn shares_are_max_min_fair() {
        assert_eq!(shares(90.0, &[None, None, None]), [30.0, 30.0, 30.0]);
        assert_eq!(shares(90.0, &[None, Some(10.0), None]), [40.0, 10.0, 40.0]);
        assert_eq!(shares(90.0, &[Some(10.0), Some(20.0)]), [40.0, 50.0]);
        assert_eq!(shares(90.0, &[Some(50.0), Some(100.0)]), [45.0, 45.0]);
        assert!(shares(90.0, &[]).is_empty());
    }

    #[test]
    fn the_cap_holds_whoever_comes_and_goes() {
        let cap = cap(100_000_000);
        let mut seats = Vec::new();
        for count in 1..=7 {
            seats.push(cap.seat());
            let ceilings = seats.iter().map(|seat| seat.ceiling.borrow().unwrap());
            assert!(ceilings.sum::<u64>() <= 100_000_000, "{count}");
        }
        seats.truncate(2);
        assert_eq!(settled(&cap, &seats, &[u64::MAX; 2]), [50_000_000; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_slow_path_leaves_goes_to_the_others_until_it_is_faster() {
        let cap = cap(100_000_000);
        let seats = [cap.seat(), cap.seat()];
        tokio::time::advance(GRACE).await;
        let ceilings = settled(&cap, &seats, &[20_000_000, u64::MAX]);
        assert_eq!(ceilings, [30_000_000, 70_000_000]);
        let ceilings = settled(&cap, &seats, &[0, u64::MAX]);
        assert_eq!(ceilings, [5_000_000, 95_000_000]);
        assert_eq!(settled(&cap, &seats, &[u64::MAX; 2]), [50_000_000; 2]);
    }

    #[test]
    fn who_asks_for_less_gets_no_more() {
        let cap = cap(100_000_000);
        let seats = [cap.seat(), cap.seat()];
        let limits = Limits {
            target_bps: Some(10_000_000),
            ..LIMITS
        };
        let used_bps = u64::MAX;
        seats[0]
            .demand
            .send_replace(Some(Demand { limits, used_bps }));
        cap.deal();
        assert_eq!(*seats[0].ceiling.borrow(), Some(10_000_000));
        assert_eq!(*seats[1].ceiling.borrow(), Some(90_000_000));
    }
}
