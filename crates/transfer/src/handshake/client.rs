use haul_seal::Role;
use haul_wire::{
    SuiteId,
    control::{
        ClientHello, Confirm, Features, HelloLimits, Message, ServerHello, UdpEndpoint, VERSIONS,
    },
};
use tokio::time::Instant;

use super::{Agreed, Contribution, Transcript, agent, check_features, join, seals};
use crate::{Misbehaviour, Phase, TransferError, control::Control};

/// What the client offers.
#[derive(Debug, Clone)]
pub(crate) struct ClientOffer {
    pub(crate) versions: Vec<u16>,
    /// Preferred first.
    pub(crate) suites: Vec<SuiteId>,
    pub(crate) features: Features,
    pub(crate) limits: HelloLimits,
    pub(crate) ipv6: bool,
    pub(crate) udp_ports: Option<(u16, u16)>,
}

impl ClientOffer {
    pub(crate) fn new(suites: &[SuiteId], receive_buffer_bytes: u64) -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            suites: suites.to_vec(),
            features: Features {
                offered: Features::KNOWN,
                required: 0,
            },
            limits: HelloLimits {
                receive_buffer_bytes,
            },
            ipv6: false,
            udp_ports: None,
        }
    }
}

/// What the client knows when the handshake is over.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) agreed: Agreed,
    /// Where the server awaits datagrams.
    pub(crate) udp: Vec<UdpEndpoint>,
    /// What the other host's shell printed before haul spoke.
    pub(crate) noise: Vec<u8>,
}

/// The client's side of the handshake. Its hello leaves before the preamble is here: that saves a
/// round trip, and a shell that is not haul gets nothing but a few random bytes.
///
/// # Errors
/// Everything that keeps two ends from agreeing; nothing has been sent over UDP then.
pub(crate) async fn greet(
    control: &mut Control,
    offer: &ClientOffer,
    deadline: Instant,
) -> Result<Greeted, TransferError> {
    control.phase = Phase::Hello;
    let ours = Contribution::draw()?;
    let client_hello = control.send_verbatim(&Message::ClientHello(ClientHello {
        versions: offer.versions.clone(),
        suites: offer.suites.iter().map(|suite| *suite as u8).collect(),
        nonce: ours.nonce.clone(),
        public: ours.public,
        features: offer.features,
        limits: offer.limits,
        ipv6: offer.ipv6,
        udp_ports: offer.udp_ports,
        agent: agent(),
    }))?;
    let noise = control.greeting(deadline).await?;

    let answer = control.expect(deadline, "server hello").await?;
    let hello = match answer.message {
        Message::ServerHello(hello) => hello,
        Message::Spoken(spoken) => {
            return Err(TransferError::VersionMismatch {
                ours: join(&offer.versions),
                theirs: join(spoken.versions),
            });
        }
        other => return Err(control.unexpected(&other)),
    };
    let suite = accept(offer, &hello)?;
    let secrets = Transcript {
        client_hello: &client_hello,
        server_hello: &answer.body,
        client_nonce: &ours.nonce,
        server_nonce: &hello.nonce,
    }
    .derive(&ours.secret, hello.public)?;

    control.phase = Phase::Confirmation;
    match control.expect(deadline, "confirmation").await?.message {
        Message::Confirm(confirm) => {
            if !secrets.verify_confirmation(Role::Server, &confirm.mac) {
                return Err(TransferError::Unconfirmed);
            }
        }
        other => return Err(control.unexpected(&other)),
    }
    control.send(&Message::Confirm(Confirm {
        mac: secrets.confirmation(Role::Client),
    }))?;

    let (sealer, opener) = seals(Role::Client, &secrets, suite, hello.session);
    let ServerHello {
        session,
        limits,
        udp,
        agent,
        ..
    } = hello;
    Ok(Greeted {
        agreed: Agreed {
            suite,
            session,
            limits,
            agent,
            sealer,
            opener,
        },
        udp,
        noise,
    })
}

/// Refuses a choice that was not offered.
fn accept(offer: &ClientOffer, hello: &ServerHello) -> Result<SuiteId, TransferError> {
    if !offer.versions.contains(&hello.version) {
        return Err(Misbehaviour::NotOffered("version").into());
    }
    let suite = SuiteId::from_wire(hello.suite)
        .filter(|suite| offer.suites.contains(suite))
        .ok_or(Misbehaviour::NotOffered("cipher"))?;
    check_features(hello.features)?;
    if hello.features.offered & !offer.features.offered != 0 {
        return Err(Misbehaviour::NotOffered("feature").into());
    }
    if hello.udp.is_empty() || hello.udp.iter().any(|endpoint| endpoint.port == 0) {
        return Err(Misbehaviour::Range("UDP port").into());
    }
    Ok(suite)
}
