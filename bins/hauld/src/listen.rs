use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use russh::{
    MethodKind, MethodSet, Preferred,
    keys::PrivateKey,
    server::{Config, run_stream},
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};

use crate::{
    args::Args,
    cap::Cap,
    door::{Door, Place},
    log,
    session::{Caps, Session, Shared},
};

/// From the first byte to a logged-in user.
const LOGIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long sessions get to end in order after a signal.
const FAREWELL: Duration = Duration::from_secs(5);

/// The listening server.
pub(crate) struct Server {
    listener: TcpListener,
    config: Arc<Config>,
    shared: Arc<Shared>,
    door: Door,
    stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn bind(args: Args, host_key: PrivateKey) -> anyhow::Result<Self> {
        anyhow::ensure!(
            args.root.is_dir(),
            "--root {}: no such directory",
            args.root.display()
        );
        let root = args.root.canonicalize().context("--root")?;
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        let (stop, stopped) = watch::channel(false);
        let caps = Caps {
            up: args.cap_up.map(|rate| Cap::new(rate.0)),
            down: args.cap_down.map(|rate| Cap::new(rate.0)),
        };
        Ok(Self {
            listener,
            config: Arc::new(config(host_key)),
            shared: Arc::new(Shared {
                args,
                root,
                caps,
                stopped,
            }),
            door: Door::default(),
            stop,
        })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until SIGINT or SIGTERM, then lets running sessions end in order.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    // Out of descriptors, or the peer has gone: both pass.
                    Err(error) => {
                        log(&format!("accept: {error}"));
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        let Self {
            listener,
            shared,
            stop,
            ..
        } = self;
        drop(listener);
        stop.send_replace(true);
        drop(shared);
        // Sessions hold a receiver each; when the last is gone all have ended.
        let _ = timeout(FAREWELL, stop.closed()).await;
        Ok(())
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.door.enter(peer.ip()) else {
            log(&format!("{peer}: too many connections"));
            return;
        };
        let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
        tokio::spawn(async move {
            if let Err(error) = converse(config, shared, stream, peer, place).await {
                log(&format!("{peer}: {error}"));
            }
        });
    }
}

/// One SSH connection from its first byte to its last.
async fn converse(
    config: Arc<Config>,
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    _place: Place,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (logged_in, mut login) = watch::channel(false);
    let session = Session::new(shared, peer, local, logged_in);
    let running = timeout(LOGIN_DEADLINE, run_stream(config, stream, session))
        .await
        .context("no SSH client")??;
    let handle = running.handle();
    tokio::pin!(running);
    let in_time = async {
        timeout(LOGIN_DEADLINE, login.wait_for(|done| *done))
            .await
            .is_ok()
    };
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        in_time = in_time => if !in_time {
            let _ = handle
                .disconnect(russh::Disconnect::ByApplication, "login took too long".into(), "".into())
                .await;
            anyhow::bail!("login took too long");
        },
    }
    Ok(running.await?)
}

fn config(host_key: PrivateKey) -> Config {
    use russh::cipher;
    Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 6,
        keys: vec![host_key],
        inactivity_timeout: Some(Duration::from_secs(60)),
        keepalive_interval: Some(Duration::from_secs(10)),
        keepalive_max: 3,
        nodelay: true,
        preferred: Preferred {
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_128_CTR,
            ]),
            ..Preferred::default()
        },
        ..Config::default()
    }
}
