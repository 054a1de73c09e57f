//! Sessions against a server that does what sshd cannot be made to do in a test: check passwords,
//! ask questions without end, refuse commands, end without a status.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../prompts/mod.rs"]
mod prompts;
mod server;

use std::io::Read as _;
use std::time::{Duration, Instant};

use haul_ssh::{Options, Prompt, RemoteExit, SshError};

use prompts::answering;
use server::{Behaviour, Login, PASSWORD, Peer};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_password_is_asked_for_until_it_is_right() {
    let peer = Peer::new(Behaviour {
        login: Login::Password,
        ..Behaviour::default()
    });
    let (options, asked) = answering(peer.options(), &["wrong", PASSWORD]);
    let session = peer.run(options, "anything").unwrap();
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(0));
    let expected = Prompt::Password {
        user: "jane".to_owned(),
        host: "127.0.0.1".to_owned(),
    };
    assert_eq!(*asked.lock().unwrap(), [expected.clone(), expected]);
}

#[test]
fn wrong_passwords_end_after_three() {
    let peer = Peer::new(Behaviour {
        login: Login::Password,
        ..Behaviour::default()
    });
    let (options, asked) = answering(peer.options(), &["a", "b", "c", "d"]);
    let error = peer.run(options, "anything").unwrap_err();
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn nobody_there_means_nobody_is_asked() {
    for login in [Login::Password, Login::Questions] {
        let peer = Peer::new(Behaviour {
            login,
            ..Behaviour::default()
        });
        let ask = Box::new(|prompt| panic!("asked {prompt:?}"));
        let error = peer
            .run(
                Options {
                    ask,
                    ..peer.options()
                },
                "anything",
            )
            .unwrap_err();
        assert!(matches!(error, SshError::NoIdentity { .. }), "{error}");
    }
}

#[test]
fn the_servers_questions_reach_the_user_made_harmless() {
    let peer = Peer::new(Behaviour {
        login: Login::Questions,
        ..Behaviour::default()
    });
    let (options, asked) = answering(peer.options(), &[PASSWORD, "1234"]);
    let session = peer.run(options, "anything").unwrap();
    assert_eq!(session.exit_status(PATIENCE).unwrap(), RemoteExit::Code(0));
    let question = |text: &str, echo| Prompt::Challenge {
        text: text.to_owned(),
        echo,
    };
    assert_eq!(
        *asked.lock().unwrap(),
        [
            question("Two things\n\\u{1b}[31mPassword: ", false),
            question("Code: ", true)
        ]
    );
}

#[test]
fn a_server_that_never_stops_asking_is_left() {
    let peer = Peer::new(Behaviour {
        login: Login::Endless,
        ..Behaviour::default()
    });
    let (options, asked) = answering(peer.options(), &["x"; 1_000]);
    let began = Instant::now();
    let error = peer.run(options, "anything").unwrap_err();
    assert!(
        matches!(error, SshError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert!(
        asked.lock().unwrap().len() <= 20,
        "asked {} times",
        asked.lock().unwrap().len()
    );
}

#[test]
fn a_refused_command_is_an_error() {
    let peer = Peer::new(Behaviour {
        refuse_command: true,
        ..Behaviour::default()
    });
    let error = peer.run(peer.options(), "anything").unwrap_err();
    assert!(
        matches!(error, SshError::RemoteCommandRefused { .. }),
        "{error}"
    );
}

#[test]
fn output_and_stderr_of_another_server_arrive() {
    let peer = Peer::new(Behaviour::default());
    let mut session = peer.run(peer.options(), "anything").unwrap();
    session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    session.stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "anything");
    assert_eq!(session.stderr(), "to stderr");
    assert_eq!(session.close().unwrap(), RemoteExit::Code(0));
}
