//! Both lines of the engine on loopback, ready to be measured.

mod alone;

use std::{error::Error, fs, io::Write, net::IpAddr, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, unbounded};
use haul_disk::{
    Asked, Discard, Incoming, Landing, Outgoing, Preserve, ReceiveOptions, ScanOptions, Sink,
    Supply, Synthetic, Until, Wanted,
};
use haul_engine::{EngineEvent, Link, ReceiveSetup, Running, SendSetup, Snapshot};
use haul_flow::{Policy, ReceiverConfig, SenderConfig};
use haul_seal::{Direction, KeyInput, Opener, Sealer, SessionSecrets, TrafficSecret};
use haul_udp::{Route, UdpPath};
use haul_wire::{PacketCounter, SessionId, SuiteId, block_len, segment_len};

pub use alone::{Costs, measure_alone};

/// Where bytes come from and where they go.
#[derive(Debug, Clone, Copy)]
pub enum Ends<'a> {
    /// From a file or directory to an existing directory.
    Files {
        /// File or directory to send.
        source: &'a Path,
        /// Existing directory to write to.
        destination: &'a Path,
    },
    /// So many bytes from memory to nowhere.
    Memory(u64),
}

impl Ends<'_> {
    fn supply(&self, block_len: usize) -> Arc<dyn Supply> {
        match self {
            Self::Files { source, .. } => {
                let options = ScanOptions {
                    recursive: true,
                    times: false,
                    ..ScanOptions::default()
                };
                Outgoing::new(block_len, Wanted::new(vec![source.to_path_buf()], options))
            }
            Self::Memory(bytes) => Synthetic::new(block_len, Until::Bytes(*bytes)),
        }
    }

    fn sink(&self, block_len: usize) -> Result<Box<dyn Sink>, Box<dyn Error>> {
        let Self::Files { destination, .. } = self else {
            return Ok(Box::new(Discard::new(block_len)));
        };
        let destination = destination.as_os_str().as_encoded_bytes();
        let (root, landing) =
            Landing::resolve(Path::new("/"), destination, Asked::of(&["x"]), false)?;
        let options = ReceiveOptions::new(Preserve::default());
        Ok(Box::new(Incoming::new(root, landing, options, block_len)?))
    }
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// Where bytes come from and where they go.
    pub ends: Ends<'a>,
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
        let (events_out, events) = unbounded();
        let receiver = haul_engine::receive(ReceiveSetup {
            link: link(b, setup.suite, Direction::ServerToClient, move |event| {
                let _ = events_out.send(event);
            })?,
            incoming: setup.ends.sink(block)?,
            flow: ReceiverConfig {
                segment_len: segment,
                initial_rtt,
                free_bytes_initial,
            },
        })?;
        let sender = haul_engine::send(SendSetup {
            link: link(a, setup.suite, Direction::ClientToServer, |_| ())?,
            outgoing: setup.ends.supply(block),
            flow: SenderConfig {
                segment_len: segment,
                segments_per_batch_max: (haul_batch::MAX_BATCH_BYTES / segment).min(64),
                policy: setup.policy,
                rate_target_bps: setup.rate_target_bps,
                rate_min_bps: 0,
                initial_rtt,
                remembered: None,
                free_bytes_initial,
                carried_bytes: None,
                waits_for_judgement: false,
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

/// Makes a file of `bytes` bytes, whole MiB, that do not repeat soon.
///
/// # Errors
/// What the file system says.
pub fn fill(path: &Path, bytes: u64) -> Result<(), Box<dyn Error>> {
    let chunk: Vec<u8> = (0..1u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut file = fs::File::create(path)?;
    for _ in 0..bytes >> 20 {
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// The secret of one direction of a session; any does, nothing leaves this machine.
///
/// # Errors
/// None, as the inputs are fixed.
pub fn traffic(direction: Direction) -> Result<TrafficSecret, Box<dyn Error>> {
    let input = KeyInput {
        shared_x25519: &[1; 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"client",
        server_hello: b"server",
    };
    Ok(SessionSecrets::derive(&input)?.traffic(direction))
}

/// One end's sealer and opener: what `out` seals, the other end's opens.
fn keys(suite: SuiteId, out: Direction) -> Result<(Sealer, Opener), Box<dyn Error>> {
    let back = match out {
        Direction::ClientToServer => Direction::ServerToClient,
        Direction::ServerToClient => Direction::ClientToServer,
    };
    let session = SessionId(7);
    Ok((
        Sealer::new(suite, traffic(out)?, session),
        Opener::new(suite, traffic(back)?, session),
    ))
}

fn link(
    path: UdpPath,
    suite: SuiteId,
    out: Direction,
    on_event: impl FnMut(EngineEvent) + Send + 'static,
) -> Result<Link, Box<dyn Error>> {
    let (sealer, opener) = keys(suite, out)?;
    Ok(Link {
        path: Arc::new(path),
        sealer: Arc::new(sealer),
        opener: Arc::new(opener),
        path_counter: PacketCounter::new(),
        opening: None,
        knock: None,
        on_event: Box::new(on_event),
    })
}
