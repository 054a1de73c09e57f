//! The program as a script meets it: arguments in; exit status, standard output and one line out.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

/// A file that surely exists.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

const HELP: &str = include_str!("help.txt");
const HELP_SHORT: &str = include_str!("help-short.txt");

/// Runs haul with no terminal, no home worth reading and no agent.
fn haul(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_haul"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Asserts the status and that standard error is exactly one line of ours, and gives that line.
fn refused(status: i32, arguments: &[&str]) -> String {
    let output = haul(arguments);
    let stderr = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {stderr}"
    );
    assert!(
        output.stdout.is_empty(),
        "{arguments:?}: {}",
        text(&output.stdout)
    );
    let line = stderr.strip_prefix("haul: error: ").expect(stderr);
    let line = line.strip_suffix('\n').expect(stderr);
    assert!(!line.contains('\n'), "{arguments:?}: {stderr}");
    line.to_owned()
}

/// Compares with a file of this directory; `HAUL_BLESS=1` writes it anew.
fn assert_same(name: &str, actual: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    if std::env::var_os("HAUL_BLESS").is_some() {
        std::fs::write(&file, actual).unwrap();
    } else {
        assert_eq!(
            actual,
            expected,
            "{} is out of date; see HAUL_BLESS",
            file.display()
        );
    }
}

#[test]
fn help_is_as_reviewed() {
    for (flag, name, expected) in [
        ("--help", "help.txt", HELP),
        ("-h", "help-short.txt", HELP_SHORT),
    ] {
        let output = haul(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        assert_same(name, text(&output.stdout), expected);
    }
}

#[test]
fn version_says_what_a_bug_report_needs() {
    let output = haul(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let version = text(&output.stdout);
    for part in [
        env!("CARGO_PKG_VERSION"),
        "protocol: 1",
        "aes128cfb",
        "AES: in ",
        "hauld",
    ] {
        assert!(version.contains(part), "{version}");
    }
    assert_eq!(text(&haul(&["-V"]).stdout).lines().count(), 1);
}

#[test]
fn a_command_line_without_sense_is_status_2() {
    let cases: [(&[&str], &str); 12] = [
        (&[], "a source and a destination"),
        (&["host:a"], "a source and a destination"),
        (&["--no-such-option", "a", "host:"], "unexpected argument"),
        (&[FILE, "/tmp"], "on this machine"),
        (&["one:a", "two:b"], "both sides are remote"),
        (&["one:a", "two:b", "."], "one account"),
        (&["-c", "rot13", FILE, "host:"], "unknown cipher"),
        (&["-l", "300MB", FILE, "host:"], "bits per second"),
        (&["--policy", "fixed", "host:a", "."], "-l"),
        (&["haul://ann:pw@host/a", "."], "password"),
        (&["[::1]", "[::1:a", "."], "IPv6"),
        (&["--remote"], "--proto"),
    ];
    for (arguments, words) in cases {
        let line = refused(2, arguments);
        assert!(line.contains(words), "{arguments:?}: {line}");
    }
}

#[test]
fn a_broken_cipher_is_refused_with_the_reason() {
    for name in ["3des", "3DES-192", "rc4", "des"] {
        let line = refused(2, &["-c", name, FILE, "host:"]);
        assert!(line.contains("is not offered"), "{line}");
        assert!(line.contains("aes128cfb"), "{line}");
    }
}

#[test]
fn a_missing_source_here_is_status_20() {
    let line = refused(20, &["/nonexistent/a\nb", "host.invalid:"]);
    assert!(line.contains("/nonexistent/a\\nb"), "{line}");
}

#[test]
fn an_unknown_host_is_status_10() {
    let line = refused(10, &[FILE, "host.invalid:"]);
    assert!(line.contains("host.invalid"), "{line}");
}

#[test]
fn a_refused_connection_is_status_10() {
    // Bound and closed again: nobody else listens there for the moment.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let port = port.to_string();
    let line = refused(10, &["-P", &port, FILE, "ann@127.0.0.1:"]);
    assert!(line.contains(&port) && line.contains("refused"), "{line}");
}

#[test]
fn a_host_without_an_address_of_the_family_is_status_10() {
    for (option, host, words) in [
        ("-6", "127.0.0.1", "127.0.0.1 has no IPv6 address"),
        ("-4", "[::1]", "::1 has no IPv4 address"),
    ] {
        let line = refused(10, &[option, FILE, &format!("ann@{host}:")]);
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn an_ssh_program_that_is_missing_or_fails_is_told() {
    let line = refused(
        2,
        &["--ssh-program", "/nonexistent/ssh", FILE, "localhost:"],
    );
    assert!(line.contains("/nonexistent/ssh"), "{line}");
    let fails = "/bin/sh -c 'echo \"ann@h: Permission denied (publickey).\" >&2; exit 255'";
    let line = refused(13, &["--ssh-program", fails, FILE, "localhost:"]);
    assert!(line.contains("Permission denied"), "{line}");
    let missing = "/bin/sh -c 'echo sh: haul: not found >&2; exit 127'";
    let line = refused(14, &["--ssh-program", missing, FILE, "localhost:"]);
    assert!(line.contains("not found"), "{line}");
}

#[test]
fn the_other_end_refuses_another_protocol() {
    let line = refused(15, &["--remote", "--proto", "99"]);
    assert!(line.contains("99"), "{line}");
}

#[test]
fn errors_are_events_too() {
    let output = haul(&["--json", "/nonexistent", "host:"]);
    assert_eq!(output.status.code(), Some(20));
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["type"], "error");
    assert_eq!(event["code"], 20);
    assert_eq!(event["name"], "no-such-source");
    assert!(text(&output.stderr).starts_with("haul: error: "));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_haul"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}
