use std::time::Duration;

use arrayvec::ArrayVec;
use haul_flow::Time;
use haul_udp::Route;

/// Least time between two moves: a peer does not move more often, an attacker would.
const MOVE_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two challenges to one address.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(200);
/// Addresses that are challenged at a time.
const CANDIDATES_MAX: usize = 4;
/// Bytes sent to an address before it has answered, as a multiple of what came from it.
const AMPLIFICATION_MAX: usize = 3;

/// Follows the peer to another address (RFC 9000, section 9; NAT rebinding, roaming).
///
/// The newest authentic packet came from elsewhere: that address is challenged, and everything goes
/// on to the old one until the challenge has been answered.
#[derive(Debug, Default)]
pub(crate) struct Roaming {
    /// The one that was heard last is the last.
    candidates: ArrayVec<Candidate, CANDIDATES_MAX>,
    moved_at: Option<Time>,
    moves: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    route: Route,
    /// What the challenge asks to be told; nobody else can know it.
    token: u64,
    challenged_at: Time,
    bytes_in: usize,
    bytes_out: usize,
}

impl Roaming {
    /// The newest packets, of `bytes` bytes, came from an address that is not the peer's. Returns
    /// the token to challenge it with, by a datagram of `challenge_len` bytes, if it is to be.
    pub(crate) fn hear(
        &mut self,
        route: Route,
        bytes: usize,
        challenge_len: usize,
        token: impl FnOnce() -> u64,
        now: Time,
    ) -> Option<u64> {
        if self.moved_at.is_some_and(|at| now - at < MOVE_INTERVAL) {
            return None;
        }
        let known = self.candidates.iter().position(|one| one.route == route);
        let mut candidate = match known {
            Some(at) => self.candidates.remove(at),
            None => {
                if self.candidates.is_full() {
                    self.candidates.remove(0);
                }
                Candidate {
                    route,
                    token: token(),
                    challenged_at: Time::ZERO,
                    bytes_in: 0,
                    bytes_out: 0,
                }
            }
        };
        candidate.bytes_in += bytes;
        let is_first = candidate.bytes_out == 0;
        let is_due = is_first || now - candidate.challenged_at >= CHALLENGE_INTERVAL;
        let is_paid = candidate.bytes_out + challenge_len <= AMPLIFICATION_MAX * candidate.bytes_in;
        let challenge = (is_due && is_paid).then_some(candidate.token);
        if challenge.is_some() {
            candidate.challenged_at = now;
            candidate.bytes_out += challenge_len;
        }
        self.candidates.push(candidate);
        challenge
    }

    /// An echo arrived; where the peer is, if it answers a challenge.
    pub(crate) fn answer(&mut self, token: u64, now: Time) -> Option<Route> {
        let candidate = self.candidates.iter().find(|one| one.token == token)?;
        let route = candidate.route;
        // What else was challenged was never answered, or is where the peer was.
        self.candidates.clear();
        self.moved_at = Some(now);
        self.moves += 1;
        Some(route)
    }

    /// How often the peer has moved.
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const LEN: usize = 64;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn from(port: u16) -> Route {
        Route::to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn w20_an_address_is_challenged_now_and_then_and_believed_when_it_answers() {
        let mut roaming = Roaming::default();
        assert_eq!(roaming.hear(from(1), 100, LEN, || 7, at(0)), Some(7));
        assert_eq!(roaming.hear(from(1), 100, LEN, || 8, at(199)), None);
        assert_eq!(roaming.hear(from(1), 100, LEN, || 8, at(200)), Some(7));
        assert_eq!(roaming.answer(8, at(250)), None, "not what was asked");
        assert_eq!(roaming.answer(7, at(250)), Some(from(1)));
        assert_eq!(roaming.answer(7, at(251)), None, "once");
        assert_eq!(roaming.moves(), 1);
    }

    #[test]
    fn w20_nobody_moves_twice_a_second() {
        let mut roaming = Roaming::default();
        roaming.hear(from(1), 100, LEN, || 7, at(0));
        roaming.answer(7, at(100));
        assert_eq!(roaming.hear(from(2), 100, LEN, || 8, at(1_099)), None);
        assert_eq!(roaming.hear(from(2), 100, LEN, || 8, at(1_100)), Some(8));
    }

    #[test]
    fn a_victim_gets_three_times_what_was_sent_in_its_name() {
        let mut roaming = Roaming::default();
        let mut sent = 0;
        for second in 0..100 {
            let heard = roaming.hear(from(1), 10, LEN, || 7, at(second * 1_000));
            sent += heard.map_or(0, |_| LEN);
        }
        assert!(sent > 0 && sent <= 3 * 10 * 100, "{sent}");
    }

    #[test]
    fn w20_a_flood_of_addresses_does_not_push_out_the_one_that_answers_in_time() {
        let mut roaming = Roaming::default();
        for port in 0..10_000 {
            let challenged = roaming.hear(from(port), 100, LEN, || u64::from(port), at(1));
            assert_eq!(challenged, Some(u64::from(port)));
            assert!(roaming.candidates.len() <= CANDIDATES_MAX);
        }
        assert_eq!(roaming.answer(9_999, at(2)), Some(from(9_999)));
    }
}
