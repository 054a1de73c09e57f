//! Both ends of a transfer in one process: the control channel in memory, UDP over loopback.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod proxy;
pub(crate) mod tree;

use std::{
    net::IpAddr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use haul_transfer::{
    ANY_UDP_PORT, Direction, Event, Job, JobOptions, Preserve, RespondSetup, Summary, Taking,
    TransferError, initiate, respond,
};
use tokio::{
    io::{DuplexStream, duplex, split},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
pub(crate) const LOCALHOST_6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

pub(crate) const BOTH: [Direction; 2] = [Direction::Upload, Direction::Download];
/// A network that does nothing to packets.
pub(crate) const CALM: proxy::Weather = proxy::Weather {
    loss: 0,
    repeat: 0,
    reorder: 0,
    damage: 0,
};

/// A folder with a source of so many bytes, and a place where nothing has landed yet.
pub(crate) fn place(len: usize) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (dir.path().join("source"), dir.path().join("landed"));
    std::fs::write(&source, tree::noise(3, len)).unwrap();
    (dir, source, destination)
}

type Outcome = Result<Summary, TransferError>;

/// A job of one source and what serves it.
pub(crate) struct Case {
    pub(crate) job: Job,
    pub(crate) setup: RespondSetup,
    pub(crate) peer: IpAddr,
}

/// Both ends under way.
pub(crate) struct Under {
    pub(crate) initiator: JoinHandle<Outcome>,
    pub(crate) responder: JoinHandle<Outcome>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) cancel: watch::Sender<bool>,
}

/// How it went, at both ends.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) initiator: Outcome,
    pub(crate) responder: Outcome,
    pub(crate) events: Vec<Event>,
}

impl Case {
    pub(crate) fn new(direction: Direction, source: &Path, destination: &Path) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let options = JobOptions {
            taking: Taking {
                recursive: true,
                ..Taking::default()
            },
            preserve: Preserve::USUAL,
            file_events: true,
            progress_interval: Duration::from_millis(50),
            ..JobOptions::default()
        };
        let job = Job {
            direction,
            sources: vec![bytes(source)],
            destination: bytes(destination),
            measure: None,
            options,
        };
        let setup = RespondSetup {
            udp_ports: ANY_UDP_PORT,
            ssh_peer: Some(LOCALHOST),
            allow_none: true,
            ..RespondSetup::new(std::env::temp_dir())
        };
        Self {
            job,
            setup,
            peer: LOCALHOST,
        }
    }

    pub(crate) fn ipv6(mut self) -> Self {
        self.peer = LOCALHOST_6;
        self.setup.ssh_peer = Some(LOCALHOST_6);
        self
    }

    pub(crate) fn start(self) -> Under {
        let (near, far) = duplex(64 * 1024);
        self.start_over(near, far)
    }

    /// Starts both ends over these two streams.
    pub(crate) fn start_over(self, near: DuplexStream, far: DuplexStream) -> Under {
        let (events_out, events) = mpsc::unbounded_channel();
        let (cancel, cancelled) = watch::channel(false);
        let initiator = tokio::spawn(initiate(self.job, near, self.peer, events_out, cancelled));
        let (reader, writer) = split(far);
        let responder = tokio::spawn(respond(reader, writer, self.setup));
        Under {
            initiator,
            responder,
            events,
            cancel,
        }
    }

    pub(crate) async fn run(self) -> Ended {
        self.start().end().await
    }
}

impl Under {
    pub(crate) async fn end(mut self) -> Ended {
        let both = async { (self.initiator.await.unwrap(), self.responder.await.unwrap()) };
        let (initiator, responder) = timeout(PATIENCE, both)
            .await
            .expect("both ends end in time");
        let mut events = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        Ended {
            initiator,
            responder,
            events,
        }
    }

    /// Waits until this many file bytes have arrived.
    pub(crate) async fn until_bytes(&mut self, bytes: u64) {
        let seen = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, Event::Progress(progress) if progress.bytes >= bytes) {
                    return;
                }
            }
            panic!("it ended before {bytes} bytes had arrived");
        };
        timeout(PATIENCE, seen).await.expect("data flows");
    }
}

impl Ended {
    /// Both summaries of a success.
    pub(crate) fn succeeded(self) -> (Summary, Summary) {
        let responder = self.responder.expect("the responder succeeds");
        (self.initiator.expect("the initiator succeeds"), responder)
    }

    /// Both errors of a failure.
    pub(crate) fn failed(self) -> (TransferError, TransferError) {
        let initiator = self.initiator.expect_err("the initiator fails");
        (initiator, self.responder.expect_err("the responder fails"))
    }
}
