//! Both lines over real sockets on loopback: real files in, real files out.
#![allow(clippy::unwrap_used)]

use std::{fs, net::IpAddr, ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, unbounded};
use haul_disk::{
    Asked, Incoming, Landing, Outgoing, Preserve, ReceiveOptions, ScanOptions, Wanted,
};
use haul_engine::{EngineEvent, Link, ReceiveSetup, Running, SendSetup};
use haul_flow::{Policy, ReceiverConfig, SenderConfig};
use haul_seal::{Direction, KeyInput, OpenOptions, Opener, Sealer, SessionSecrets};
use haul_udp::{Route, UdpPath};
use haul_wire::{
    Header, Kind, Lane, PacketCounter, PacketNo, SessionId, SuiteId, block_len, segment_len,
};

const PATIENCE: Duration = Duration::from_secs(60);
const FREE_BYTES: u64 = 1 << 20;
/// As many wrong tags as make the receiver ask for another key in these tests.
const FORGERIES: usize = 20;
const ANY_PORT: RangeInclusive<u16> = 0..=0;

struct Ends {
    sender: Running,
    receiver: Running,
    sent: Receiver<EngineEvent>,
    received: Receiver<EngineEvent>,
    sealer: Arc<Sealer>,
}

fn secrets() -> SessionSecrets {
    let input = KeyInput {
        shared_x25519: &[1; 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"client",
        server_hello: b"server",
    };
    SessionSecrets::derive(&input).unwrap()
}

fn link(path: UdpPath, suite: SuiteId, out: Direction) -> (Link, Receiver<EngineEvent>) {
    let back = match out {
        Direction::ClientToServer => Direction::ServerToClient,
        Direction::ServerToClient => Direction::ClientToServer,
    };
    let session = SessionId(7);
    let (events_out, events) = unbounded();
    let link = Link {
        path: Arc::new(path),
        sealer: Arc::new(Sealer::new(suite, secrets().traffic(out), session)),
        opener: Arc::new(Opener::with_options(
            suite,
            secrets().traffic(back),
            session,
            OpenOptions {
                rekey_after: FORGERIES as u64,
                ..OpenOptions::default()
            },
        )),
        path_counter: PacketCounter::new(),
        opening: None,
        knock: None,
        on_event: Box::new(move |event| {
            let _ = events_out.send(event);
        }),
    };
    (link, events)
}

fn start(source: &Path, destination: &Path, ip: &str, suite: SuiteId, datagram: usize) -> Ends {
    start_with(source, destination, ip, suite, datagram, false)
}

/// Datagrams with the right header and nothing else right.
fn forge_datagrams(path: &UdpPath) {
    for number in 0..FORGERIES {
        let header = Header {
            kind: Kind::Data,
            epoch: 0,
            flags: 0,
            session: SessionId(7),
            lane: Lane::DATA,
            packet: PacketNo(1_000 + number as u64),
        };
        let datagram = [&header.encode()[..], &[0; 100]].concat();
        path.send(&datagram, datagram.len(), false).unwrap();
    }
}

fn start_with(
    source: &Path,
    destination: &Path,
    ip: &str,
    suite: SuiteId,
    datagram: usize,
    forge: bool,
) -> Ends {
    let ip: IpAddr = ip.parse().unwrap();
    let bind = || UdpPath::bind(ip, ANY_PORT).unwrap();
    let (a, b) = (bind(), bind());
    a.set_route(Route::to(b.local_addr()));
    b.set_route(Route::to(a.local_addr()));
    let block = block_len(datagram);
    let segment = segment_len(block);
    if forge {
        forge_datagrams(&a);
    }
    let (send_link, sent) = link(a, suite, Direction::ClientToServer);
    let sealer = Arc::clone(&send_link.sealer);
    let (receive_link, received) = link(b, suite, Direction::ServerToClient);
    let (root, landing) = Landing::resolve(
        Path::new("/"),
        destination.as_os_str().as_encoded_bytes(),
        asked(),
        false,
    )
    .unwrap();
    let incoming =
        Incoming::new(root, landing, ReceiveOptions::new(Preserve::USUAL), block).unwrap();
    let initial_rtt = Duration::from_micros(100);
    let receiver = haul_engine::receive(ReceiveSetup {
        link: receive_link,
        incoming: Box::new(incoming),
        flow: ReceiverConfig {
            segment_len: segment,
            initial_rtt,
            free_bytes_initial: FREE_BYTES,
        },
    })
    .unwrap();
    let options = ScanOptions {
        recursive: true,
        times: true,
        ..ScanOptions::default()
    };
    let sender = haul_engine::send(SendSetup {
        link: send_link,
        outgoing: Outgoing::new(block, Wanted::new(vec![source.to_owned()], options)),
        flow: SenderConfig {
            segment_len: segment,
            segments_per_batch_max: (haul_batch::MAX_BATCH_BYTES / segment).min(64),
            policy: Policy::Fair,
            rate_target_bps: None,
            rate_min_bps: 0,
            initial_rtt,
            carried_bytes: None,
            waits_for_judgement: false,
            free_bytes_initial: FREE_BYTES,
            ecn: false,
            remembered: None,
            seed: 1,
        },
    })
    .unwrap();
    Ends {
        sender,
        receiver,
        sent,
        received,
        sealer,
    }
}

fn asked() -> Asked {
    Asked::of(&["source"])
}

fn complete(ends: Ends) -> haul_disk::Received {
    let event = ends.received.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        panic!(
            "{:#?}\n{:#?}",
            ends.sender.snapshot(),
            ends.receiver.snapshot()
        )
    });
    assert!(matches!(event, EngineEvent::Complete), "{event:?}");
    let mut event = ends.sent.recv_timeout(PATIENCE).unwrap();
    while matches!(event, EngineEvent::Decided(_)) {
        event = ends.sent.recv_timeout(PATIENCE).unwrap();
    }
    assert!(matches!(event, EngineEvent::Delivered), "{event:?}");
    ends.sender.stop();
    ends.receiver.stop().received.unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) as u8
    };
    (0..len).map(|_| next(&mut state)).collect()
}

#[test]
fn a_file_crosses_under_every_suite_and_datagram_length() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let bytes = noise(5_000_003);
    fs::write(&source, &bytes).unwrap();
    for suite in SuiteId::ALL {
        for (datagram, ip) in [(1232, "::1"), (1452, "127.0.0.1"), (8952, "127.0.0.1")] {
            let to = tempfile::tempdir().unwrap();
            let received = complete(start(&source, to.path(), ip, suite, datagram));
            assert_eq!((received.files, received.bytes), (1, bytes.len() as u64));
            assert!(
                fs::read(to.path().join("source")).unwrap() == bytes,
                "{suite} {datagram}"
            );
        }
    }
}

#[test]
fn a_tree_crosses() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    for number in 0..500 {
        let inner = source.join(format!("{}", number % 7));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join(format!("file {number}")), noise(number * 13)).unwrap();
    }
    let to = tempfile::tempdir().unwrap();
    let received = complete(start(
        &source,
        to.path(),
        "127.0.0.1",
        SuiteId::Aes128Cfb,
        1452,
    ));
    assert_eq!(
        (received.files, received.dirs, received.failed_count),
        (500, 8, 0)
    );
    for number in 0..500 {
        let name = format!("{}/file {number}", number % 7);
        let copy = fs::read(to.path().join("source").join(&name)).unwrap();
        assert_eq!(copy, noise(number * 13), "{name}");
    }
}

#[test]
fn a_line_that_is_stopped_ends_at_once_and_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::write(&source, noise(200 << 20)).unwrap();
    let to = tempfile::tempdir().unwrap();
    let ends = start(&source, to.path(), "127.0.0.1", SuiteId::Aes128Cfb, 1452);
    while ends.receiver.snapshot().content_bytes == 0 {
        std::thread::yield_now();
    }
    let stopped = ends.receiver.stop();
    assert!(stopped.received.is_none());
    ends.sender.stop();
    assert!(!to.path().join("source").exists());
}

#[test]
fn w29_forged_datagrams_change_the_key_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let bytes = noise(5_000_000);
    fs::write(&source, &bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    let suite = SuiteId::Aes128Cfb;
    let ends = start_with(&source, to.path(), "127.0.0.1", suite, 1452, true);
    let sealer = Arc::clone(&ends.sealer);
    complete(ends);
    assert!(fs::read(to.path().join("source")).unwrap() == bytes);
    assert!(
        sealer.epoch() > 0,
        "the receiver asked for another key in vain"
    );
}
