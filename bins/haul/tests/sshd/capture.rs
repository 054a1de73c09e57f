//! What an eavesdropper sees. Needs the right to capture on loopback, as root has.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{server::Server, trees::assert_same};

const SECRET: &str = "the treasure is buried under the old oak";
const NAME: &str = "very-telling-name-of-a-file";

#[test]
fn nothing_of_a_file_or_of_a_name_crosses_in_clear() {
    let server = Server::start();
    let folder = server.here().join(NAME);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(NAME), SECRET.repeat(100_000)).unwrap();
    let capture = server.path("capture");
    let mut tcpdump = Command::new("tcpdump")
        .args(["-i", "lo", "-n", "-s", "0", "-U", "-B", "65536", "-w"])
        .arg(&capture)
        .args(["udp", "portrange", "33201-33210"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpdump: scripts/setup --tests installs it");
    let mut said = BufReader::new(tcpdump.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        let len = said.read_line(&mut line).unwrap();
        assert!(
            len > 0,
            "tcpdump cannot capture on loopback: run the tests as root"
        );
    }
    let place = format!("127.0.0.1:{}", server.there().display());
    let run = server.json(&["-p", "-O", "33201-33210", "-l", "400M", NAME, &place]);
    kill_process(Pid::from_child(&tcpdump), Signal::INT).unwrap();
    tcpdump.wait().unwrap();
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_same(&folder, &server.there().join(NAME));

    let seen = fs::read(capture).unwrap();
    let sent = SECRET.len() * 100_000;
    assert!(
        seen.len() > sent,
        "only {} of {sent} bytes were captured",
        seen.len()
    );
    for clear in [&SECRET.as_bytes()[..12], &NAME.as_bytes()[..12]] {
        let found = seen.windows(clear.len()).any(|window| window == clear);
        assert!(
            !found,
            "{:?} crossed in clear",
            String::from_utf8_lossy(clear)
        );
    }
    let number = |field: &str| run.summary(field).as_u64().unwrap();
    let (udp, control) = (number("udp_bytes"), number("control_bytes"));
    assert!(
        control * 100 < udp,
        "{control} bytes on SSH beside {udp} on UDP"
    );
}
