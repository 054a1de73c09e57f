//! A key that may transfer and do nothing else, by a forced command; everything that people try beside that.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{ends::HAUL, outcome::stderr, server::Server};

const REFUSAL: &str = "unauthorized to transfer";

/// The login shell, beside haul.
fn shell() -> PathBuf {
    let shell = Path::new(HAUL).with_file_name("haul-shell");
    assert!(
        shell.exists(),
        "{}: scripts/test builds all programs",
        shell.display()
    );
    shell
}

/// What a client of OpenSSH says to this server.
fn ssh(server: &Server, program: &str, words: &[&str]) -> Output {
    let option = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
    Command::new(program)
        .args(["-F", "none", "-i"])
        .arg(server.path("key"))
        .args(option("Port", &server.port.to_string()))
        .args(option("BatchMode", "yes"))
        .args(option(
            "UserKnownHostsFile",
            server.path("known_hosts").to_str().unwrap(),
        ))
        .args(words)
        .env("BASH_ENV", "/nowhere")
        .output()
        .unwrap()
}

#[test]
fn s57_s58_nothing_but_transfers_is_to_be_had() {
    let key_options = format!("command=\"{}\"", shell().display());
    // All that an administrator may forget to switch off.
    let lines =
        "X11Forwarding yes\nPermitUserEnvironment yes\nAcceptEnv *\nSubsystem sftp internal-sftp";
    let server = Server::with(&key_options, lines);
    let long = "x".repeat(100_000);
    for command in [
        "",
        "sh",
        "id",
        "scp -t /tmp",
        "haul --remote; id",
        "haul  --remote --proto 1",
        "haul --remote --proto 1\nid",
        "haul --remote --proto 1 --log=/tmp",
        "/bin/sh -c id",
        long.as_str(),
    ] {
        for terminal in [
            &[][..],
            &["-tt"],
            &["-A"],
            &["-X"],
            &["-o", "SendEnv=BASH_ENV"],
        ] {
            let words = [terminal, &["127.0.0.1", command]].concat();
            let output = ssh(&server, "ssh", &words);
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                stderr(&output)
            );
            assert!(said.contains(REFUSAL), "{words:?}: {said}");
            assert!(!said.contains("uid="), "{words:?}: {said}");
            assert_eq!(output.status.code(), Some(77), "{words:?}: {said}");
            if command != "id" {
                break;
            }
        }
    }
    let file = server.here().join("file");
    fs::write(&file, "x").unwrap();
    let (file, there) = (
        file.to_str().unwrap(),
        format!("127.0.0.1:{}", server.there().display()),
    );
    for (program, words) in [
        ("scp", vec![file, &there]),
        ("scp", vec!["-O", file, &there]),
        ("sftp", vec!["127.0.0.1"]),
    ] {
        let output = ssh(&server, program, &words);
        assert!(!output.status.success(), "{program} {words:?}");
    }
    assert_eq!(fs::read_dir(server.there()).unwrap().count(), 0);
}

#[test]
fn s58_a_restricted_key_forwards_nothing() {
    let key_options = format!("restrict,command=\"{}\"", shell().display());
    let server = Server::with(&key_options, "AllowTcpForwarding yes\nX11Forwarding yes");
    let here = format!("127.0.0.1:{}", server.port);
    // What would come through is the greeting of the server itself.
    let output = ssh(&server, "ssh", &["-W", &here, "127.0.0.1"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("SSH-2.0"));
    assert!(!output.status.success());
    let forward = format!("0:{here}");
    let forwarding = [
        "-o",
        "ExitOnForwardFailure=yes",
        "-R",
        &forward,
        "127.0.0.1",
        "id",
    ];
    let output = ssh(&server, "ssh", &forwarding);
    assert!(!output.status.success(), "{}", stderr(&output));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("uid="));
}
