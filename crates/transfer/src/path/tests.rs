//! Both sides over loopback, through a proxy in the same process that loses, cuts and replays.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Instant,
};

use haul_seal::{Direction, KeyInput, SessionSecrets};
use haul_udp::{Received, Route};
use haul_wire::{SessionId, SuiteId};

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

type Seals = (Arc<Sealer>, Arc<Opener>);

/// The seals of both ends of one session.
fn seals() -> (Seals, Seals) {
    let end = |out, back| {
        let secrets = SessionSecrets::derive(&KeyInput {
            shared_x25519: &[1; 32],
            client_nonce: &[2; 32],
            server_nonce: &[3; 32],
            client_hello: b"client",
            server_hello: b"server",
        })
        .unwrap();
        let (suite, session) = (SuiteId::Aes128Cfb, SessionId(5));
        (
            Arc::new(Sealer::new(suite, secrets.traffic(out), session)),
            Arc::new(Opener::new(suite, secrets.traffic(back), session)),
        )
    };
    let (up, down) = (Direction::ClientToServer, Direction::ServerToClient);
    (end(up, down), end(down, up))
}

fn socket(ip: IpAddr) -> Arc<UdpPath> {
    Arc::new(UdpPath::bind(ip, 0..=0).unwrap())
}

struct Responder {
    address: SocketAddr,
    stop: Stop,
    heard: mpsc::Receiver<()>,
    thread: JoinHandle<Result<OpenedPath, TransferError>>,
}

impl Responder {
    fn start(ip: IpAddr, origin: Origin, seals: Seals) -> Self {
        let socket = socket(ip);
        let address = socket.local_addr();
        let stop = Stop::default();
        let stopped = stop.watch();
        let (tell, heard) = mpsc::channel();
        let thread = thread::spawn(move || {
            await_opening(socket, origin, seals, PATIENCE, &stopped, || {
                tell.send(()).unwrap()
            })
        });
        Self {
            address,
            stop,
            heard,
            thread,
        }
    }

    fn join(self) -> Result<OpenedPath, TransferError> {
        self.thread.join().unwrap()
    }
}

fn initiate(
    server: SocketAddr,
    origin: Origin,
    seals: Seals,
    patience: Duration,
) -> Result<Option<OpenedPath>, TransferError> {
    let local: IpAddr = match server {
        SocketAddr::V4(_) => LOCALHOST,
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let opened = open(
        socket(local),
        server,
        origin,
        (seals.0, seals.1, PacketCounter::new()),
        patience,
        &Stop::default().watch_unstopped(),
    );
    opened.map(|opened| match opened {
        Opened::Path(path) => Some(path),
        Opened::Silence(_) => None,
    })
}

impl Stop {
    /// A view that outlives its maker unstopped.
    fn watch_unstopped(self) -> Stopped {
        let stopped = self.watch();
        std::mem::forget(self);
        stopped
    }
}

/// Passes datagrams between one client and a server; `pass` decides by direction and datagram.
struct Proxy {
    address: SocketAddr,
    _stop: Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Proxy {
    fn start(
        server: SocketAddr,
        mut pass: impl FnMut(Way, &[u8]) -> bool + Send + 'static,
    ) -> Self {
        let socket = socket(LOCALHOST);
        let address = socket.local_addr();
        let stop = Stop::default();
        let stopped = stop.watch();
        thread::spawn(move || {
            let mut client = None;
            let mut buffer = vec![0; DATAGRAM_LEN_MAX];
            while !stopped.is_set() {
                let received = socket
                    .recv_one(&mut buffer, Duration::from_millis(20))
                    .unwrap();
                let Some(Received { len, from, .. }) = received else {
                    continue;
                };
                let (way, to) = if from == server {
                    (Way::Down, client)
                } else {
                    client = Some(from);
                    (Way::Up, Some(server))
                };
                if let Some(to) = to
                    && pass(way, &buffer[..len])
                {
                    socket.send_to(Route::to(to), &buffer[..len]).unwrap();
                }
            }
        });
        Self {
            address,
            _stop: stop,
        }
    }
}

fn check_pair(client: &OpenedPath, server: &OpenedPath, datagram_len: usize) {
    assert_eq!(
        (client.datagram_len, server.datagram_len),
        (datagram_len, datagram_len)
    );
    assert!(client.opening.is_some() && server.opening.is_none());
    assert_eq!(client.path.peer(), Some(client.peer));
    assert_eq!(server.path.peer(), Some(server.peer));
    assert!(
        client.counter.next_packet().0 >= 8,
        "hellos and responses each took a number"
    );
}

#[test]
fn the_largest_datagram_is_found_over_both_families() {
    for ip in [LOCALHOST, std::net::Ipv6Addr::LOCALHOST.into()] {
        let (client, server) = seals();
        let responder = Responder::start(ip, Origin::only(ip), server);
        let opened = initiate(responder.address, Origin::only(ip), client, PATIENCE)
            .unwrap()
            .expect("nothing is lost here");
        responder.heard.recv_timeout(PATIENCE).unwrap();
        let answered = responder.join().unwrap();
        check_pair(&opened, &answered, 8928);
        assert!(opened.rtt < Duration::from_secs(1), "{:?}", opened.rtt);
    }
}

#[test]
fn a_small_mtu_is_noticed() {
    for (mtu, expected) in [
        (1500, 1472),
        (1420, 1376),
        (1300, 1248),
        (1280, 1248),
        (1260, 1232),
    ] {
        let (client, server) = seals();
        let responder = Responder::start(LOCALHOST, Origin::only(LOCALHOST), server);
        let proxy = Proxy::start(responder.address, move |_, datagram| {
            datagram.len() + 28 <= mtu
        });
        let opened = initiate(proxy.address, Origin::only(LOCALHOST), client, PATIENCE)
            .unwrap()
            .expect("small ones pass");
        let answered = responder.join().unwrap();
        check_pair(&opened, &answered, expected);
    }
}

/// splitmix64: https://prng.di.unimi.it/splitmix64.c
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn loss_delays_the_opening_but_does_not_prevent_it() {
    for seed in 0..6u64 {
        let (client, server) = seals();
        let responder = Responder::start(LOCALHOST, Origin::only(LOCALHOST), server);
        let mut state = seed;
        // Responses pass: that they are repeated until the peer is heard is the engine's work.
        let proxy = Proxy::start(responder.address, move |_, datagram| {
            claimed_kind(datagram) == Some(Kind::Response) || random(&mut state).is_multiple_of(2)
        });
        let opened = initiate(proxy.address, Origin::only(LOCALHOST), client, PATIENCE)
            .unwrap()
            .unwrap_or_else(|| panic!("seed {seed}"));
        let answered = responder
            .join()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(opened.datagram_len, answered.datagram_len, "seed {seed}");
    }
}

#[test]
fn a_closed_direction_can_be_told_from_the_other() {
    for closed in [Way::Up, Way::Down] {
        let (client, server) = seals();
        let responder = Responder::start(LOCALHOST, Origin::only(LOCALHOST), server);
        let proxy = Proxy::start(responder.address, move |way, _| way != closed);
        let patience = Duration::from_millis(700);
        let opened = initiate(proxy.address, Origin::only(LOCALHOST), client, patience).unwrap();
        assert!(opened.is_none());
        assert_eq!(
            responder.heard.try_recv().is_ok(),
            closed == Way::Down,
            "{closed:?}"
        );
        drop(responder.stop);
        let error = responder.thread.join().unwrap().map(drop).unwrap_err();
        assert!(
            matches!(error, TransferError::Cancelled { by_peer: false }),
            "{error}"
        );
    }
}

/// A hello that arrives first from elsewhere gets at most what it brought, and no flow.
#[test]
fn w18_a_replayed_hello_gets_no_flow_and_little_else() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::Anywhere, server);
    let victim = socket(LOCALHOST);
    let (server_addr, replayer) = (responder.address, Arc::clone(&victim));
    // Of every pair of copies the first arrives from the victim's address instead.
    let mut count = 0;
    let proxy = Proxy::start(responder.address, move |way, datagram| {
        let hello = way == Way::Up && claimed_kind(datagram) == Some(Kind::Hello);
        count += usize::from(hello);
        let stolen = hello && count % 2 == 1;
        if stolen {
            replayer.send_to(Route::to(server_addr), datagram).unwrap();
        }
        !stolen
    });
    let opened = initiate(proxy.address, Origin::only(LOCALHOST), client, PATIENCE)
        .unwrap()
        .expect("the second copies arrive");
    let answered = responder.join().unwrap();
    assert_eq!(
        answered.peer, proxy.address,
        "the flow goes where the nonce was echoed"
    );
    check_pair(&opened, &answered, 8928);
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    let mut reflected = 0;
    while let Some(received) = victim
        .recv_one(&mut buffer, Duration::from_millis(50))
        .unwrap()
    {
        reflected += received.len;
    }
    assert!(
        reflected <= 3 * PROBE_SIZES.iter().sum::<usize>(),
        "{reflected}"
    );
}

/// With the address that SSH knows, the victim hears nothing at all, and the copy it "sent" does
/// not use up the original's number.
#[test]
fn only_the_address_that_ssh_knows_is_answered() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::only(LOCALHOST), server);
    let stranger = socket(IpAddr::from([127, 0, 0, 2]));
    let (server_addr, replayer) = (responder.address, Arc::clone(&stranger));
    let proxy = Proxy::start(responder.address, move |way, datagram| {
        if way == Way::Up {
            replayer.send_to(Route::to(server_addr), datagram).unwrap();
        }
        true
    });
    let opened = initiate(proxy.address, Origin::only(LOCALHOST), client, PATIENCE).unwrap();
    assert!(opened.is_some());
    assert_eq!(responder.join().unwrap().peer, proxy.address);
    let heard = stranger.recv_one(&mut vec![0; DATAGRAM_LEN_MAX], Duration::from_millis(50));
    assert!(heard.unwrap().is_none());
}

#[test]
fn mapped_addresses_are_treated_alike() {
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    let plain = SocketAddr::new(LOCALHOST, 1);
    let seen = SocketAddr::new(mapped, 2);
    for (origin, from) in [(LOCALHOST, seen), (mapped, plain), (mapped, seen)] {
        assert!(Origin::only(origin).allows(from), "{origin} {from}");
    }
    assert!(!Origin::only(mapped).allows(SocketAddr::from(([127, 0, 0, 2], 1))));
}

/// Sends hand-made datagrams to a responder and shows what comes back.
struct Handmade {
    socket: Arc<UdpPath>,
    server: SocketAddr,
    envelope: Envelope,
}

impl Handmade {
    fn new(server: SocketAddr, (sealer, opener): Seals) -> Self {
        let envelope = Envelope::new(sealer, opener, PacketCounter::new());
        Self {
            socket: socket(LOCALHOST),
            server,
            envelope,
        }
    }

    fn send<T: Serialize>(&mut self, kind: Kind, body: &T, len: usize) -> Vec<u8> {
        let sealed = self.envelope.seal(kind, body, len).unwrap();
        self.socket
            .send_to(Route::to(self.server), sealed.bytes())
            .unwrap();
        sealed.bytes().to_vec()
    }

    fn receive(&self, patience_ms: u64) -> Option<path::Challenge> {
        let mut buffer = vec![0; DATAGRAM_LEN_MAX];
        let patience = Duration::from_millis(patience_ms);
        let received = self.socket.recv_one(&mut buffer, patience).unwrap()?;
        self.envelope.open(Kind::Challenge, &buffer[..received.len])
    }
}

#[test]
fn w19_wrong_late_and_repeated_responses_are_ignored() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::Anywhere, server);
    let mut client = Handmade::new(responder.address, client);
    // Before any hello: nothing to echo.
    let early = Response {
        nonce: [0; 8],
        datagram_len: 1232,
    };
    client.send(Kind::Response, &early, 64);
    client.send(Kind::Hello, &path::Hello { datagram_len: 1232 }, 1232);
    let challenge = client.receive(2000).expect("an honest hello is answered");
    assert_eq!(challenge.datagram_len, 1232);

    let nonce = challenge.nonce;
    let mut wrong = nonce;
    wrong[7] ^= 1;
    client.send(
        Kind::Response,
        &Response {
            nonce: wrong,
            datagram_len: 1232,
        },
        64,
    );
    for datagram_len in [0, 100, 1233, u16::MAX] {
        client.send(
            Kind::Response,
            &Response {
                nonce,
                datagram_len,
            },
            64,
        );
    }
    // From another address the right echo is wrong.
    let home = std::mem::replace(&mut client.socket, socket(LOCALHOST));
    client.send(
        Kind::Response,
        &Response {
            nonce,
            datagram_len: 1232,
        },
        64,
    );
    let elsewhere = std::mem::replace(&mut client.socket, home);
    // Still waiting: it answers another hello, with the same nonce.
    client.send(Kind::Hello, &path::Hello { datagram_len: 1440 }, 1440);
    assert_eq!(client.receive(2000).expect("still there").nonce, nonce);
    assert!(!responder.thread.is_finished());

    let right = Response {
        nonce,
        datagram_len: 1440,
    };
    client.send(Kind::Response, &right, 64);
    client.send(Kind::Response, &right, 64);
    let opened = responder.join().unwrap();
    assert_eq!(opened.peer, client.socket.local_addr());
    assert_ne!(opened.peer, elsewhere.local_addr());
}

#[test]
fn nothing_unauthentic_or_cut_is_answered() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::Anywhere, server);
    let mut client = Handmade::new(responder.address, client);
    // A hello that lies about its length is heard, but not answered.
    client.send(Kind::Hello, &path::Hello { datagram_len: 8928 }, 1232);
    assert!(client.receive(100).is_none());
    let mut forged = client.send(Kind::Hello, &path::Hello { datagram_len: 1233 }, 1233);
    assert!(client.receive(100).is_none());
    // Every length of a forged datagram.
    forged[20] ^= 1;
    for len in [0, 1, 15, 16, 31, 32, 33, 64, forged.len()] {
        client
            .socket
            .send_to(Route::to(client.server), &forged[..len])
            .unwrap();
    }
    assert!(client.receive(100).is_none());
    // A replay, bit by bit the same.
    let honest = client.send(Kind::Hello, &path::Hello { datagram_len: 1232 }, 1232);
    assert!(client.receive(2000).is_some());
    client
        .socket
        .send_to(Route::to(client.server), &honest)
        .unwrap();
    assert!(client.receive(100).is_none());
}

#[test]
fn w18_an_address_gets_at_most_three_times_what_it_sent() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::Anywhere, server);
    let mut client = Handmade::new(responder.address, client);
    let (mut sent, mut received) = (0, 0);
    for _ in 0..20 {
        client.send(Kind::Hello, &path::Hello { datagram_len: 1232 }, 1232);
        sent += 1232;
    }
    while let Some(challenge) = client.receive(100) {
        received += usize::from(challenge.datagram_len);
    }
    assert!(received > 0 && received <= 3 * sent, "{received} of {sent}");
}

#[test]
fn being_told_to_stop_ends_both_sides_soon() {
    let (client, server) = seals();
    let responder = Responder::start(LOCALHOST, Origin::Anywhere, server);
    let nobody = socket(LOCALHOST);
    let stop = Stop::default();
    let stopped = stop.watch();
    let target = nobody.local_addr();
    let initiator = thread::spawn(move || {
        open(
            socket(LOCALHOST),
            target,
            Origin::Anywhere,
            (client.0, client.1, PacketCounter::new()),
            PATIENCE,
            &stopped,
        )
    });
    let began = Instant::now();
    drop(stop);
    drop(responder.stop);
    assert!(initiator.join().unwrap().is_err());
    assert!(responder.thread.join().unwrap().is_err());
    assert!(began.elapsed() < Duration::from_secs(2));
}
