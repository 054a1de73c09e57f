use std::{net::IpAddr, time::Duration};

use haul_flow::Time;
use haul_udp::{Arrival, Route, UdpPath};

/// Datagrams a second from elsewhere than the peer that are looked at; opening one costs about a
/// microsecond, so this is a fiftieth of a core. A peer that has moved sends more for a round trip
/// or two; what is dropped of it is sent again.
const PER_SECOND: f64 = 20_000.0;
/// How many may come at once.
const BURST: f64 = 4_096.0;

/// Keeps those who are not the peer from costing more than a little.
#[derive(Debug)]
pub(crate) struct Strangers {
    allowance: f64,
    counted_at: Time,
}

impl Strangers {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            allowance: BURST,
            counted_at: now,
        }
    }

    /// Where it came from if not from the peer.
    pub(crate) fn origin(path: &UdpPath, arrival: &Arrival) -> Option<Route> {
        let route = path.route();
        let is_peer = route.is_some_and(|route| route.peer == arrival.from);
        let source = arrival.to.or_else(|| route.and_then(|route| route.source));
        // An address of this host itself is no address to send from into a network, nor the other way.
        let is_fit = |source: &IpAddr| is_loopback(*source) == is_loopback(arrival.from.ip());
        (!is_peer).then(|| Route {
            peer: arrival.from,
            source: source.filter(is_fit),
        })
    }

    /// Whether so many datagrams of strangers may be looked at.
    pub(crate) fn admit(&mut self, count: usize, now: Time) -> bool {
        let since: Duration = now - self.counted_at;
        self.counted_at = now;
        self.allowance = (self.allowance + since.as_secs_f64() * PER_SECOND).min(BURST);
        let cost = count as f64;
        let is_admitted = self.allowance >= cost;
        if is_admitted {
            self.allowance -= cost;
        }
        is_admitted
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_down_to_what_it_may_cost() {
        let mut strangers = Strangers::new(Time::ZERO);
        let admitted = (0..1_000_000_u64)
            .filter(|us| strangers.admit(1, Time::from_micros(*us)))
            .count();
        assert!((20_000..=25_000).contains(&admitted), "{admitted}");
    }
}
