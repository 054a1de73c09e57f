//! Batches over real sockets on loopback, with and without segmentation offload.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use arrayvec::ArrayVec;
use haul_batch::{Batch, Pool};
use haul_udp::{Ecn, Route, SendOutcome, UdpError, UdpPath};

const PATIENCE: Duration = Duration::from_secs(5);

fn pair(ip: &str) -> (UdpPath, UdpPath) {
    let ip: IpAddr = ip.parse().unwrap();
    let (a, b) = (
        UdpPath::bind(ip, 0..=0).unwrap(),
        UdpPath::bind(ip, 0..=0).unwrap(),
    );
    a.set_route(Route::to(b.local_addr()));
    b.set_route(Route::to(a.local_addr()));
    (a, b)
}

fn receive_all(path: &UdpPath, bytes: usize) -> Vec<Vec<u8>> {
    let pool = Pool::new(4);
    let mut datagrams = Vec::new();
    let mut got = 0;
    while got < bytes {
        let mut slots: Vec<Batch> = (0..4).map(|_| pool.try_take().unwrap()).collect();
        let mut arrivals = ArrayVec::new();
        path.recv(&mut slots, &mut arrivals, PATIENCE).unwrap();
        assert!(
            !arrivals.is_empty(),
            "timed out after {got} of {bytes} bytes"
        );
        for batch in &slots[..arrivals.len()] {
            got += batch.len();
            datagrams.extend(batch.segments().map(<[u8]>::to_vec));
        }
    }
    datagrams
}

fn batch_crosses(ip: &str, offload: bool) {
    let (a, b) = pair(ip);
    if !offload {
        a.disable_segmentation_offload();
    }
    let bytes: Vec<u8> = (0..10 * 1440 + 700).map(|i| (i / 7) as u8).collect();
    assert_eq!(a.send(&bytes, 1440, false).unwrap(), SendOutcome::Sent);
    let datagrams = receive_all(&b, bytes.len());
    assert_eq!(
        datagrams,
        bytes.chunks(1440).map(<[u8]>::to_vec).collect::<Vec<_>>()
    );
}

#[test]
fn a_batch_crosses_in_one_call_or_one_by_one() {
    for ip in ["127.0.0.1", "::1"] {
        batch_crosses(ip, true);
        batch_crosses(ip, false);
    }
}

#[test]
fn a_range_gives_the_first_free_port_and_says_when_there_is_none() {
    let ip: IpAddr = "127.0.0.1".parse().unwrap();
    let first = UdpPath::bind(ip, 0..=0).unwrap().local_addr().port();
    let held = UdpPath::bind(ip, first..=first).unwrap();
    assert_eq!(held.local_addr().port(), first);
    let error = UdpPath::bind(ip, first..=first).unwrap_err();
    assert!(matches!(error, UdpError::NoFreePort { .. }), "{error}");
}

#[test]
fn too_large_for_the_interface_is_told() {
    let (a, _b) = pair("127.0.0.1");
    assert_eq!(
        a.send_to(a.route().unwrap(), &vec![0; 65_600]).unwrap(),
        SendOutcome::TooBig
    );
    let len = 65_600;
    assert_eq!(
        a.send(&vec![0; len], len, false).unwrap(),
        SendOutcome::TooBig
    );
    assert!(a.segmentation_offload(), "the offload is not to blame");
}

#[test]
fn w28_a_closed_peer_is_silence_not_an_error() {
    let (a, b) = pair("127.0.0.1");
    drop(b);
    for _ in 0..5 {
        assert_eq!(a.send(&[0; 100], 100, false).unwrap(), SendOutcome::Sent);
        assert!(a.recv_one(&mut [0; 10], Duration::ZERO).unwrap().is_none());
    }
}

#[test]
fn everybody_is_heard_and_named() {
    let (a, b) = pair("127.0.0.1");
    let stranger = UdpPath::bind("127.0.0.1".parse().unwrap(), 0..=0).unwrap();
    stranger
        .send_to(Route::to(b.local_addr()), b"other")
        .unwrap();
    a.send_to(Route::to(b.local_addr()), b"right").unwrap();
    let mut buffer = [0; 10];
    for (expected, from) in [(b"other", &stranger), (b"right", &a)] {
        let received = b.recv_one(&mut buffer, PATIENCE).unwrap().unwrap();
        assert_eq!(&buffer[..received.len], expected);
        assert_eq!(received.from, from.local_addr());
    }
    assert_eq!(b.peer(), Some(a.local_addr()));
}

/// A host with several addresses answers from the one that was asked.
#[test]
fn answers_come_from_the_address_that_was_addressed() {
    for (any, asked) in [("0.0.0.0", "127.0.0.5"), ("::", "::1"), ("::", "127.0.0.5")] {
        let server = UdpPath::bind(any.parse().unwrap(), 0..=0).unwrap();
        let asked: IpAddr = asked.parse().unwrap();
        let local = if asked.is_ipv4() { "127.0.0.1" } else { "::1" };
        let client = UdpPath::bind(local.parse().unwrap(), 0..=0).unwrap();
        let address = SocketAddr::new(asked, server.local_addr().port());
        client.send_to(Route::to(address), b"hello").unwrap();
        let mut buffer = [0; 10];
        let received = server.recv_one(&mut buffer, PATIENCE).unwrap().unwrap();
        server.set_route(Route {
            peer: received.from,
            source: received.to,
        });
        server.send(b"welcome", 7, false).unwrap();
        let answer = client.recv_one(&mut buffer, PATIENCE).unwrap().unwrap();
        assert_eq!((answer.len, answer.from), (7, address));
    }
}

#[test]
fn marks_arrive_with_every_datagram_of_a_batch() {
    for ip in ["127.0.0.1", "::1"] {
        let (a, b) = pair(ip);
        for mark in [true, false] {
            a.send(&[7; 5 * 1_440], 1_440, mark).unwrap();
            let pool = Pool::new(4);
            let mut slots: Vec<Batch> = (0..4).map(|_| pool.try_take().unwrap()).collect();
            let mut arrivals = ArrayVec::new();
            b.recv(&mut slots, &mut arrivals, PATIENCE).unwrap();
            assert!(!arrivals.is_empty());
            for arrival in &arrivals {
                assert_eq!(arrival.ecn, mark.then_some(Ecn::Able), "{ip}");
            }
            while b.recv_one(&mut [0; 10], Duration::ZERO).unwrap().is_some() {}
        }
    }
}
