use std::{net::SocketAddr, time::Duration};

use haul_flow::Time;

use crate::Knock;

/// Longest time between two questions, unless the first waits longer.
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// When to ask whether the better way is open. That it answers is all there is to it: the other end sees
/// an authentic datagram from another address, challenges that, and moves ([`super::roaming`]); what it
/// then sends from there makes this end do the same.
#[derive(Debug)]
pub(crate) struct Knocking {
    at: SocketAddr,
    wait: Duration,
    next: Time,
}

impl Knocking {
    pub(crate) fn new(knock: Knock, now: Time) -> Self {
        Self {
            at: knock.at,
            wait: knock.after,
            next: now + knock.after,
        }
    }

    /// Where to ask now, if it is time to and the peer is not there.
    pub(crate) fn poll(&mut self, peer: Option<SocketAddr>, now: Time) -> Option<SocketAddr> {
        if now < self.next || peer == Some(self.at) {
            return None;
        }
        self.wait = (self.wait * 2).min(INTERVAL_MAX.max(self.wait));
        self.next = now + self.wait;
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_at(after: u64, peer: Option<SocketAddr>) -> Vec<u64> {
        let at = SocketAddr::from(([192, 0, 2, 1], 33_001));
        let after = Duration::from_secs(after);
        let mut knocking = Knocking::new(Knock { at, after }, Time::ZERO);
        let is_due = |second: &u64| {
            let asked = knocking.poll(peer, Time(second * 1_000_000_000));
            assert!(asked.is_none_or(|asked| asked == at));
            asked.is_some()
        };
        (0..200).filter(is_due).collect()
    }

    #[test]
    fn questions_become_fewer() {
        assert_eq!(asked_at(1, None), [1, 3, 7, 15, 31, 61, 91, 121, 151, 181]);
        assert_eq!(asked_at(60, None), [60, 120, 180]);
    }

    #[test]
    fn nobody_asks_for_a_peer_that_is_there() {
        let there = SocketAddr::from(([192, 0, 2, 1], 33_001));
        assert_eq!(asked_at(1, Some(there)), []);
    }
}
