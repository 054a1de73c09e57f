//! Datagrams that nobody asked for, at the port of a transfer that runs (cases W1 to W5): it completes,
//! and says nothing of them.
//!
//! `HAUL_FLOOD_SECONDS` says for how long.

use std::{
    fs,
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use haul_wire::{Header, Kind, Lane, PacketNo, SessionId};

use crate::{
    judging::seed,
    noise::{Random, noise},
    outcome::{expect_status, stderr},
    site::{Site, finish},
    tree::tree,
};

/// A port for the test to know where to aim.
fn free_port() -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Throws datagrams at the port of an upload that lasts about so long.
fn flood(seconds: u64, mut next: impl FnMut(&mut Random) -> Vec<u8> + Send) {
    let seed = seed();
    eprintln!("seed {seed}");
    let site = Site::new();
    let bits_per_second = 16_000_000;
    let len = bits_per_second / 8 * seconds;
    fs::write(site.here().join("file"), noise(seed, len as usize)).unwrap();
    let port = free_port().to_string();
    let rate = bits_per_second.to_string();
    let arguments = [
        "-q",
        "--no-fallback",
        "-O",
        &port,
        "--policy",
        "fixed",
        "-l",
        &rate,
    ];
    let arguments = [&arguments[..], &["file", "localhost:"]].concat();
    let (stop, thrown) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            let target = format!("127.0.0.1:{port}");
            let mut random = Random::new(seed);
            while !stop.load(Relaxed) {
                // Before and after the transfer nobody is there.
                if socket.send_to(&next(&mut random), &target).is_ok() {
                    thrown.fetch_add(1, Relaxed);
                }
            }
        });
        let output = site.run(&arguments);
        stop.store(true, Relaxed);
        output
    });
    let thrown = thrown.into_inner();
    eprintln!("{thrown} datagrams in {:?}", began.elapsed());
    expect_status(0, &output);
    assert_eq!(stderr(&output), "", "a log of strangers");
    assert!(thrown > 1_000, "only {thrown} were thrown");
    assert_eq!(tree(&site.there()), tree(&site.here()));
}

fn seconds() -> u64 {
    std::env::var("HAUL_FLOOD_SECONDS").map_or(2, |wish| wish.parse().unwrap())
}

#[test]
fn w01_w02_datagrams_too_short_and_too_long_are_dropped() {
    let lengths = [0, 1, 15, 31, 9_000, 65_507];
    let mut turn = 0;
    flood(1, move |random| {
        turn += 1;
        vec![random.next() as u8; lengths[turn % lengths.len()]]
    });
}

#[test]
fn w03_unknown_versions_and_kinds_are_dropped() {
    flood(1, |random| {
        let mut datagram = noise(random.next().into(), 100);
        let nibbles = [0x00, 0x0f, 0x10, 0x1f, 0x21, 0xf1];
        datagram[0] = nibbles[random.below(6) as usize];
        datagram
    });
}

#[test]
fn w04_random_bytes_by_the_million_are_dropped() {
    flood(seconds(), |random| {
        let len = 1 + random.below(200) as usize;
        noise(random.next().into(), len)
    });
}

/// Headers as honest ones are; a session's number is 32 random bits, so that of this one comes by chance.
#[test]
fn w05_honest_headers_with_random_bodies_are_dropped() {
    flood(1, |random| {
        let header = Header {
            kind: Kind::Data,
            epoch: 0,
            flags: 0,
            session: SessionId(random.next()),
            lane: Lane::DATA,
            packet: PacketNo(random.below(1 << 20)),
        };
        [&header.encode()[..], &noise(random.next().into(), 1_000)].concat()
    });
}

/// Both ends stand still for a while, as machines that sleep do, and go on.
#[test]
fn k114_ends_that_slept_go_on_or_end_cleanly() {
    use rustix::process::{Pid, Signal, kill_process};
    let site = Site::new();
    fs::write(site.here().join("big"), noise(9, 8_000_000)).unwrap();
    let arguments = ["-q", "--policy", "fixed", "-l", "20M", "big", "localhost:"];
    let child = site.command(&arguments).spawn().unwrap();
    site.await_partial("big");
    let ends = [Pid::from_child(&child), site.remote().unwrap()];
    for signal in [Signal::STOP, Signal::CONT] {
        for end in ends {
            kill_process(end, signal).unwrap();
        }
        // How long they sleep.
        thread::sleep(Duration::from_secs(3));
    }
    expect_status(0, &finish(child));
    assert_eq!(tree(&site.there()), tree(&site.here()));
}
