//! Both hellos, the keys, and the proof that both ends have the same ones.
//!
//! ```text
//! client                                  server
//!   ClientHello                       ──►
//!                                     ◄──  ServerHello, Confirm(server)
//!   Confirm(client)                   ──►
//! ```
//!
//! The server can confirm together with its hello, so the client may send its request, and open
//! the path, one round trip after its own hello. Both confirmations cover the hash of both hellos
//! exactly as they crossed the channel: whoever alters the offer changes the keys of one end only,
//! and the confirmation fails before any datagram is sent. There is no retry with a weaker offer.

mod client;
mod server;

use std::sync::Arc;

use haul_seal::{Direction, KeyInput, Opener, Role, Sealer, SessionSecrets};
use haul_wire::{
    SessionId, SuiteId,
    control::{Features, HelloLimits, Nonce, Text},
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::TransferError;

pub(crate) use client::{ClientOffer, Greeted, greet};
pub(crate) use server::{ServerPolicy, answer, hear};

/// What both ends are sure of once the handshake is over.
pub(crate) struct Agreed {
    pub(crate) suite: SuiteId,
    pub(crate) session: SessionId,
    /// What the other end can take.
    pub(crate) limits: HelloLimits,
    /// The other end's program and version.
    pub(crate) agent: Text,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) opener: Arc<Opener>,
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agreed")
            .field("suite", &self.suite)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Program and version, as told to the other end.
pub(crate) fn agent() -> Text {
    Text::new(concat!("haul/", env!("CARGO_PKG_VERSION")))
}

/// What this end contributes to the keys. Wiped when dropped.
struct Contribution {
    secret: StaticSecret,
    public: [u8; 32],
    nonce: Nonce,
}

impl Contribution {
    fn draw() -> Result<Self, TransferError> {
        let mut scalar = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *scalar)?;
        let mut nonce = Nonce([0; 32]);
        getrandom::fill(&mut nonce.0)?;
        let secret = StaticSecret::from(*scalar);
        let public = PublicKey::from(&secret).to_bytes();
        Ok(Self {
            secret,
            public,
            nonce,
        })
    }
}

/// Both hellos exactly as they crossed the channel, and the nonces in them.
struct Transcript<'a> {
    client_hello: &'a [u8],
    server_hello: &'a [u8],
    client_nonce: &'a Nonce,
    server_nonce: &'a Nonce,
}

impl Transcript<'_> {
    fn derive(
        &self,
        ours: &StaticSecret,
        theirs: [u8; 32],
    ) -> Result<SessionSecrets, TransferError> {
        let shared = ours.diffie_hellman(&PublicKey::from(theirs));
        Ok(SessionSecrets::derive(&KeyInput {
            shared_x25519: shared.as_bytes(),
            client_nonce: &self.client_nonce.0,
            server_nonce: &self.server_nonce.0,
            client_hello: self.client_hello,
            server_hello: self.server_hello,
        })?)
    }
}

/// The two directions' cipher states for the end in this role.
fn seals(
    role: Role,
    secrets: &SessionSecrets,
    suite: SuiteId,
    session: SessionId,
) -> (Arc<Sealer>, Arc<Opener>) {
    let (out, back) = match role {
        Role::Client => (Direction::ClientToServer, Direction::ServerToClient),
        Role::Server => (Direction::ServerToClient, Direction::ClientToServer),
    };
    (
        Arc::new(Sealer::new(suite, secrets.traffic(out), session)),
        Arc::new(Opener::new(suite, secrets.traffic(back), session)),
    )
}

fn check_features(features: Features) -> Result<(), TransferError> {
    match features.unknown_required() {
        0 => Ok(()),
        bits => Err(TransferError::UnknownFeature(bits)),
    }
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "nothing".to_owned()
    } else {
        items.join(", ")
    }
}

#[cfg(test)]
mod tests;
