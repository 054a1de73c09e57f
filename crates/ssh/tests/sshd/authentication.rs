//! Who is let in, with what.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use haul_ssh::{Options, Prompt, SshError, Target};

use crate::prompts::answering;
use crate::server::{PATIENCE, Server, key, local_user, tool};

fn with_key(server: &Server, name: &str) -> Options {
    Options {
        identities: vec![key(name)],
        ..server.options()
    }
}

#[test]
fn every_kind_of_key_lets_in() {
    let server = Server::new();
    for name in ["user-ed25519", "user-ecdsa", "user-rsa"] {
        assert_eq!(
            server.output(with_key(&server, name), "echo in"),
            "in\n",
            "{name}"
        );
    }
}

#[test]
fn a_key_that_fits_is_offered_without_asking_what_would() {
    let server = Server::with(&["host-ed25519"], "LogLevel DEBUG1");
    let asking = "service ssh-connection method none";
    server.output(server.options(), "true");
    let log = server.log_until("Accepted publickey");
    assert!(!log.contains(asking), "{log}");
    server.error(with_key(&server, "stranger"));
    server.log_until(asking);
}

#[test]
fn a_server_that_allows_a_single_attempt_is_told_apart() {
    let server = Server::with(&["host-ed25519"], "MaxAuthTries 1");
    let error = server.error(with_key(&server, "stranger"));
    assert!(error.to_string().contains("hung up"), "{error}");
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
}

#[test]
fn older_formats_of_keys_let_in() {
    let server = Server::new();
    for (name, format) in [
        ("user-rsa", "PEM"),
        ("user-ecdsa", "PKCS8"),
        ("user-ecdsa", "PEM"),
    ] {
        let copy = server.directory.path().join(format!("{name}-{format}"));
        std::fs::copy(key(name), &copy).unwrap();
        let mut convert = Command::new("ssh-keygen");
        convert.args(["-q", "-p", "-m", format, "-N", "", "-f"]);
        tool(convert.arg(&copy));
        assert!(!std::fs::read_to_string(&copy).unwrap().contains("OPENSSH"));
        let options = Options {
            identities: vec![copy],
            ..server.options()
        };
        assert_eq!(server.output(options, "echo in"), "in\n", "{name} {format}");
    }
}

#[test]
fn a_wrong_key_is_refused_and_named() {
    let server = Server::new();
    let error = server.error(with_key(&server, "stranger"));
    let SshError::AuthenticationFailed {
        user,
        tried,
        accepted,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*user, local_user());
    assert!(
        tried.contains("stranger") && accepted.contains("publickey"),
        "{error}"
    );
}

#[test]
fn nothing_to_try_is_told_apart() {
    let server = Server::new();
    let error = server.error(Options {
        identities: Vec::new(),
        ..server.options()
    });
    assert!(matches!(error, SshError::NoIdentity { .. }), "{error}");
    let missing = Options {
        identities: vec!["/no/such/key".into()],
        ..server.options()
    };
    let error = server.error(missing);
    assert!(matches!(error, SshError::KeyFile { .. }), "{error}");
}

#[test]
fn the_passphrase_is_asked_for_until_it_is_right() {
    let server = Server::new();
    let plain = with_key(&server, "user-encrypted");
    let (options, asked) = answering(plain, &["wrong", "open sesame"]);
    assert_eq!(server.output(options, "echo in"), "in\n");
    let expected = Prompt::Passphrase {
        key: key("user-encrypted"),
    };
    assert_eq!(*asked.lock().unwrap(), [expected.clone(), expected]);
}

#[test]
fn a_passphrase_is_not_asked_for_in_vain() {
    let server = Server::new();
    let (options, asked) = answering(with_key(&server, "stranger-encrypted"), &["open sesame"]);
    let error = server.error(options);
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert!(
        asked.lock().unwrap().is_empty(),
        "the server does not want this key"
    );

    let (options, asked) = answering(with_key(&server, "user-encrypted"), &["a", "b", "c", "d"]);
    let error = server.error(options);
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().len(), 3);

    let silent = Options {
        ask: Box::new(|prompt| panic!("asked {prompt:?}")),
        ..with_key(&server, "user-encrypted")
    };
    let error = server.error(silent);
    assert!(error.to_string().contains("encrypted"), "{error}");
}

/// A key agent for one test.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent must be installed: install openssh-client");
        let mut agent = Self { child, socket };
        // It prints its socket's name once it listens there.
        let mut line = String::new();
        let stdout = agent.child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        agent
    }

    fn add(&self, name: &str) {
        let mut add = Command::new("ssh-add");
        tool(
            add.arg("-q")
                .arg(key(name))
                .env("SSH_AUTH_SOCK", &self.socket),
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_agent_signs_with_every_kind_of_key() {
    let server = Server::new();
    for name in ["user-ed25519", "user-ecdsa", "user-rsa"] {
        let directory = tempfile::tempdir().unwrap();
        let agent = Agent::start(directory.path());
        agent.add("stranger");
        agent.add(name);
        let socket = Some(agent.socket.clone());
        let options = Options {
            identities: Vec::new(),
            agent: socket,
            ..server.options()
        };
        assert_eq!(server.output(options, "echo in"), "in\n", "{name}");
    }
}

#[test]
fn an_encrypted_key_in_the_agent_needs_no_passphrase() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path());
    let copy = directory.path().join("decrypted");
    std::fs::copy(key("user-encrypted"), &copy).unwrap();
    let mut strip = Command::new("ssh-keygen");
    tool(
        strip
            .args(["-q", "-p", "-P", "open sesame", "-N", "", "-f"])
            .arg(&copy),
    );
    let mut add = Command::new("ssh-add");
    tool(add.arg("-q").arg(&copy).env("SSH_AUTH_SOCK", &agent.socket));
    let agent_socket = Some(agent.socket.clone());
    let options = Options {
        agent: agent_socket,
        ..with_key(&server, "user-encrypted")
    };
    assert_eq!(server.output(options, "echo in"), "in\n");
}

#[test]
fn identities_only_leaves_the_agents_other_keys_alone() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path());
    agent.add("user-ed25519");
    let config = directory.path().join("config");
    let options = |text: String| {
        std::fs::write(&config, text).unwrap();
        Options {
            identities: Vec::new(),
            agent: Some(agent.socket.clone()),
            config_file: Some(config.clone()),
            ..server.options()
        }
    };
    let only = |name: &str| {
        options(format!(
            "IdentitiesOnly yes\nIdentityFile {}\n",
            key(name).display()
        ))
    };
    let error = server.error(only("stranger"));
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert_eq!(server.output(only("user-ed25519"), "echo in"), "in\n");
    // The public key alone selects the agent's private one.
    assert_eq!(server.output(only("user-ed25519.pub"), "echo in"), "in\n");
}

#[test]
fn an_agent_that_is_dead_or_mute_is_left_out() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent");
    let mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let options = || Options {
        agent: Some(socket.clone()),
        ..server.options()
    };
    assert_eq!(server.output(options(), "echo mute"), "mute\n");
    drop(mute);
    assert_eq!(server.output(options(), "echo dead"), "dead\n");
}

#[test]
fn a_server_that_has_enough_is_told_apart() {
    let server = Server::with(&["host-ed25519"], "MaxAuthTries 2");
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path());
    for name in ["stranger", "user-ed25519"] {
        agent.add(name);
    }
    let more: Vec<PathBuf> = (0..4)
        .map(|n| {
            let path = directory.path().join(format!("key{n}"));
            let mut make = Command::new("ssh-keygen");
            tool(
                make.args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(&path),
            );
            path
        })
        .collect();
    let socket = Some(agent.socket.clone());
    let error = server.error(Options {
        identities: more,
        agent: socket,
        ..server.options()
    });
    assert!(error.to_string().contains("hung up"), "{error}");
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
}

#[test]
fn the_configuration_names_host_user_port_and_key() {
    let server = Server::new();
    let config = server.directory.path().join("config");
    let text = format!(
        "Host alias\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n\
         Match all\n Port 1\nHost jumped\n ProxyJump gateway\n",
        server.port,
        local_user(),
        key("user-ecdsa").display()
    );
    std::fs::write(&config, text).unwrap();
    let options = || Options {
        identities: Vec::new(),
        config_file: Some(config.clone()),
        ..server.options()
    };
    let session = haul_ssh::connect(&Target::new("alias"), options(), "exit 9").unwrap();
    assert_eq!(session.host_name, "127.0.0.1");
    assert_eq!(session.warnings.len(), 1, "{:?}", session.warnings);
    assert_eq!(
        session.exit_status(PATIENCE).unwrap(),
        haul_ssh::RemoteExit::Code(9)
    );

    let error = haul_ssh::connect(&Target::new("jumped"), options(), "true").unwrap_err();
    assert!(
        matches!(error, SshError::NeedsSshProgram { line: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--ssh-program ssh"), "{error}");
}

#[test]
fn the_usual_keys_are_found_at_home() {
    let server = Server::new();
    let home = server.directory.path().join("home/.ssh");
    std::fs::copy(key("stranger"), home.join("id_ed25519")).unwrap();
    std::fs::copy(key("user-rsa"), home.join("id_rsa")).unwrap();
    let options = Options {
        identities: Vec::new(),
        ..server.options()
    };
    assert_eq!(server.output(options, "echo in"), "in\n");
}

#[test]
fn a_key_on_a_token_points_to_the_external_program() {
    let server = Server::new();
    let path = server.directory.path().join("id_sk");
    // The public half is all that can be made without a token.
    let blob = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZ\
                GhscHR4fAAAABHNzaDo=";
    std::fs::write(&path, format!("sk-ssh-ed25519@openssh.com {blob} token\n")).unwrap();
    let error = server.error(Options {
        identities: vec![path],
        ..server.options()
    });
    assert!(error.to_string().contains("--ssh-program"), "{error}");
}
