//! Which hosts are trusted.

use std::process::Command;
use std::sync::{Arc, Mutex};

use haul_ssh::{Options, Prompt, SshError};
use zeroize::Zeroizing;

use crate::server::{Server, fingerprint, key, public, tool};

const ALL: [&str; 3] = ["host-ed25519", "host-ecdsa", "host-rsa"];

#[test]
fn s51_an_unknown_host_is_refused_with_its_fingerprint() {
    let server = Server::new();
    let error = server.error(Options {
        identities: vec![key("user-ed25519")],
        ..server.stranger()
    });
    let SshError::HostKeyUnknown {
        host,
        key_type,
        fingerprint: shown,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*host, format!("[127.0.0.1]:{}", server.port));
    assert_eq!(*key_type, "ssh-ed25519");
    assert_eq!(*shown, fingerprint("host-ed25519"));
    assert!(error.to_string().contains("--accept-new"), "{error}");
    assert!(!server.known_hosts().exists(), "nothing may be remembered");
    assert!(!server.log().contains("Accepted"), "{}", server.log());
}

#[test]
fn a_new_host_can_be_accepted_and_is_remembered() {
    let server = Server::new();
    let options = || Options {
        identities: vec![key("user-ed25519")],
        ..server.stranger()
    };
    let text = server.output(
        Options {
            accept_new: true,
            ..options()
        },
        "echo first",
    );
    assert_eq!(text, "first\n");
    assert_eq!(server.output(options(), "echo second"), "second\n");
    let name = format!("[127.0.0.1]:{}", server.port);
    let output = tool(
        Command::new("ssh-keygen")
            .args(["-F", &name, "-f"])
            .arg(server.known_hosts()),
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains(&public("host-ed25519")));
}

#[test]
fn a_user_may_confirm_or_not() {
    let right = fingerprint("host-ed25519");
    for (answer, accepted) in [
        (Some("yes"), true),
        (Some("YES "), true),
        (Some(right.as_str()), true),
        (Some("SHA256:wrong"), false),
        (Some("no"), false),
        (Some(""), false),
        (None, false),
    ] {
        let server = Server::new();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer_text = answer.map(str::to_owned);
        let options = Options {
            identities: vec![key("user-ed25519")],
            interactive: true,
            ask: Box::new(move |prompt| {
                log.lock().unwrap().push(prompt);
                answer_text.clone().map(Zeroizing::new)
            }),
            ..server.stranger()
        };
        assert_eq!(server.run(options, "true").is_ok(), accepted, "{answer:?}");
        let asked = asked.lock().unwrap();
        let [Prompt::ConfirmHostKey { fingerprint, .. }] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert_eq!(*fingerprint, right);
        assert_eq!(server.known_hosts().exists(), accepted);
    }
}

#[test]
fn s52_a_changed_host_is_refused_whatever_the_options() {
    let server = Server::with(&["host-ed25519"], "");
    server.know(&format!("# comment\nHOST {}\n", public("stranger")));
    let options = Options {
        accept_new: true,
        interactive: true,
        ask: Box::new(|prompt| panic!("asked {prompt:?}")),
        ..server.options()
    };
    let error = server.error(options);
    let SshError::HostKeyChanged {
        file,
        line,
        fingerprint: shown,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((file, *line), (&server.known_hosts(), 2));
    assert_eq!(*shown, fingerprint("host-ed25519"));
}

#[test]
fn s52_a_revoked_key_is_refused() {
    let server = Server::with(&["host-ed25519"], "");
    let key = public("host-ed25519");
    server.know(&format!("HOST {key}\n@revoked * {key}\n"));
    let error = server.error(Options {
        accept_new: true,
        ..server.options()
    });
    assert!(
        matches!(error, SshError::HostKeyRevoked { line: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_pin_replaces_known_hosts() {
    let server = Server::with(&["host-ed25519"], "");
    server.know(&format!("HOST {}\n", public("stranger")));
    let pinned = |pin: String| Options {
        host_key_pin: Some(pin),
        ..server.options()
    };
    assert_eq!(
        server.output(pinned(fingerprint("host-ed25519")), "echo in"),
        "in\n"
    );
    let error = server.error(pinned(fingerprint("stranger")));
    assert!(matches!(error, SshError::HostKeyPin { .. }), "{error}");
    let error = server.error(pinned("SHA256:short".to_owned()));
    assert!(matches!(error, SshError::BadPin(_)), "{error}");
}

#[test]
fn s52_known_by_one_type_means_asking_for_that_type() {
    let server = Server::new();
    for name in ALL {
        server.know(&format!("HOST {}\n", public(name)));
        assert_eq!(server.output(server.options(), "echo in"), "in\n", "{name}");
    }
}

#[test]
fn s53_a_host_certificate_convinces_nobody() {
    let server = Server::new();
    let certified = server.directory.path().join("host");
    std::fs::copy(key("host-ed25519"), &certified).unwrap();
    std::fs::copy(key("host-ed25519.pub"), certified.with_extension("pub")).unwrap();
    for validity in ["-5m:+5m", "20200101:20200102"] {
        let mut sign = Command::new("ssh-keygen");
        sign.arg("-q").arg("-s").arg(key("ca"));
        tool(
            sign.args(["-I", "test", "-h", "-n", "127.0.0.1", "-V", validity])
                .arg(&certified),
        );
        let certificate = format!("{}-cert.pub", certified.display());
        let extra = format!(
            "HostKey {}\nHostCertificate {certificate}",
            certified.display()
        );
        let server = Server::with(&[], &extra);
        server.know(&format!("@cert-authority * {}\n", public("ca")));
        let error = server.error(server.options());
        assert!(matches!(error, SshError::HostKeyUnknown { .. }), "{error}");
        server.know(&format!(
            "@cert-authority * {}\nHOST {}\n",
            public("ca"),
            public("host-ed25519")
        ));
        assert_eq!(server.output(server.options(), "echo in"), "in\n");
    }
}

#[test]
fn the_configuration_may_restrict_host_key_algorithms() {
    let server = Server::new();
    let config = server.directory.path().join("config");
    let with = |text: &str| {
        std::fs::write(&config, text).unwrap();
        Options {
            config_file: Some(config.clone()),
            ..server.options()
        }
    };
    std::fs::write(server.known_hosts(), "").unwrap();
    let error = server.error(with("HostKeyAlgorithms rsa-sha2-512\n"));
    assert!(
        matches!(&error, SshError::HostKeyUnknown { key_type, .. } if key_type == "ssh-rsa"),
        "{error}"
    );
    let error = server.error(with("# none\nHostKeyAlgorithms ssh-dss\n"));
    assert!(matches!(error, SshError::Config { line: 2, .. }), "{error}");
    let error = server.error(with(
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null/x\n",
    ));
    assert!(matches!(error, SshError::KnownHosts { .. }), "{error}");
}

/// What the system's own client makes of the same server and known hosts.
fn openssh_says(server: &Server) -> &'static str {
    let option = |name: &str, value: &str| format!("-o{name}={value}");
    let output = Command::new("ssh")
        .args(["-F", "none", "-T", "-p", &server.port.to_string()])
        .arg("-i")
        .arg(key("user-ed25519"))
        .arg(option(
            "UserKnownHostsFile",
            &server.known_hosts().display().to_string(),
        ))
        .arg(option("GlobalKnownHostsFile", "/dev/null"))
        .arg(option("StrictHostKeyChecking", "yes"))
        .arg(option("BatchMode", "yes"))
        .arg(option("IdentitiesOnly", "yes"))
        .arg(option("HostKeyAlgorithms", "-*cert*"))
        .args(["127.0.0.1", "true"])
        .output()
        .expect("ssh must be installed: install openssh-client");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match () {
        () if output.status.success() => "trusted",
        () if text.contains("HAS CHANGED") => "changed",
        () if text.contains("REVOKED HOST KEY") => "revoked",
        () if text.contains("host key is known") => "unknown",
        () => panic!("ssh says {text}"),
    }
}

#[test]
fn s54_openssh_judges_known_hosts_as_we_do() {
    let server = Server::with(&["host-ed25519", "host-ecdsa"], "");
    let [ed, ec, rsa, other] = ["host-ed25519", "host-ecdsa", "host-rsa", "stranger"].map(public);
    let table = [
        String::new(),
        format!("HOST {ed}\n"),
        format!("HOST {ed}\r\n"),
        format!("HOST {ec}\n"),
        format!("HOST {rsa}\n"),
        format!("HOST {other}\n"),
        format!("HOST {other}\nHOST {ed}\n"),
        format!("HOST {other}\nHOST {ec}\n"),
        format!("127.0.0.1 {ed}\n"),
        format!("127.0.0.1 {other}\n"),
        format!("* {ed}\n"),
        format!("[127.0.0.*]:* {ed}\n"),
        format!("[127.0.0.?]:*,!HOST {ed}\n"),
        format!("!HOST,* {ed}\n"),
        format!("@revoked HOST {ed}\nHOST {ed}\n"),
        format!("@revoked * {other}\nHOST {ed}\n"),
        format!("@revoked * {ed}\nHOST {ec}\n"),
        format!("@cert-authority * {ed}\n"),
        format!("@cert-authority * {ed}\nHOST {ed}\n"),
        format!("@unknown * {ed}\nHOST {ed}\n"),
        format!("@revoked\nHOST {ed}\n"),
        format!("garbage\n\u{1}\u{2}\nHOST\nHOST ssh-ed25519\nHOST ssh-ed25519 AAAA\nHOST {ed}\n"),
        format!("# HOST {ed}\n"),
        format!("  \tHOST\t{}  comment\n", ed.replace(' ', "\t")),
        format!("{},HOST {ed}\n", "x".repeat(3_000)),
        format!("{}HOST {ed}\n", "x,".repeat(100_000)),
        format!("HOST{} {ed}\nHOST {ed}\n", "x".repeat(1 << 20)),
    ];
    for text in table {
        server.know(&text);
        let ours = match server.run(server.options(), "true") {
            Ok(_) => "trusted",
            Err(SshError::HostKeyChanged { .. }) => "changed",
            Err(SshError::HostKeyRevoked { .. }) => "revoked",
            Err(SshError::HostKeyUnknown { .. }) => "unknown",
            Err(e) => panic!("{e}"),
        };
        assert_eq!(
            ours,
            openssh_says(&server),
            "{:?}",
            text.chars().take(120).collect::<String>()
        );
    }
}

#[test]
fn hashed_names_are_found() {
    let server = Server::with(&["host-ed25519"], "");
    server.know(&format!("HOST {}\n", public("host-ed25519")));
    tool(
        Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(server.known_hosts()),
    );
    let text = std::fs::read_to_string(server.known_hosts()).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    assert_eq!(server.output(server.options(), "echo in"), "in\n");
    assert_eq!(openssh_says(&server), "trusted");
    server.know(&format!("HOST {}\n", public("stranger")));
    tool(
        Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(server.known_hosts()),
    );
    let error = server.error(server.options());
    assert!(matches!(error, SshError::HostKeyChanged { .. }), "{error}");
}
