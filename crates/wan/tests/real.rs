//! The emulation on a real kernel. Needs root or user namespaces, and fails, saying so, without.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use haul_wan::{FAR_ADDRESS, Link, NEAR_ADDRESS, Namespace, Proof, Transport, Wan};

const MS: Duration = Duration::from_millis(1);

/// Not a bound on a good machine, but on a busy one: the command `haul-bench wan --prove` tells
/// whether measurements can be believed.
#[test]
fn adds_next_to_nothing_of_its_own() {
    let proof = Proof::run(60_000_000, MS * 500).unwrap();
    println!("{proof:?}");
    assert_eq!(proof.own_drops, 0);
    assert!(proof.added_delay_median < MS * 2, "{proof:?}");
    assert!((proof.rate_share - 1.0).abs() < 0.05, "{proof:?}");
}

#[test]
fn a_round_trip_takes_what_was_asked_for_and_flows_are_counted() {
    let wan = Wan::start(&Link::symmetric(50_000_000, MS * 60, MS * 50, 0.0)).unwrap();
    let listener = wan
        .far()
        .run(|| TcpListener::bind((FAR_ADDRESS, 7)))
        .unwrap()
        .unwrap();
    let answering = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        peer.write_all(&byte).unwrap();
    });
    let began = Instant::now();
    let connect = || TcpStream::connect((FAR_ADDRESS, 7));
    let mut stream = wan.near().run(connect).unwrap().unwrap();
    let connected = began.elapsed();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let answered = began.elapsed();
    answering.join().unwrap();
    assert!(connected >= MS * 60, "{connected:?}");
    assert!(answered >= MS * 120 && answered < MS * 400, "{answered:?}");
    let counters = wan.counters();
    let (flow, counter) = counters.out.iter().next().unwrap();
    assert_eq!(flow.transport, Transport::Tcp);
    assert_eq!(flow.to.port(), 7);
    assert!(counter.packets >= 3, "{counter:?}");
    assert_eq!((counters.own_drops, wan.device_drops().unwrap()), (0, 0));
}

#[test]
fn programs_run_inside_and_an_address_can_change() {
    let wan = Wan::start(&Link::symmetric(50_000_000, MS * 10, MS * 50, 0.0)).unwrap();
    let addresses = |wan: &Wan| {
        let mut command = Namespace::command("ip");
        command.args(["-brief", "address"]);
        let output = wan.near().run(move || Command::output(&mut command));
        String::from_utf8(output.unwrap().unwrap().stdout).unwrap()
    };
    assert!(addresses(&wan).contains(NEAR_ADDRESS));
    wan.move_near("10.77.0.9").unwrap();
    let after = addresses(&wan);
    assert!(
        after.contains("10.77.0.9") && !after.contains("10.77.0.1/"),
        "{after}"
    );
}
