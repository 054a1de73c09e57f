//! A network between both ends: loses, repeats, delays and damages datagrams, goes dead, carries only
//! short ones, or makes the initiator appear elsewhere.
//!
//! The responder binds 127.0.0.1 and tells the initiator 127.0.0.2, where this listens on the same
//! port.

use std::{
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed},
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
    knobs: Arc<Knobs>,
}

/// What can be changed while it runs.
struct Knobs {
    dead: [AtomicBool; 2],
    /// Longest datagram that passes.
    longest: AtomicUsize,
    /// Where the initiator appears from now on, if not at the network's own address.
    outside: Mutex<Option<UdpSocket>>,
    /// Sends, before each datagram of the initiator, a copy of it from there.
    forger: Mutex<Option<UdpSocket>>,
    /// Datagrams to the initiator since it appears where it does.
    down: AtomicU64,
    ended: AtomicBool,
}

impl Proxy {
    /// Puts a network between the two ends of a case.
    pub(crate) fn between(case: &mut Case, weather: Weather, seed: u64) -> Self {
        let (socket, port) = free_port();
        case.setup.bind = Some(SERVER.into());
        case.setup.udp_ports = RangeInclusive::new(port, port);
        case.setup.advertise = Some(BETWEEN.into());
        case.setup.ssh_peer = Some(BETWEEN.into());
        let knobs = Arc::new(Knobs {
            dead: [AtomicBool::new(false), AtomicBool::new(false)],
            longest: AtomicUsize::new(usize::MAX),
            outside: Mutex::new(None),
            forger: Mutex::new(None),
            down: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let network = Network {
            socket,
            server: SocketAddr::from((SERVER, port)),
            client: None,
            weather,
            state: seed,
            held: VecDeque::new(),
            knobs: Arc::clone(&knobs),
        };
        thread::spawn(move || network.run());
        Self { knobs }
    }

    /// From now on nothing passes this way.
    pub(crate) fn kill(&self, way: Way) {
        self.knobs.dead[way as usize].store(true, Relaxed);
    }

    /// From now on everything passes again.
    pub(crate) fn revive(&self) {
        for dead in &self.knobs.dead {
            dead.store(false, Relaxed);
        }
    }

    /// From now on nothing longer passes, either way, and nobody is told.
    pub(crate) fn narrow(&self, longest: usize) {
        self.knobs.longest.store(longest, Relaxed);
    }

    /// From now on the initiator appears at another port of this address, and is heard there only.
    pub(crate) fn move_to(&self, ip: [u8; 4]) {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(ip), 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        self.knobs.down.store(0, Relaxed);
        *self.knobs.outside.lock().unwrap() = Some(socket);
    }

    /// From now on a copy of everything the initiator sends arrives first, from elsewhere.
    pub(crate) fn forge(&self, ip: [u8; 4]) {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(ip), 0)).unwrap();
        *self.knobs.forger.lock().unwrap() = Some(socket);
    }

    /// Datagrams that have come to where the initiator appears since it moved.
    pub(crate) fn followed(&self) -> u64 {
        self.knobs.down.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.knobs.ended.store(true, Relaxed);
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
    knobs: Arc<Knobs>,
}

impl Network {
    fn run(mut self) {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let mut buffer = [0; 65_536];
        let knobs = Arc::clone(&self.knobs);
        while !knobs.ended.load(Relaxed) {
            while let Some((len, from)) = self.receive_outside(&mut buffer) {
                knobs.down.fetch_add(1, Relaxed);
                self.pass(&mut buffer[..len], from);
            }
            match self.socket.recv_from(&mut buffer) {
                // The server's datagrams to where the initiator was.
                Ok((_, from)) if from == self.server && self.has_moved() => {}
                Ok((len, from)) => self.pass(&mut buffer[..len], from),
                Err(_) => self.release(0),
            }
        }
    }

    /// What has come to where the initiator appears.
    fn receive_outside(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let outside = self.knobs.outside.lock().unwrap();
        outside.as_ref()?.recv_from(buffer).ok()
    }

    fn has_moved(&self) -> bool {
        self.knobs.outside.lock().unwrap().is_some()
    }

    /// Sends from where the initiator appears, or from the network's own address.
    fn send(&self, datagram: &[u8], to: SocketAddr) {
        let outside = self.knobs.outside.lock().unwrap();
        let socket = match outside.as_ref() {
            Some(outside) if to == self.server => outside,
            _ => &self.socket,
        };
        // A full socket buffer is loss, which is what this is for.
        let _ = socket.send_to(datagram, to);
    }

    fn pass(&mut self, datagram: &mut [u8], from: SocketAddr) {
        if datagram.len() > self.knobs.longest.load(Relaxed) {
            return;
        }
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
        if let (Way::Up, Some(forger)) = (way, &*self.knobs.forger.lock().unwrap()) {
            let _ = forger.send_to(datagram, to);
        }
        if self.knobs.dead[way as usize].load(Relaxed) || self.chance(loss) {
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
            self.send(datagram, to);
        }
        self.release(30);
    }

    /// Lets go of what was held back, but for the last few.
    fn release(&mut self, keep: usize) {
        while self.held.len() > keep {
            if let Some((to, datagram)) = self.held.pop_front() {
                self.send(&datagram, to);
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
