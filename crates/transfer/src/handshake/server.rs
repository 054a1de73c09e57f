use haul_seal::Role;
use haul_wire::{
    SessionId, SuiteId,
    control::{
        ClientHello, Confirm, Features, HelloLimits, Message, ServerHello, Spoken, UdpEndpoint,
        VERSIONS,
    },
};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Agreed, Contribution, Transcript, agent, check_features, join, seals};
use crate::{Phase, TransferError, control::Control};

/// What the server accepts.
#[derive(Debug, Clone)]
pub(crate) struct ServerPolicy {
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<SuiteId>,
    pub(crate) features: Features,
    pub(crate) limits: HelloLimits,
}

impl ServerPolicy {
    /// `suites` that encrypt are allowed as they are; [`SuiteId::NoneCmac`] only with `allow_none`.
    pub(crate) fn new(suites: &[SuiteId], allow_none: bool, receive_buffer_bytes: u64) -> Self {
        let mut suites: Vec<_> = suites
            .iter()
            .copied()
            .filter(|suite| *suite != SuiteId::NoneCmac)
            .collect();
        if allow_none {
            suites.push(SuiteId::NoneCmac);
        }
        Self {
            versions: VERSIONS.to_vec(),
            suites,
            features: Features {
                offered: Features::KNOWN,
                required: 0,
            },
            limits: HelloLimits {
                receive_buffer_bytes,
            },
        }
    }
}

/// A client's hello and what was chosen from it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) hello: ClientHello,
    body: Zeroizing<Vec<u8>>,
    version: u16,
    suite: SuiteId,
}

/// Awaits the client's hello and chooses from it.
///
/// # Errors
/// [`TransferError::VersionMismatch`], [`TransferError::UnknownFeature`],
/// [`TransferError::NoCommonCipher`], and what the channel itself gives.
pub(crate) async fn hear(
    control: &mut Control,
    policy: &ServerPolicy,
    deadline: Instant,
) -> Result<Heard, TransferError> {
    control.phase = Phase::Hello;
    let first = control.expect(deadline, "client hello").await?;
    let Message::ClientHello(hello) = first.message else {
        return Err(control.unexpected(&first.message));
    };
    let offered = |version: &&u16| hello.versions.contains(version);
    let Some(&version) = policy.versions.iter().find(offered) else {
        // So that the client, too, can name both.
        control.send(&Message::Spoken(Spoken {
            versions: policy.versions.clone(),
        }))?;
        return Err(TransferError::VersionMismatch {
            ours: join(&policy.versions),
            theirs: join(&hello.versions),
        });
    };
    check_features(hello.features)?;
    let known: Vec<_> = hello
        .suites
        .iter()
        .filter_map(|id| SuiteId::from_wire(*id))
        .collect();
    let Some(suite) = known
        .iter()
        .copied()
        .find(|suite| policy.suites.contains(suite))
    else {
        return Err(TransferError::NoCommonCipher {
            offered: join(known),
            allowed: join(&policy.suites),
        });
    };
    Ok(Heard {
        hello,
        body: first.body,
        version,
        suite,
    })
}

/// Answers the hello, with the addresses at which datagrams are awaited, and checks the client's
/// proof. Nothing may be sent over UDP before this returns.
///
/// # Errors
/// [`TransferError::Unconfirmed`], and what the channel itself gives.
pub(crate) async fn answer(
    control: &mut Control,
    policy: &ServerPolicy,
    heard: &Heard,
    udp: Vec<UdpEndpoint>,
    deadline: Instant,
) -> Result<Agreed, TransferError> {
    let ours = Contribution::draw()?;
    let mut id = [0; 4];
    getrandom::fill(&mut id)?;
    let session = SessionId(u32::from_be_bytes(id));
    let server_hello = control.send_verbatim(&Message::ServerHello(ServerHello {
        version: heard.version,
        suite: heard.suite as u8,
        nonce: ours.nonce.clone(),
        public: ours.public,
        session,
        udp,
        features: Features {
            offered: policy.features.offered & heard.hello.features.offered,
            required: policy.features.required,
        },
        limits: policy.limits,
        agent: agent(),
    }))?;
    let secrets = Transcript {
        client_hello: &heard.body,
        server_hello: &server_hello,
        client_nonce: &heard.hello.nonce,
        server_nonce: &ours.nonce,
    }
    .derive(&ours.secret, heard.hello.public)?;

    control.phase = Phase::Confirmation;
    control.send(&Message::Confirm(Confirm {
        mac: secrets.confirmation(Role::Server),
    }))?;
    match control.expect(deadline, "confirmation").await?.message {
        Message::Confirm(confirm) => {
            if !secrets.verify_confirmation(Role::Client, &confirm.mac) {
                return Err(TransferError::Unconfirmed);
            }
        }
        other => return Err(control.unexpected(&other)),
    }
    let (sealer, opener) = seals(Role::Server, &secrets, heard.suite, session);
    Ok(Agreed {
        suite: heard.suite,
        session,
        limits: heard.hello.limits,
        agent: heard.hello.agent.clone(),
        sealer,
        opener,
    })
}
