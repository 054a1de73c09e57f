//! The part all TCP models share: a window, selective acknowledgement, loss by three later
//! arrivals (RFC 6675), a retransmission time-out (RFC 6298, Linux's least of 200 ms).
//!
//! Idealised on the safe side: every segment is acknowledged at once, acknowledgements are not
//! lost, and a retransmission is a transmission like any other with a number of its own.

use std::{collections::VecDeque, fmt, time::Duration};

use haul_flow::Time;

use super::{
    bbr::Bbr,
    cubic::Cubic,
    world::{Load, Parcel},
};
use crate::rng::Rng;

/// Bytes of IP of a full segment.
pub(super) const MSS: u32 = 1500;
const RTO_MIN: f64 = 0.2;
/// Later arrivals that declare a segment lost.
const LATER: u64 = 3;

/// Which congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cubic,
    Bbr,
}

/// One acknowledged segment, as the congestion control sees it. Segments, seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) now: f64,
    pub(super) rtt: f64,
    pub(super) srtt: f64,
    pub(super) number: u64,
    pub(super) next: u64,
    pub(super) in_flight: u64,
    /// Segments delivered so far, and as this segment was sent.
    pub(super) delivered: u64,
    pub(super) delivered_before: u64,
    /// Segments per second delivered between.
    pub(super) delivery_rate: f64,
}

/// A congestion control.
pub(super) trait Control: fmt::Debug {
    fn on_ack(&mut self, ack: &Ack);
    /// Segment `number` was lost; `next` will be the next number: one cut per event.
    fn on_loss(&mut self, number: u64, next: u64);
    fn on_timeout(&mut self);
    /// Segments that may be in flight.
    fn window(&self) -> f64;
    /// Segments per second; `None`: not paced.
    fn pace(&self) -> Option<f64>;
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Time,
    is_acked: bool,
    delivered: u64,
    delivered_at: Time,
    /// When the segment was sent whose acknowledgement came last before.
    first_sent_at: Time,
}

#[derive(Debug)]
pub(super) struct Tcp {
    control: Box<dyn Control>,
    sent: VecDeque<Sent>,
    base: u64,
    in_flight: u64,
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    srtt: f64,
    rttvar: f64,
    backoff: u32,
    /// When the last acknowledgement came, or the first segment left after none was in flight.
    heard_at: Time,
    /// When the next segment may leave; `MAX`: the window is closed.
    send_at: Time,
    paced_until: Time,
}

impl Tcp {
    pub(super) fn new(kind: Kind, rtt: Duration, begin: Time, rng: Rng) -> Self {
        let control: Box<dyn Control> = match kind {
            Kind::Cubic => Box::new(Cubic::new()),
            Kind::Bbr => Box::new(Bbr::new(rtt.as_secs_f64(), rng)),
        };
        Self {
            control,
            sent: VecDeque::new(),
            base: 0,
            in_flight: 0,
            delivered: 0,
            delivered_at: begin,
            first_sent_at: begin,
            srtt: rtt.as_secs_f64(),
            rttvar: rtt.as_secs_f64() / 2.0,
            backoff: 0,
            heard_at: begin,
            send_at: begin,
            paced_until: begin,
        }
    }

    pub(super) fn poll_timeout(&self) -> Time {
        match self.in_flight {
            0 => self.send_at,
            _ => self.send_at.min(self.timeout_at()),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<Parcel>) {
        if self.in_flight > 0 && self.timeout_at() <= now {
            self.base += self.sent.len() as u64;
            self.sent.clear();
            self.in_flight = 0;
            self.backoff += 1;
            self.heard_at = now;
            self.control.on_timeout();
        }
        self.send(now, out);
    }

    pub(super) fn handle_ack(&mut self, number: u64, now: Time, out: &mut Vec<Parcel>) {
        let next = self.base + self.sent.len() as u64;
        let place = number.checked_sub(self.base);
        let sent = place.and_then(|n| self.sent.get_mut(n as usize));
        if let Some(sent) = sent.filter(|sent| !sent.is_acked) {
            sent.is_acked = true;
            let sent = *sent;
            self.in_flight -= 1;
            self.delivered += 1;
            (self.heard_at, self.delivered_at, self.backoff) = (now, now, 0);
            self.first_sent_at = sent.at;
            let rtt = (now - sent.at).as_secs_f64();
            self.rttvar += ((rtt - self.srtt).abs() - self.rttvar) / 4.0;
            self.srtt += (rtt - self.srtt) / 8.0;
            self.detect(number, next);
            let sending = sent.at - sent.first_sent_at;
            let elapsed = (now - sent.delivered_at).max(sending).as_secs_f64();
            self.control.on_ack(&Ack {
                now: now.0 as f64 / 1e9,
                rtt,
                srtt: self.srtt,
                number,
                next,
                in_flight: self.in_flight,
                delivered: self.delivered,
                delivered_before: sent.delivered,
                delivery_rate: (self.delivered - sent.delivered) as f64 / elapsed.max(1e-9),
            });
        }
        self.send(now, out);
    }

    /// Settles everything that three later segments have overtaken.
    fn detect(&mut self, acked: u64, next: u64) {
        while let Some(oldest) = self.sent.front() {
            if !oldest.is_acked {
                if self.base + LATER > acked {
                    break;
                }
                self.in_flight -= 1;
                self.control.on_loss(self.base, next);
            }
            self.sent.pop_front();
            self.base += 1;
        }
    }

    fn send(&mut self, now: Time, out: &mut Vec<Parcel>) {
        self.send_at = Time::MAX;
        while ((self.in_flight + 1) as f64) <= self.control.window().max(1.0) {
            if let Some(pace) = self.control.pace() {
                if self.paced_until > now {
                    self.send_at = self.paced_until;
                    return;
                }
                self.paced_until = now + Duration::from_secs_f64(1.0 / pace.max(1.0));
            }
            if self.in_flight == 0 {
                (self.heard_at, self.delivered_at, self.first_sent_at) = (now, now, now);
            }
            out.push(Parcel {
                load: Load::Data {
                    number: self.base + self.sent.len() as u64,
                    block: 0,
                },
                bytes: MSS,
                sent_at: now,
            });
            self.sent.push_back(Sent {
                at: now,
                is_acked: false,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                first_sent_at: self.first_sent_at,
            });
            self.in_flight += 1;
        }
    }

    fn timeout_at(&self) -> Time {
        let rto =
            (self.srtt + 4.0 * self.rttvar).max(RTO_MIN) * f64::from(1 << self.backoff.min(6));
        self.heard_at + Duration::from_secs_f64(rto)
    }
}
