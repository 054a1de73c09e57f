//! A network between both ends: loses, repeats, delays and damages datagrams, or goes dead.
//!
//! The responder binds 127.0.0.1 and tells the initiator 127.0.0.2, where this listens on the same
//! port.

use std::{
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use super::Case;

const SERVER: [u8; 4] = [127, 0, 0, 1];
const BETWEEN: [u8; 4] = [127, 0, 0, 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What the network does, in per cent of the datagrams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) repeat: u64,
    pub(crate) reorder: u64,
    pub(crate) damage: u64,
}

/// The running network; gone when dropped.
pub(crate) struct Proxy {
    dead: Arc<[AtomicBool; 2]>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Puts a network between the two ends of a case.
    pub(crate) fn between(case: &mut Case, weather: Weather, seed: u64) -> Self {
        let (socket, port) = free_port();
        case.setup.bind = Some(SERVER.into());
        case.setup.udp_ports = RangeInclusive::new(port, port);
        case.setup.advertise = Some(BETWEEN.into());
        case.setup.ssh_peer = Some(BETWEEN.into());
        let dead = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let ended = Arc::new(AtomicBool::new(false));
        let network = Network {
            socket,
            server: SocketAddr::from((SERVER, port)),
            client: None,
            weather,
            state: seed,
            held: VecDeque::new(),
            dead: Arc::clone(&dead),
        };
        let until = Arc::clone(&ended);
        thread::spawn(move || network.run(&until));
        Self { dead, ended }
    }

    /// From now on nothing passes this way.
    pub(crate) fn kill(&self, way: Way) {
        self.dead[way as usize].store(true, Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

/// A port free at both addresses. Every test takes others, so that none waits for another's.
fn free_port() -> (UdpSocket, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(42_000);
    loop {
        let port = NEXT.fetch_add(1, Relaxed);
        let free = UdpSocket::bind((std::net::Ipv4Addr::from(SERVER), port));
        let between = UdpSocket::bind((std::net::Ipv4Addr::from(BETWEEN), port));
        if let (Ok(_), Ok(between)) = (free, between) {
            return (between, port);
        }
    }
}

struct Network {
    socket: UdpSocket,
    server: SocketAddr,
    client: Option<SocketAddr>,
    weather: Weather,
    state: u64,
    held: VecDeque<(SocketAddr, Vec<u8>)>,
    dead: Arc<[AtomicBool; 2]>,
}

impl Network {
    fn run(mut self, until: &AtomicBool) {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let mut buffer = [0; 65_536];
        while !until.load(Relaxed) {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => self.pass(&mut buffer[..len], from),
                Err(_) => self.release(0),
            }
        }
    }

    fn pass(&mut self, datagram: &mut [u8], from: SocketAddr) {
        let (way, to) = if from == self.server {
            (Way::Down, self.client)
        } else {
            self.client = Some(from);
            (Way::Up, Some(self.server))
        };
        let Some(to) = to else {
            return;
        };
        let Weather {
            loss,
            repeat,
            reorder,
            damage,
        } = self.weather;
        if self.dead[way as usize].load(Relaxed) || self.chance(loss) {
            return;
        }
        if self.chance(damage) {
            let at = self.random() as usize % datagram.len();
            datagram[at] ^= 1 << (self.random() % 8);
        }
        if self.chance(reorder) {
            self.held.push_back((to, datagram.to_vec()));
            return self.release(30);
        }
        let copies = 1 + usize::from(self.chance(repeat));
        for _ in 0..copies {
            // A full socket buffer is loss, which is what this is for.
            let _ = self.socket.send_to(datagram, to);
        }
        self.release(30);
    }

    /// Lets go of what was held back, but for the last few.
    fn release(&mut self, keep: usize) {
        while self.held.len() > keep {
            if let Some((to, datagram)) = self.held.pop_front() {
                let _ = self.socket.send_to(&datagram, to);
            }
        }
    }

    fn chance(&mut self, per_cent: u64) -> bool {
        self.random() % 100 < per_cent
    }

    /// splitmix64: https://prng.di.unimi.it/splitmix64.c
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
