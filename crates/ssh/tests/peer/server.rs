//! An SSH server within the test.

use std::borrow::Cow;
use std::sync::Arc;

use haul_ssh::{Options, Session, SshError, Target};
use russh::keys::{HashAlg, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Handler, Msg, Response};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::runtime::Runtime;

pub const PASSWORD: &str = "correct horse";
/// A throw-away host key made for this test.
const HOST_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACCbMg8pC64ZtCuHhvRs4FUgBOiXVdO7lnggxZwNPFNEgAAAAIhNCCDvTQgg
7wAAAAtzc2gtZWQyNTUxOQAAACCbMg8pC64ZtCuHhvRs4FUgBOiXVdO7lnggxZwNPFNEgA
AAAEDG+ZG7el6ew/TmEP9ZQ22yBCsKb4S3a50V7hlTF36bqJsyDykLrhm0K4eG9GzgVSAE
6JdV07uWeCDFnA08U0SAAAAABHRlc3QB
-----END OPENSSH PRIVATE KEY-----
";

/// How users are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Everyone, without any proof.
    Anyone,
    /// By [`PASSWORD`].
    Password,
    /// By [`PASSWORD`] and a code, asked for in one round.
    Questions,
    /// Nobody: one question follows another.
    Endless,
}

#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    pub login: Login,
    pub refuse_command: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            login: Login::Anyone,
            refuse_command: false,
        }
    }
}

/// A running server on a loopback port.
pub struct Peer {
    port: u16,
    fingerprint: String,
    home: tempfile::TempDir,
    _runtime: Runtime,
}

impl Peer {
    pub fn new(behaviour: Behaviour) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let key = PrivateKey::from_openssh(HOST_KEY).unwrap();
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let methods = match behaviour.login {
            Login::Anyone => MethodKind::None,
            Login::Password => MethodKind::Password,
            Login::Questions | Login::Endless => MethodKind::KeyboardInteractive,
        };
        let config = Arc::new(server::Config {
            keys: vec![key],
            methods: MethodSet::from([methods].as_slice()),
            auth_rejection_time: std::time::Duration::ZERO,
            max_auth_attempts: 1_000,
            ..server::Config::default()
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, One(behaviour)).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Self {
            port,
            fingerprint,
            home: tempfile::tempdir().unwrap(),
            _runtime: runtime,
        }
    }

    pub fn options(&self) -> Options {
        Options {
            home: Some(self.home.path().to_owned()),
            config_file: Some("none".into()),
            host_key_pin: Some(self.fingerprint.clone()),
            agent: None,
            ..Options::new()
        }
    }

    pub fn run(&self, options: Options, command: &str) -> Result<Session, SshError> {
        let target = Target {
            user: Some("jane".to_owned()),
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
        };
        haul_ssh::connect(&target, options, command)
    }
}

/// One connection.
struct One(Behaviour);

impl One {
    fn question(prompts: &[(&'static str, bool)]) -> Auth {
        let prompts: Vec<_> = prompts
            .iter()
            .map(|(t, e)| (Cow::Borrowed(*t), *e))
            .collect();
        Auth::Partial {
            name: "".into(),
            instructions: "Two things".into(),
            prompts: Cow::Owned(prompts),
        }
    }
}

impl Handler for One {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        Ok(if self.0.login == Login::Anyone {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, Self::Error> {
        let right = self.0.login == Login::Password && password == PASSWORD;
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let answers: Option<Vec<_>> = response.map(|r| r.map(|bytes| bytes.to_vec()).collect());
        Ok(match (self.0.login, answers) {
            (Login::Questions, None) => {
                Self::question(&[("\u{1b}[31mPassword: ", false), ("Code: ", true)])
            }
            (Login::Questions, Some(a)) if a == [PASSWORD.as_bytes(), b"1234"] => Auth::Accept,
            (Login::Endless, _) => Self::question(&[("Again: ", false)]),
            _ => Auth::reject(),
        })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    /// Answers with the command's own text, and ends.
    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        if self.0.refuse_command {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.data(channel, data.to_vec())?;
        session.extended_data(channel, 1, b"to stderr".to_vec())?;
        session.eof(channel)?;
        session.exit_status_request(channel, 0)?;
        session.close(channel)
    }
}
