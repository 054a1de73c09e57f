//! A key that may transfer and do nothing else, by a forced command; everything that people try beside that.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

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

/// A server whose key may transfer what this policy allows to whoever runs the test; and its audit trail.
fn under(terms: &str) -> (Server, PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (root, audit) = (dir.path().join("root"), dir.path().join("audit"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&audit).unwrap();
    let config = dir.path().join("haul.toml");
    let policy = format!(
        "[server]\nunlisted = true\naudit = {audit:?}\n[defaults]\nroot = {root:?}\n{terms}\n"
    );
    fs::write(&config, policy).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let command = format!("{} --config {}", shell().display(), config.display());
    let server = Server::with(
        &format!("restrict,command=\"{command}\""),
        "ExposeAuthInfo yes",
    );
    (server, root, dir)
}

/// What the audit trail has, oldest first.
fn trail(dir: &tempfile::TempDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join("audit/audit.log")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_restricted_key_transfers_what_the_policy_allows() {
    let (server, root, dir) =
        under("deny = [\"**/secret\"]\nbytes_max = 5_000_000\numask = \"077\"");
    let bytes = crate::noise::noise(3, 3_000_000);
    fs::write(server.here().join("file"), &bytes).unwrap();
    fs::write(server.here().join("secret"), "s").unwrap();
    fs::write(server.here().join("large"), vec![7; 5_000_001]).unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("sub/secret"), "s").unwrap();
    fs::write(root.join("sub/open"), "o").unwrap();
    let run = |arguments: &[&str]| {
        server.json(&[&["-S", "haul", "--retry-for", "0"], arguments].concat())
    };
    let far = |path: &str| format!("127.0.0.1:{path}");

    assert_eq!(run(&["file", &far("/")]).status, 0);
    assert!(fs::read(root.join("file")).unwrap() == bytes);
    let mode = fs::metadata(root.join("file"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(run(&["-r", &far("sub"), "back"]).status, 0);
    assert!(
        server.here().join("back/open").exists() && !server.here().join("back/secret").exists()
    );
    assert_eq!(run(&["secret", &far("sub/")]).status, 3);
    assert_eq!(fs::read(root.join("sub/secret")).unwrap(), b"s");
    let large = run(&["large", &far("/")]);
    assert_eq!(large.status, 17, "{}", large.stderr);
    assert!(!root.join("large").exists());
    for outside in ["../x", "/etc/passwd", "~root/x"] {
        assert_ne!(run(&[&far(outside), "stolen"]).status, 0, "{outside}");
        assert!(!server.here().join("stolen").exists(), "{outside}");
    }

    let trail = trail(&dir);
    let outcomes: Vec<_> = trail
        .iter()
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes[..4],
        ["done", "done", "failed", "failed"],
        "{trail:?}"
    );
    assert_eq!(trail[0]["direction"], "upload");
    assert_eq!(trail[0]["bytes"], 3_000_000);
    assert_eq!(trail[1]["paths"], json!(["sub"]));
    assert_eq!(trail[0]["address"], "127.0.0.1");
    assert!(
        trail[0]["key"].as_str().unwrap().starts_with("SHA256:"),
        "{trail:?}"
    );
    assert!(
        trail[0]["walls"].as_str().unwrap().contains("seccomp"),
        "{trail:?}"
    );
}

#[test]
fn whatever_the_reason_the_peer_hears_a_reference_only() {
    for (terms, arguments, reason) in [
        ("write = false", &["file", "127.0.0.1:/"][..], "direction"),
        ("read = false", &["127.0.0.1:x", "."], "direction"),
        (
            "expires = \"2020-01-01\"",
            &["file", "127.0.0.1:/"],
            "expired",
        ),
        (
            "sources = [\"192.0.2.0/24\"]",
            &["file", "127.0.0.1:/"],
            "source",
        ),
        ("keys = []", &["file", "127.0.0.1:/"], "key"),
        ("overwrite = false", &["file", "127.0.0.1:/"], "overwrite"),
        ("policies = [\"low\"]", &["file", "127.0.0.1:/"], "policy"),
        ("", &["--delete", "-r", ".", "127.0.0.1:/"], "delete"),
        ("", &["--remove-after", "127.0.0.1:x", "."], "take"),
        ("", &["-W", "v4.local.x", "file", "127.0.0.1:/"], "token"),
        ("measure = false", &["--measure=1s", "127.0.0.1"], "measure"),
    ] {
        let (server, root, dir) = under(terms);
        fs::write(server.here().join("file"), "x").unwrap();
        let usual = ["-S", "haul", "--retry-for", "0"];
        let run = server.json(&[&usual, arguments].concat());
        assert_eq!(run.status, 77, "{terms} {arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(REFUSAL), "{}", run.stderr);
        assert!(
            !run.stderr.contains(reason) || reason == "key",
            "{reason}: {}",
            run.stderr
        );
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        let trail = trail(&dir);
        assert_eq!(trail.len(), 1, "{trail:?}");
        assert_eq!(trail[0]["outcome"], "refused");
        assert_eq!(trail[0]["reason"], reason, "{terms} {arguments:?}");
        let reference = trail[0]["reference"].as_str().unwrap();
        assert!(run.stderr.contains(reference), "{}", run.stderr);
    }
}

#[test]
fn a_policy_that_cannot_be_read_refuses_everybody() {
    for text in ["reed = true", "root = 7"] {
        let (server, root, _dir) = under(text);
        fs::write(server.here().join("file"), "x").unwrap();
        let run = server.json(&["-S", "haul", "--retry-for", "0", "file", "127.0.0.1:/"]);
        assert_eq!(run.status, 77, "{text}: {}", run.stderr);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
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
