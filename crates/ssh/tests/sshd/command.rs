//! The remote command: its input, output, status and end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use haul_ssh::{Family, Options, RemoteExit, SshError, Stage, Target};

use crate::server::{PATIENCE, Server};

/// Sends `len` bytes through `cat` and compares what comes back.
fn echo(server: &Server, len: usize) {
    let session = server.run(server.options(), "cat").unwrap();
    let sent: Vec<u8> = (0..len as u64 / 8)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let mut writer = session.stream.try_clone().unwrap();
    let mut reader = session.stream.try_clone().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert_eq!(received.len(), sent.len());
    assert!(received == sent, "bytes differ");
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(0));
    drop(reader);
    assert_eq!(session.close().unwrap(), RemoteExit::Code(0));
}

#[test]
fn sixteen_mebibytes_come_back_as_they_went() {
    echo(&Server::new(), 16 << 20);
}

#[test]
fn rekeying_by_the_server_goes_unnoticed() {
    let server = Server::with(&["host-ed25519"], "RekeyLimit 1M");
    echo(&server, 16 << 20);
}

#[test]
fn a_reader_that_waits_gets_everything_in_the_end() {
    let server = Server::new();
    let mut session = server
        .run(
            server.options(),
            "head -c 12000000 /dev/zero; echo done >&2",
        )
        .unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // More than buffers and channel window hold together: the command must wait, and nothing that
    // is on the way may be lost or spin.
    let early = session.exit_status(Duration::from_millis(500));
    assert!(
        matches!(early, Err(SshError::Timeout(Stage::Exit))),
        "{early:?}"
    );
    let mut received = Vec::new();
    session.stream.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), 12_000_000);
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(0));
    assert_eq!(session.stderr(), "done\n");
}

#[test]
fn status_and_stderr_reach_the_caller() {
    let server = Server::new();
    let command = "printf 'bad \\033[31mthing\\n' >&2; echo out; exit 7";
    let mut session = server.run(server.options(), command).unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut out = String::new();
    session.stream.read_to_string(&mut out).unwrap();
    assert_eq!(out, "out\n");
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(7));
    assert_eq!(session.stderr(), "bad \\u{1b}[31mthing\n");
    assert_eq!(session.peer.unwrap().to_string(), "127.0.0.1");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(7));
}

#[test]
fn a_missing_command_is_a_status_of_127() {
    let server = Server::new();
    let session = server
        .run(server.options(), "haul-is-not-installed --remote")
        .unwrap();
    assert_eq!(
        session.exit_status(PATIENCE).unwrap(),
        RemoteExit::Code(127)
    );
    assert!(
        session.stderr().contains("not found"),
        "{:?}",
        session.stderr()
    );
}

#[test]
fn a_killed_command_is_a_signal() {
    let server = Server::new();
    let session = server.run(server.options(), "kill -9 $$").unwrap();
    assert_eq!(
        session.exit_status(PATIENCE).unwrap(),
        RemoteExit::Signal("KILL".to_owned())
    );
}

#[test]
fn a_killed_server_is_a_lost_connection() {
    let server = Server::new();
    let session = server
        .run(server.options(), "echo $PPID; exec cat")
        .unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(session.stream.try_clone().unwrap());
    let mut pid = String::new();
    reader.read_line(&mut pid).unwrap();
    crate::server::tool(std::process::Command::new("kill").args(["-9", pid.trim()]));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    let ended = session.exit_status(PATIENCE);
    assert!(matches!(ended, Err(SshError::Lost { .. })), "{ended:?}");
    assert!(session.close().is_err());
}

#[test]
fn a_command_ends_by_itself_when_the_session_is_closed() {
    let server = Server::new();
    let session = server
        .run(server.options(), "cat; echo ended >&2; exit 3")
        .unwrap();
    let (mut stream, remote) = (session.stream, session.remote);
    stream.write_all(b"never read back").unwrap();
    // Another owner still holds the stream: closing must not depend on it.
    let began = Instant::now();
    assert_eq!(remote.close().unwrap(), RemoteExit::Code(3));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn a_command_that_does_not_end_is_cut_off() {
    let server = Server::new();
    let session = server
        .run(server.options(), "trap '' HUP TERM; exec sleep 600")
        .unwrap();
    let began = Instant::now();
    assert_eq!(session.close().unwrap(), RemoteExit::Abandoned);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn dropping_everything_ends_the_command() {
    let server = Server::new();
    let flag = server.directory.path().join("ended");
    let fifo = flag.display();
    crate::server::tool(std::process::Command::new("mkfifo").arg(&flag));
    let command = format!("cat > /dev/null; echo over > {fifo}");
    drop(server.run(server.options(), &command).unwrap());
    assert_eq!(std::fs::read_to_string(&flag).unwrap(), "over\n");
}

#[test]
fn half_closing_leaves_the_other_half_open() {
    let server = Server::new();
    let mut session = server
        .run(server.options(), "cat > /dev/null; echo tail; exit 4")
        .unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    session.stream.write_all(&[7; 300_000]).unwrap();
    session.stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    session.stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "tail\n");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(4));
}

#[test]
fn many_sessions_at_once_do_not_mix() {
    let server = Server::new();
    thread::scope(|scope| {
        for n in 0..6 {
            let server = &server;
            scope.spawn(move || {
                let text = server.output(server.options(), &format!("echo session {n}"));
                assert_eq!(text, format!("session {n}\n"));
            });
        }
    });
}

#[test]
fn a_server_that_never_speaks_times_out() {
    let server = Server::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let target = Target {
        port: Some(port),
        ..server.target()
    };
    let began = Instant::now();
    let error = haul_ssh::connect(&target, server.options(), "true").unwrap_err();
    assert!(
        matches!(error, SshError::Timeout(Stage::Handshake)),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_that_is_none_or_nowhere_is_named() {
    let server = Server::new();
    let chatty = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = chatty.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let (mut stream, _) = chatty.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let target = Target {
        port: Some(port),
        ..server.target()
    };
    let error = haul_ssh::connect(&target, server.options(), "true").unwrap_err();
    assert!(matches!(error, SshError::Handshake { .. }), "{error}");
    answering.join().unwrap();
    // The listener is gone now.
    let error = haul_ssh::connect(&target, server.options(), "true").unwrap_err();
    assert!(matches!(error, SshError::Unreachable { .. }), "{error}");
    let error = haul_ssh::connect(
        &Target::new("no-such-host.invalid"),
        server.options(),
        "true",
    );
    let error = error.unwrap_err();
    assert!(
        matches!(error, SshError::UnknownHost { .. } | SshError::Timeout(_)),
        "{error}"
    );
}

#[test]
fn ipv6_works_as_ipv4_does() {
    let server = Server::new();
    let name = format!("[::1]:{}", server.port);
    let line = format!("{name} {}\n", crate::server::public("host-ed25519"));
    std::fs::write(server.known_hosts(), line).unwrap();
    let target = Target {
        host: "[::1]".to_owned(),
        ..server.target()
    };
    for family in [Family::Any, Family::V6] {
        let options = of(&server, family);
        let session = haul_ssh::connect(&target, options, "exit 0").unwrap();
        assert_eq!(session.peer.unwrap().to_string(), "::1");
        assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(0));
    }
    let error = haul_ssh::connect(&target, of(&server, Family::V4), "exit 0").unwrap_err();
    assert!(matches!(error, SshError::NoAddress { .. }), "{error}");
}

fn of(server: &Server, family: Family) -> Options {
    Options {
        family,
        ..server.options()
    }
}

/// 8 MiB of which no part is like another, so that what is missing or comes twice is seen.
fn counted(number: usize) -> Vec<u8> {
    let first = (number as u32) << 21;
    (first..first + (2 << 20))
        .flat_map(u32::to_le_bytes)
        .collect()
}

#[test]
fn further_commands_share_the_connection() {
    // Rekeying has to fit in between, whatever is half sent.
    let server = Server::with(&["host-ed25519"], "RekeyLimit 4M");
    let session = server.run(server.options(), "cat").unwrap();
    let channels = session.channels.clone().unwrap();
    let all: Vec<_> = (0..3)
        .map(|_| channels.start("cat", PATIENCE).unwrap())
        .collect();
    thread::scope(|scope| {
        for (number, stream) in all.iter().enumerate() {
            let sent = counted(number);
            let mut writer = stream.try_clone().unwrap();
            scope.spawn(move || {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut received = Vec::new();
                let mut reader = stream;
                reader.read_to_end(&mut received).unwrap();
                assert!(received == counted(number), "{number} differs");
            });
        }
    });
    drop(all);
    // All of that was beside the session's own command, and that is still there.
    let (mut writer, mut reader) = (&session.stream, &session.stream);
    writer.write_all(b"still here").unwrap();
    session.stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "still here");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(0));
    assert!(channels.start("cat", PATIENCE).is_err());
}

#[test]
fn a_command_that_the_server_refuses_harms_nobody() {
    let server = Server::with(&["host-ed25519"], "MaxSessions 1");
    let mut session = server.run(server.options(), "cat").unwrap();
    let channels = session.channels.clone().unwrap();
    let refused = channels.start("cat", PATIENCE);
    assert!(matches!(refused, Err(SshError::Lost { .. })), "{refused:?}");
    session.stream.write_all(b"still here").unwrap();
    session.stream.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    session.stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "still here");
}
