//! Verdicts against what OpenSSH's manual promises, and against `ssh-keygen -F` itself.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
const ED2: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBS9uPdchkWFCfNeyR9gttoo5LHEza9GGjVQCcxe2TGM";
const EC: &str = "ecdsa-sha2-nistp256 \
    AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKdEfRT/Gz9egClKephxfIN7PD9ITZHASbCxTLVM\
    jaIVTF2wTaYznidOXtzG6RWS/AtOp88+GgzI6kq5nStdT/M=";

fn key(text: &str) -> HostKey {
    HostKey::new(&parse_key(text.as_bytes()).unwrap())
}

fn judge(file: &str, host: &str, port: u16, shown: &str) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    std::fs::write(&path, file).unwrap();
    let known = KnownHosts::load([&path], &HostName::new(host, port)).unwrap();
    known.judge(&key(shown))
}

/// The verdict's name and, where it has one, its line.
fn brief(verdict: &Verdict) -> (&'static str, usize) {
    match verdict {
        Verdict::Trusted => ("trusted", 0),
        Verdict::Unknown => ("unknown", 0),
        Verdict::Changed(place) => ("changed", place.line),
        Verdict::Revoked(place) => ("revoked", place.line),
    }
}

/// File, host, port, and what is said of the key `ED`: verdict, and line where there is one.
type Case = (String, &'static str, u16, (&'static str, usize));

fn check(table: &[Case]) {
    for (file, host, port, expected) in table {
        let shown = file.chars().take(80).collect::<String>();
        let verdict = judge(file, host, *port, ED);
        assert_eq!(brief(&verdict), *expected, "{host}:{port} in {shown:?}");
    }
}

const TRUSTED: (&str, usize) = ("trusted", 0);
const UNKNOWN: (&str, usize) = ("unknown", 0);

#[test]
fn s54_names_match_as_in_openssh() {
    check(&[
        (String::new(), "h", 22, UNKNOWN),
        (format!("h {ED}\n"), "h", 22, TRUSTED),
        (format!("h {ED}\n"), "H", 22, TRUSTED),
        (format!("H {ED}\n"), "h", 22, TRUSTED),
        (format!("other {ED}\n"), "h", 22, UNKNOWN),
        (format!("a,b,h {ED}\n"), "h", 22, TRUSTED),
        (format!("*.x.org {ED}\n"), "a.x.org", 22, TRUSTED),
        (format!("*.x.org {ED}\n"), "x.org", 22, UNKNOWN),
        (format!("a.x.or? {ED}\n"), "a.x.org", 22, TRUSTED),
        (
            format!("*.x.org,!bad.x.org {ED}\n"),
            "bad.x.org",
            22,
            UNKNOWN,
        ),
        (
            format!("!bad.x.org,*.x.org {ED}\n"),
            "good.x.org",
            22,
            TRUSTED,
        ),
        (format!("!bad.x.org {ED}\n"), "good.x.org", 22, UNKNOWN),
        (format!("[h]:2222 {ED}\n"), "h", 2222, TRUSTED),
        (format!("[h]:2222 {ED}\n"), "h", 22, UNKNOWN),
        (format!("[h]:22 {ED}\n"), "h", 22, UNKNOWN),
        (format!("[h]:2222 {ED2}\n"), "h", 2222, ("changed", 1)),
        (format!("h {ED}\n"), "h", 2222, TRUSTED),
        (format!("h {ED2}\n"), "h", 2222, UNKNOWN),
        (format!("[*.x.org]:2222 {ED}\n"), "a.x.org", 2222, TRUSTED),
        (format!("[::1]:2222 {ED}\n"), "::1", 2222, TRUSTED),
        (format!("::1 {ED}\n"), "::1", 22, TRUSTED),
    ]);
}

#[test]
fn s52_s54_keys_and_markers_count_as_in_openssh() {
    check(&[
        (format!("h {ED2}\n"), "h", 22, ("changed", 1)),
        (format!("# first\nh {ED2}\nh {ED}\n"), "h", 22, TRUSTED),
        (format!("h {EC}\n"), "h", 22, ("changed", 1)),
        (format!("h {EC}\nh {ED2}\n"), "h", 22, ("changed", 2)),
        (format!("@revoked h {ED}\n"), "h", 22, ("revoked", 1)),
        (format!("@revoked h {ED}\n"), "h", 2222, ("revoked", 1)),
        (
            format!("h {ED}\n@revoked * {ED}\n"),
            "h",
            22,
            ("revoked", 2),
        ),
        (format!("h {ED}\n@revoked * {ED2}\n"), "h", 22, TRUSTED),
        (format!("@revoked other {ED}\nh {ED}\n"), "h", 22, TRUSTED),
        (format!("@cert-authority h {ED}\n"), "h", 22, UNKNOWN),
        (
            format!("@cert-authority * {ED2}\nh {ED}\n"),
            "h",
            22,
            TRUSTED,
        ),
        (format!("@gibberish h {ED}\n"), "h", 22, UNKNOWN),
        (format!("@revoked @revoked h {ED}\n"), "h", 22, UNKNOWN),
    ]);
}

#[test]
fn s54_odd_lines_are_read_or_skipped_as_in_openssh() {
    check(&[
        (format!("h {ED} some comment # here"), "h", 22, TRUSTED),
        (format!("h {ED}\r\n"), "h", 22, TRUSTED),
        (format!(" \t h \t {ED}\n"), "h", 22, TRUSTED),
        (format!("#h {ED}\n"), "h", 22, UNKNOWN),
        ("h ssh-ed25519\n".to_owned(), "h", 22, UNKNOWN),
        ("h ssh-ed25519 !!!!\n".to_owned(), "h", 22, UNKNOWN),
        (
            format!("h {}\n", ED.replace("ssh-ed25519", "ssh-rsa")),
            "h",
            22,
            UNKNOWN,
        ),
        (format!("\u{0}\u{1}garbage\nh\nh {ED}\n"), "h", 22, TRUSTED),
        (format!("|1|nonsense {ED}\n"), "h", 22, UNKNOWN),
        (
            format!("{} {ED}\nh {ED}\n", "x".repeat(10 << 20)),
            "h",
            22,
            TRUSTED,
        ),
        (
            format!("{}h {ED}\n", "y,".repeat(5 << 20)),
            "h",
            22,
            TRUSTED,
        ),
    ]);
}

#[test]
fn bytes_that_are_not_utf8_do_not_hide_other_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let bytes = [b"\xff\xfe garbage \xff\n", format!("h {ED} \n").as_bytes()].concat();
    std::fs::write(&path, bytes).unwrap();
    let known = KnownHosts::load([&path], &HostName::new("h", 22)).unwrap();
    assert_eq!(known.judge(&key(ED)), Verdict::Trusted);
}

#[test]
fn the_first_file_does_not_hide_the_second() {
    let directory = tempfile::tempdir().unwrap();
    let [user, system, missing] = ["user", "system", "missing"].map(|n| directory.path().join(n));
    std::fs::write(&user, format!("h {ED}\n")).unwrap();
    std::fs::write(&system, format!("# \n@revoked * {ED}\nh {EC}\n")).unwrap();
    let known = KnownHosts::load([&missing, &user, &system], &HostName::new("h", 22)).unwrap();
    assert_eq!(
        known.judge(&key(ED)),
        Verdict::Revoked(Place {
            file: system,
            line: 2
        })
    );
    assert!(known.has_type("ecdsa-sha2-nistp256") && !known.has_type("ssh-rsa"));
}

#[test]
fn an_unreadable_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().to_owned();
    let error = KnownHosts::load([&file], &HostName::new("h", 22)).unwrap_err();
    assert!(matches!(error, SshError::KnownHosts { .. }), "{error}");
}

#[test]
fn ssh_keygen_finds_what_we_find() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let lines = [
        format!("plain,alias {ED}"),
        format!("*.wild.org,!not.wild.org {ED}"),
        format!("[ported]:2222 {ED}"),
        format!("[*.both.org]:2200 {ED}\r"),
        format!("hashed-one {ED}"),
        format!("[hashed-two]:2222 {ED}"),
        "broken line".to_owned(),
    ];
    std::fs::write(&path, lines[..3].join("\n") + "\n" + &lines[3] + "\n").unwrap();
    let hashed = directory.path().join("hashed");
    std::fs::write(&hashed, lines[4..6].join("\n") + "\n").unwrap();
    let keygen = |arguments: &[&str], file: &Path| {
        let mut command = Command::new("ssh-keygen");
        command
            .args(arguments)
            .arg("-f")
            .arg(file)
            .output()
            .expect("ssh-keygen must be installed")
    };
    assert!(keygen(&["-H"], &hashed).status.success());
    let mut all = std::fs::read(&path).unwrap();
    all.extend(std::fs::read(&hashed).unwrap());
    all.extend(lines[6].as_bytes());
    std::fs::write(&path, &all).unwrap();
    assert!(
        !String::from_utf8_lossy(&all).contains("hashed-"),
        "ssh-keygen hashed nothing"
    );

    let mut found_some = 0;
    for host in [
        "plain",
        "alias",
        "plai",
        "a.wild.org",
        "not.wild.org",
        "wild.org",
        "ported",
        "a.both.org",
        "hashed-one",
        "hashed-two",
        "hashed-three",
    ] {
        for port in [22, 2200, 2222] {
            let name = HostName::new(host, port);
            let output = keygen(&["-F", &name.full], &path);
            let expected = !output.stdout.is_empty();
            let known = KnownHosts::load([&path], &name).unwrap();
            let found = known.entries.iter().any(|entry| entry.full);
            assert_eq!(found, expected, "{name}");
            found_some += usize::from(found);
        }
    }
    assert!(found_some >= 6, "ssh-keygen -F found only {found_some}");
}

#[test]
fn appending_makes_private_files_and_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("made/.ssh/known_hosts");
    let (a, b) = (HostName::new("A.example", 22), HostName::new("b", 2222));
    append(&file, &a, &key(ED)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    let unfinished = std::fs::read_to_string(&file).unwrap() + "c ssh-ed25519 unfinished";
    std::fs::write(&file, unfinished).unwrap();
    append(&file, &b, &key(EC)).unwrap();
    for (name, shown) in [(&a, ED), (&b, EC)] {
        assert_eq!(
            KnownHosts::load([&file], name).unwrap().judge(&key(shown)),
            Verdict::Trusted
        );
    }
}
