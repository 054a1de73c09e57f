//! The emulation measures itself: only a link that adds nothing of its own may judge others.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use crate::{Direction, FAR_ADDRESS, Link, NEAR_ADDRESS, Wan, WanError, emulator::serve_first};

/// Payload of the packets sent: with 28 bytes of headers what a full packet of haul has.
const PAYLOAD: usize = 1452;
const HEADERS: usize = 28;
const PORT: u16 = 9;
/// Propagation delay of the blank link.
const DELAY: Duration = Duration::from_millis(10);
/// Packets leave in groups no longer than this, as a pacer's do.
const GROUP: Duration = Duration::from_micros(500);
/// So that a receiver that is late loses nothing and is not taken for the emulation.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The receiver ends after so long a silence.
const SILENCE: Duration = Duration::from_millis(300);

/// What a blank run showed: a link with nothing but delay, and then one with a bottleneck.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// Packets sent over the blank link.
    pub sent_packets: u64,
    /// Packets that the emulation itself dropped.
    pub own_drops: u64,
    /// Delay beyond the propagation delay: median.
    pub added_delay_median: Duration,
    /// Delay beyond the propagation delay: 99th percentile.
    pub added_delay_p99: Duration,
    /// Share of packets that the emulation handed over within 200 µs of their time.
    pub punctual_share: f64,
    /// Rate through the bottleneck, as a share of its rate.
    pub rate_share: f64,
}

impl Proof {
    /// Measures the emulation at `rate_bps` for about twice `duration`.
    ///
    /// # Errors
    /// [`WanError`] when the link cannot be made.
    pub fn run(rate_bps: u64, duration: Duration) -> Result<Self, WanError> {
        let blank = Direction {
            delay: DELAY,
            ..Direction::default()
        };
        let link = Link {
            out: blank.clone(),
            back: blank,
            device_mtu: 1500,
            seed: 1,
        };
        let wan = Wan::start(&link)?;
        let (sent, mut delays) = blast(&wan, rate_bps, duration)?;
        delays.sort_unstable();
        let quantile = |share: f64| {
            let index = (delays.len() as f64 * share) as usize;
            let delay = delays.get(index).copied().unwrap_or(Duration::MAX);
            delay.saturating_sub(DELAY)
        };
        let bottleneck = rate_bps / 3;
        let rate_share = through_bottleneck(bottleneck, duration)?;
        Ok(Self {
            sent_packets: sent,
            punctual_share: wan.counters().punctual_share(),
            own_drops: wan.counters().own_drops + wan.device_drops()?,
            added_delay_median: quantile(0.5),
            added_delay_p99: quantile(0.99),
            rate_share,
        })
    }

    /// Whether measurements over the emulation can be believed: nothing dropped, at most 0.2 ms added
    /// to all but one packet in a hundred, the rate within half a percent.
    pub fn holds(&self) -> bool {
        self.own_drops == 0
            && self.added_delay_p99 < Duration::from_micros(200)
            && (self.rate_share - 1.0).abs() < 0.005
    }
}

/// Sends paced packets from near to far; how many, and the delay of each that arrived.
fn blast(wan: &Wan, rate_bps: u64, duration: Duration) -> Result<(u64, Vec<Duration>), WanError> {
    let receiver = wan.far().run(|| UdpSocket::bind((FAR_ADDRESS, PORT)))??;
    receiver.set_read_timeout(Some(SILENCE))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, RECEIVE_BUFFER)
        .map_err(std::io::Error::from)?;
    let sender = wan.near().run(|| UdpSocket::bind((NEAR_ADDRESS, 0)))??;
    let began = Instant::now();
    let sending = thread::spawn(move || {
        serve_first();
        let mut packet = [0; PAYLOAD];
        let group_bits = rate_bps as f64 * GROUP.as_secs_f64();
        let packets = (group_bits / ((PAYLOAD + HEADERS) as f64 * 8.0)).max(1.0) as u32;
        let bits = u64::from(packets) * (PAYLOAD + HEADERS) as u64 * 8;
        let pause = Duration::from_nanos(bits * 1_000_000_000 / rate_bps.max(1));
        let mut sent = 0_u64;
        let mut due = began.elapsed();
        while began.elapsed() < duration {
            for _ in 0..packets {
                let now = began.elapsed().as_nanos() as u64;
                packet[..8].copy_from_slice(&now.to_be_bytes());
                sent += u64::from(sender.send_to(&packet, (FAR_ADDRESS, PORT)).is_ok());
            }
            due += pause;
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        sent
    });
    let receiving = thread::spawn(move || {
        serve_first();
        let mut delays = Vec::new();
        let mut packet = [0; PAYLOAD];
        while receiver.recv(&mut packet).is_ok() {
            let now = began.elapsed();
            let mut sent_at = [0; 8];
            sent_at.copy_from_slice(&packet[..8]);
            delays.push(now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(sent_at))));
        }
        delays
    });
    let sent = sending.join().map_err(|_| WanError::Ended)?;
    let delays = receiving.join().map_err(|_| WanError::Ended)?;
    Ok((sent, delays))
}

/// Sends half as much again as a bottleneck carries; what it carried, as a share.
fn through_bottleneck(rate_bps: u64, duration: Duration) -> Result<f64, WanError> {
    let link = Link::symmetric(rate_bps, DELAY, Duration::from_millis(20), 0.0);
    let wan = Wan::start(&link)?;
    blast(&wan, rate_bps / 2 * 3, duration)?;
    let counters = wan.counters();
    let (from, to) = (duration / 4, duration / 4 * 3);
    let carried = counters.out.values().map(|flow| {
        let bytes = flow.delivered_between(flow.first_at + from, flow.first_at + to);
        bytes as f64 * 8.0 / (to - from).as_secs_f64()
    });
    Ok(carried.fold(0.0, f64::max) / rate_bps as f64)
}
