//! Both lines of the engine on loopback, ready to be measured.

use std::{error::Error, net::IpAddr, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, unbounded};
use haul_disk::{Asked, Incoming, Landing, Outgoing, ReceiveOptions, ScanOptions};
use haul_engine::{EngineEvent, Link, ReceiveSetup, Running, SendSetup, Snapshot};
use haul_flow::{Policy, ReceiverConfig, SenderConfig};
use haul_seal::{Direction, KeyInput, Opener, Sealer, SessionSecrets};
use haul_udp::{Route, UdpPath};
use haul_wire::{PacketCounter, SessionId, SuiteId, block_len, segment_len};

/// What is measured.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// File or directory to send.
    pub source: &'a Path,
    /// Existing directory to write to.
    pub destination: &'a Path,
    /// How datagrams are sealed.
    pub suite: SuiteId,
    /// Largest UDP payload.
    pub datagram_len: usize,
    /// Who decides the rate.
    pub policy: Policy,
    /// Target of the policy.
    pub rate_target_bps: Option<u64>,
}

/// Both lines, running.
#[derive(Debug)]
pub struct Pair {
    sender: Running,
    receiver: Running,
    events: Receiver<EngineEvent>,
}

impl Pair {
    /// Starts both lines.
    ///
    /// # Errors
    /// Whatever keeps a line from starting.
    pub fn start(setup: &Setup<'_>) -> Result<Self, Box<dyn Error>> {
        let ip: IpAddr = [127, 0, 0, 1].into();
        let (a, b) = (UdpPath::bind(ip, 0..=0)?, UdpPath::bind(ip, 0..=0)?);
        a.set_route(Route::to(b.local_addr()));
        b.set_route(Route::to(a.local_addr()));
        let block = block_len(setup.datagram_len);
        let segment = segment_len(block);
        let initial_rtt = Duration::from_micros(100);
        let free_bytes_initial = b.buffers().recv as u64 / 2;
        let destination = setup.destination.as_os_str().as_encoded_bytes();
        let (root, landing) =
            Landing::resolve(Path::new("/"), destination, Asked::of(&["x"]), false)?;
        let (events_out, events) = unbounded();
        let receiver = haul_engine::receive(ReceiveSetup {
            link: link(b, setup.suite, Direction::ServerToClient, move |event| {
                let _ = events_out.send(event);
            })?,
            incoming: Box::new(Incoming::new(
                root,
                landing,
                ReceiveOptions::new(false),
                block,
            )?),
            flow: ReceiverConfig {
                segment_len: segment,
                initial_rtt,
                free_bytes_initial,
            },
        })?;
        let options = ScanOptions {
            recursive: true,
            times: false,
        };
        let sender = haul_engine::send(SendSetup {
            link: link(a, setup.suite, Direction::ClientToServer, |_| ())?,
            outgoing: Outgoing::new(block, vec![setup.source.to_owned()], options),
            flow: SenderConfig {
                segment_len: segment,
                segments_per_batch_max: (haul_batch::MAX_BATCH_BYTES / segment).min(64),
                policy: setup.policy,
                rate_target_bps: setup.rate_target_bps,
                rate_min_bps: 0,
                initial_rtt,
                remembered: None,
                free_bytes_initial,
                ecn: false,
                seed: 1,
            },
        })?;
        Ok(Self {
            sender,
            receiver,
            events,
        })
    }

    /// Waits until everything has been written, and returns what both ends counted.
    ///
    /// # Errors
    /// When a line fails or takes longer than two minutes.
    pub fn finish(self) -> Result<(Snapshot, Snapshot), Box<dyn Error>> {
        match self.events.recv_timeout(Duration::from_secs(120))? {
            EngineEvent::Failed(error) => Err(error.into()),
            _ => Ok((self.sender.stop().snapshot, self.receiver.stop().snapshot)),
        }
    }
}

fn link(
    path: UdpPath,
    suite: SuiteId,
    out: Direction,
    on_event: impl FnMut(EngineEvent) + Send + 'static,
) -> Result<Link, Box<dyn Error>> {
    let input = KeyInput {
        shared_x25519: &[1; 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"client",
        server_hello: b"server",
    };
    let secrets = SessionSecrets::derive(&input)?;
    let back = match out {
        Direction::ClientToServer => Direction::ServerToClient,
        Direction::ServerToClient => Direction::ClientToServer,
    };
    Ok(Link {
        path: Arc::new(path),
        sealer: Arc::new(Sealer::new(suite, secrets.traffic(out), SessionId(7))),
        opener: Arc::new(Opener::new(suite, secrets.traffic(back), SessionId(7))),
        path_counter: PacketCounter::new(),
        opening: None,
        on_event: Box::new(on_event),
    })
}
