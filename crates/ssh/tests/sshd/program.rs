//! `--ssh-program`: the system's own client, and programs that only look like it.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use haul_ssh::{Options, RemoteExit, SshError, Target};

use crate::server::{PATIENCE, Server, key};

/// Options under which the real ssh reads nothing outside the test's own directory.
fn with_ssh(server: &Server) -> Options {
    let known = server.options().known_hosts;
    Options {
        ssh_program: Some(vec![
            "ssh".into(),
            "-oGlobalKnownHostsFile=/dev/null".into(),
        ]),
        known_hosts: if known.is_empty() {
            vec![server.known_hosts()]
        } else {
            known
        },
        ..server.options()
    }
}

/// A shell script in place of ssh.
fn script(server: &Server, text: &str) -> (Options, PathBuf) {
    let path = server.directory.path().join("fake-ssh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = Some(vec![OsString::from("sh"), path.clone().into()]);
    let home = server.directory.path().join("home");
    let options = Options {
        ssh_program: program,
        interactive: true,
        home: Some(home),
        agent: None,
        ..Options::new()
    };
    (options, path)
}

#[test]
fn the_real_ssh_carries_input_output_status_and_stderr() {
    let server = Server::new();
    let mut session = server
        .run(with_ssh(&server), "cat; echo oops >&2; exit 5")
        .unwrap();
    assert_eq!(session.peer, None);
    assert_eq!(session.host_name, "127.0.0.1");
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = vec![42; 1 << 20];
    let mut writer = session.stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    session.stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(5));
    assert!(session.stderr().contains("oops"), "{:?}", session.stderr());
    assert_eq!(session.close().unwrap(), RemoteExit::Code(5));
}

#[test]
fn the_real_sshs_refusal_shows_in_its_stderr() {
    let server = Server::new();
    let options = Options {
        identities: vec![key("stranger")],
        ..with_ssh(&server)
    };
    let mut session = server.run(options, "true").unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut nothing = Vec::new();
    session.stream.read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(
        session.exit_status(PATIENCE).unwrap(),
        RemoteExit::Code(255)
    );
    assert!(
        session.stderr().contains("Permission denied"),
        "{:?}",
        session.stderr()
    );
}

/// What somebody does whose login takes a password: it is typed before, into a connection that
/// stays open for others to share.
#[test]
fn the_real_ssh_may_share_a_connection_opened_before() {
    let server = Server::new();
    let socket = server.directory.path().join("shared");
    let quiet = ["-F", "none", "-oGlobalKnownHostsFile=/dev/null", "-S"];
    let known = format!(
        "-oUserKnownHostsFile={}",
        with_ssh(&server).known_hosts[0].display()
    );
    let mut master = Command::new("ssh")
        .args(quiet)
        .arg(&socket)
        .args(["-MN", "-p", &server.port.to_string(), &known, "-i"])
        .arg(key("user-ed25519"))
        .arg("127.0.0.1")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < PATIENCE, "no shared connection");
        std::thread::sleep(Duration::from_millis(10));
    }
    let program = ["ssh", "-S"].map(OsString::from);
    let options = Options {
        ssh_program: Some([&program[..], &[socket.into()]].concat()),
        identities: vec![key("stranger")],
        ..with_ssh(&server)
    };
    assert_eq!(server.output(options, "echo in"), "in\n");
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn a_program_gets_exactly_what_was_set() {
    let server = Server::new();
    let (options, _) = script(&server, r#"for a in "$@"; do printf '<%s>' "$a"; done"#);
    let target = Target {
        port: Some(7),
        ..Target::new("some-host")
    };
    let mut session = haul_ssh::connect(&target, options, "haul --remote 'x y'").unwrap();
    let mut text = String::new();
    session.stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "<-T><-p><7><--><some-host><haul --remote 'x y'>");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(0));
}

#[test]
fn s56_dangerous_targets_start_nothing() {
    let server = Server::new();
    let mark = server.directory.path().join("started");
    for host in [
        "-oProxyCommand=id",
        "a;id",
        "a b",
        "$(id)",
        "`id`",
        "a\nb",
        "a\"",
        "",
    ] {
        let (options, _) = script(&server, &format!("touch {}", mark.display()));
        let error = haul_ssh::connect(&Target::new(host), options, "true").unwrap_err();
        assert!(
            matches!(error, SshError::BadTarget { what: "host", .. }),
            "{host:?}: {error}"
        );
        let (options, _) = script(&server, &format!("touch {}", mark.display()));
        let target = Target {
            user: Some(host.to_owned()),
            ..Target::new("host")
        };
        let error = haul_ssh::connect(&target, options, "true").unwrap_err();
        assert!(
            matches!(error, SshError::BadTarget { what: "user", .. }),
            "{host:?}: {error}"
        );
    }
    assert!(!mark.exists());
}

#[test]
fn a_missing_program_is_named() {
    let server = Server::new();
    let options = Options {
        ssh_program: Some(vec!["/no/such/ssh".into()]),
        ..server.options()
    };
    let error = server.error(options);
    assert!(error.to_string().contains("/no/such/ssh"), "{error}");
    let error = server.error(Options {
        ssh_program: Some(Vec::new()),
        ..server.options()
    });
    assert!(matches!(error, SshError::Program { .. }), "{error}");
}

#[test]
fn a_helper_left_behind_does_not_keep_the_session_open() {
    let server = Server::new();
    // As ssh does with ControlPersist: a child keeps stdin, stdout and stderr open.
    let (options, _) = script(&server, "sleep 20 & echo started; exit 6");
    let mut session = haul_ssh::connect(&Target::new("h"), options, "true").unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let began = Instant::now();
    let mut text = String::new();
    session.stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "started\n");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(6));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let server = Server::new();
    let (options, _) = script(&server, "echo pid >&2; exec sleep 600");
    let session = haul_ssh::connect(&Target::new("h"), options, "true").unwrap();
    let began = Instant::now();
    let ended = session.close().unwrap();
    assert_eq!(ended, RemoteExit::Signal("15".to_owned()));
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
}
