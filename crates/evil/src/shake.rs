//! The handshake of either end, with what a scenario changes in it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, bail};
use haul_batch::Pool;
use haul_seal::{Direction, KeyInput, Opener, Role, Sealer, SessionSecrets};
use haul_wire::{
    PacketCounter, SessionId, SuiteId,
    control::{
        ClientHello, Confirm, Features, HelloLimits, Message, Nonce, PREAMBLE, ServerHello, Text,
        UdpEndpoint, VERSIONS,
    },
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{flow::Flow, talk::Talk};

/// What deviates.
#[derive(Debug, Clone)]
pub(crate) struct Twist {
    /// As a server: the version chosen.
    pub(crate) version: u16,
    /// As a server: the first is chosen, whatever was offered. As a client: offered.
    pub(crate) suites: Vec<u8>,
    /// In place of a real key share.
    pub(crate) public: Option<[u8; 32]>,
    pub(crate) features: Features,
    pub(crate) receive_buffer_bytes: u64,
    pub(crate) mac: Mac,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mac {
    Right,
    Wrong,
    Missing,
    Twice,
}

impl Default for Twist {
    fn default() -> Self {
        Self {
            version: VERSIONS[0],
            suites: vec![SuiteId::Aes128Cfb as u8],
            public: None,
            features: Features::default(),
            receive_buffer_bytes: 1 << 20,
            mac: Mac::Right,
        }
    }
}

/// Both ends agree.
pub(crate) struct Shaken {
    pub(crate) talk: Talk,
    pub(crate) flow: Flow,
}

struct Ours {
    secret: StaticSecret,
    public: [u8; 32],
    nonce: Nonce,
}

impl Ours {
    fn draw(twist: &Twist) -> anyhow::Result<Self> {
        let (mut scalar, mut nonce) = ([0; 32], Nonce([0; 32]));
        getrandom::fill(&mut scalar)?;
        getrandom::fill(&mut nonce.0)?;
        let secret = StaticSecret::from(scalar);
        let honest = PublicKey::from(&secret).to_bytes();
        Ok(Self {
            public: twist.public.unwrap_or(honest),
            secret,
            nonce,
        })
    }
}

pub(crate) fn as_server(mut talk: Talk, twist: &Twist) -> anyhow::Result<Shaken> {
    talk.raw(&PREAMBLE)?;
    let (Message::ClientHello(theirs), client_hello) = talk.hear()? else {
        bail!("no hello");
    };
    let ours = Ours::draw(twist)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let session = SessionId(7);
    let suite = *twist.suites.first().context("no suite")?;
    let server_hello = talk.say(&Message::ServerHello(ServerHello {
        version: twist.version,
        suite,
        nonce: ours.nonce.clone(),
        public: ours.public,
        session,
        udp: vec![UdpEndpoint {
            ip: None,
            port: socket.local_addr()?.port(),
        }],
        features: twist.features,
        limits: HelloLimits {
            receive_buffer_bytes: twist.receive_buffer_bytes,
        },
        agent: Text::new("evil"),
    }))?;
    let secrets = SessionSecrets::derive(&KeyInput {
        shared_x25519: ours
            .secret
            .diffie_hellman(&PublicKey::from(theirs.public))
            .as_bytes(),
        client_nonce: &theirs.nonce.0,
        server_nonce: &ours.nonce.0,
        client_hello: &client_hello,
        server_hello: &server_hello,
    })?;
    confirm(&mut talk, &secrets, Role::Server, twist.mac)?;
    talk.await_message(|message| matches!(message, Message::Confirm(_)))?;
    let seals = seals(Role::Server, &secrets, suite, session)?;
    Ok(Shaken {
        flow: flow(socket, seals, None),
        talk,
    })
}

pub(crate) fn as_client(mut talk: Talk, twist: &Twist) -> anyhow::Result<Shaken> {
    talk.await_preamble()?;
    let ours = Ours::draw(twist)?;
    let client_hello = talk.say(&Message::ClientHello(ClientHello {
        versions: vec![twist.version],
        suites: twist.suites.clone(),
        nonce: ours.nonce.clone(),
        public: ours.public,
        features: twist.features,
        limits: HelloLimits {
            receive_buffer_bytes: twist.receive_buffer_bytes,
        },
        ipv6: false,
        udp_ports: None,
        agent: Text::new("evil"),
    }))?;
    let (message, server_hello) = talk.hear()?;
    let theirs = match message {
        Message::ServerHello(hello) => hello,
        Message::Error(fault) => bail!("last words: {}: {}", fault.code, fault.text),
        other => bail!("last words: {}", other.name()),
    };
    let secrets = SessionSecrets::derive(&KeyInput {
        shared_x25519: ours
            .secret
            .diffie_hellman(&PublicKey::from(theirs.public))
            .as_bytes(),
        client_nonce: &ours.nonce.0,
        server_nonce: &theirs.nonce.0,
        client_hello: &client_hello,
        server_hello: &server_hello,
    })?;
    talk.await_message(|message| matches!(message, Message::Confirm(_)))?;
    confirm(&mut talk, &secrets, Role::Client, twist.mac)?;
    let port = theirs.udp.first().context("no UDP address")?.port;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let seals = seals(Role::Client, &secrets, theirs.suite, theirs.session)?;
    let peer = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    Ok(Shaken {
        flow: flow(socket, seals, Some(peer)),
        talk,
    })
}

fn confirm(talk: &mut Talk, secrets: &SessionSecrets, role: Role, how: Mac) -> anyhow::Result<()> {
    let mut mac = secrets.confirmation(role);
    if how == Mac::Wrong {
        mac[31] ^= 1;
    }
    let times = match how {
        Mac::Missing => 0,
        Mac::Twice => 2,
        Mac::Right | Mac::Wrong => 1,
    };
    for _ in 0..times {
        talk.say(&Message::Confirm(Confirm { mac }))?;
    }
    Ok(())
}

fn seals(
    role: Role,
    secrets: &SessionSecrets,
    suite: u8,
    session: SessionId,
) -> anyhow::Result<(Sealer, Opener)> {
    let suite = SuiteId::from_wire(suite).context("no such suite")?;
    let (out, back) = match role {
        Role::Client => (Direction::ClientToServer, Direction::ServerToClient),
        Role::Server => (Direction::ServerToClient, Direction::ClientToServer),
    };
    Ok((
        Sealer::new(suite, secrets.traffic(out), session),
        Opener::new(suite, secrets.traffic(back), session),
    ))
}

fn flow(socket: UdpSocket, seals: (Sealer, Opener), peer: Option<SocketAddr>) -> Flow {
    Flow {
        socket,
        sealer: seals.0,
        opener: seals.1,
        data: PacketCounter::new(),
        path: PacketCounter::new(),
        pool: Pool::new(4),
        peer,
        block_len: 0,
    }
}
