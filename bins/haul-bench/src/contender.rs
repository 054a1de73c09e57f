//! Who sends over a shared link: haul under one of its policies, or the kernel's TCP.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use haul_wan::{FAR_ADDRESS, Flow, Namespace, Transport};

use crate::lab::{self, Lab};

/// How long a contender may take from its start to its first packet of bulk data.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes after which a flow carries bulk data, not the opening of a conversation.
const BULK: u64 = 20_000;
/// What a TCP sender writes and a receiver reads at once.
const CHUNK: usize = 64 << 10;

/// What a contender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// haul under this policy.
    Haul(&'static str),
    /// TCP of the kernel under this congestion control.
    Tcp(&'static str),
}

const KINDS: [(&str, Kind); 7] = [
    ("haul", Kind::Haul("fair")),
    ("fair", Kind::Haul("fair")),
    ("high", Kind::Haul("high")),
    ("low", Kind::Haul("low")),
    ("cubic", Kind::Tcp("cubic")),
    ("bbr", Kind::Tcp("bbr")),
    ("reno", Kind::Tcp("reno")),
];

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = KINDS.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, kind)| *kind)
            .ok_or("write haul, fair, high, low, cubic, bbr or reno")
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haul(name) | Self::Tcp(name) => name,
        }
    }
}

/// A contender that sends from near to far until it is dropped.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// How the link tells it from the others.
    pub(crate) flow: Flow,
    _sender: Sender,
}

enum Sender {
    Haul(Child),
    Tcp(TcpStream),
}

impl Drop for Sender {
    fn drop(&mut self) {
        match self {
            Self::Haul(child) => {
                // One that has ended already is what is wanted.
                let _ = child.kill();
                let _ = child.wait();
            }
            // Its threads end when their connection does.
            Self::Tcp(stream) => drop(stream.shutdown(std::net::Shutdown::Both)),
        }
    }
}

impl Contender {
    /// Starts it, and returns once its first data has crossed the link. `file` is what haul sends,
    /// `number` tells contenders apart.
    pub(crate) fn start(lab: &Lab, kind: Kind, file: &Path, number: usize) -> anyhow::Result<Self> {
        let known = bulk_flows(lab);
        let mut sender = match kind {
            Kind::Haul(policy) => Sender::Haul(haul(lab, policy, file, number)?),
            Kind::Tcp(control) => Sender::Tcp(tcp(lab, control)?),
        };
        let began = Instant::now();
        loop {
            let new = bulk_flows(lab)
                .difference(&known)
                .copied()
                .find(|flow| matches!(kind, Kind::Haul(_)) == (flow.transport == Transport::Udp));
            if let Some(flow) = new {
                return Ok(Self {
                    kind,
                    flow,
                    _sender: sender,
                });
            }
            if let Sender::Haul(child) = &mut sender
                && let Some(status) = child.try_wait()?
            {
                bail!("haul ended with {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("{} sends nothing", kind.name());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Flows from near to far that carry bulk data. Logging in over ssh carries less.
fn bulk_flows(lab: &Lab) -> BTreeSet<Flow> {
    let counters = lab.wan.counters();
    let bulk = counters.out.iter().filter(|(flow, counter)| {
        counter.bytes > BULK && !(flow.transport == Transport::Tcp && flow.to.port() == 22)
    });
    bulk.map(|(flow, _)| *flow).collect()
}

fn haul(lab: &Lab, policy: &str, file: &Path, number: usize) -> anyhow::Result<Child> {
    let mut command: Command = Lab::near(lab::bin_folder()?.join("haul"));
    command
        .args(["--quiet", "--policy", policy, "-F"])
        .arg(lab.config())
        .arg(file)
        .arg(format!("far:{}/arrived-{number}", lab.folder().display()))
        .stdin(Stdio::null());
    Ok(lab.wan.near().spawn(command)?)
}

/// A connection under `control` through which one thread writes and another reads.
fn tcp(lab: &Lab, control: &'static str) -> anyhow::Result<TcpStream> {
    let listener = lab
        .wan
        .far()
        .run(|| TcpListener::bind((FAR_ADDRESS, 0)))??;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        if let Ok((mut stream, _)) = listener.accept() {
            while stream.read(&mut chunk).is_ok_and(|length| length > 0) {}
        }
    });
    let stream = connect(lab.wan.near(), address, control)?;
    let mut writing = stream.try_clone()?;
    thread::spawn(move || {
        let chunk = vec![0; CHUNK];
        while writing.write_all(&chunk).is_ok() {}
    });
    Ok(stream)
}

fn connect(
    near: &Namespace,
    address: SocketAddr,
    control: &'static str,
) -> anyhow::Result<TcpStream> {
    let stream = near.run(move || TcpStream::connect(address))??;
    rustix::net::sockopt::set_tcp_congestion(&stream, control)
        .with_context(|| format!("this kernel has no TCP {control}"))?;
    Ok(stream)
}
