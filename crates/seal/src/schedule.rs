//! From what both ends exchanged inside SSH to the traffic secrets of both directions.
//!
//! ```text
//! th     = SHA-256("haul/1 transcript" || len || client hello || len || server hello)
//! PRK    = HKDF-Extract(salt = th, X25519 || client nonce || server nonce)
//! master = HKDF-Expand(PRK, "haul/1 master" || th)
//! conf_c = HMAC-SHA-256(HKDF-Expand(master, "haul/1 conf c"), th)          likewise conf_s
//! ts[d]  = HKDF-Expand(master, "haul/1 " || d || " traffic")               d in {c2s, s2c}
//! ```
//!
//! Either input alone keeps the keys secret: the nonces as long as SSH holds, the X25519 secret
//! when only the plaintext of the SSH channel leaks later. The whole offer is in `th`, so whoever
//! alters it changes every key and fails the confirmation.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{
    SealError,
    secret::{TrafficSecret, expand},
};

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that opened the SSH connection.
    Client,
    /// The other end.
    Server,
}

/// Which way datagrams travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From client to server.
    ClientToServer,
    /// From server to client.
    ServerToClient,
}

/// Everything the keys of a session depend on.
pub struct KeyInput<'a> {
    /// Output of X25519.
    pub shared_x25519: &'a [u8; 32],
    /// The client's random contribution.
    pub client_nonce: &'a [u8; 32],
    /// The server's random contribution.
    pub server_nonce: &'a [u8; 32],
    /// The client's hello exactly as it crossed the channel.
    pub client_hello: &'a [u8],
    /// The server's hello exactly as it crossed the channel.
    pub server_hello: &'a [u8],
}

impl fmt::Debug for KeyInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyInput(..)")
    }
}

/// What a session's keys come from. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct SessionSecrets {
    master: [u8; 32],
    transcript: [u8; 32],
}

impl SessionSecrets {
    /// Runs the schedule.
    ///
    /// # Errors
    /// [`SealError::WeakKeyShare`] when the X25519 output is all zero (RFC 7748, section 6.1).
    pub fn derive(input: &KeyInput<'_>) -> Result<Self, SealError> {
        if bool::from(input.shared_x25519.ct_eq(&[0; 32])) {
            return Err(SealError::WeakKeyShare);
        }
        let transcript: [u8; 32] = Sha256::new()
            .chain_update(b"haul/1 transcript")
            .chain_update((input.client_hello.len() as u64).to_be_bytes())
            .chain_update(input.client_hello)
            .chain_update((input.server_hello.len() as u64).to_be_bytes())
            .chain_update(input.server_hello)
            .finalize()
            .into();
        let mut ikm = Zeroizing::new([0; 96]);
        ikm[..32].copy_from_slice(input.shared_x25519);
        ikm[32..64].copy_from_slice(input.client_nonce);
        ikm[64..].copy_from_slice(input.server_nonce);
        let prk: Zeroizing<[u8; 32]> =
            Zeroizing::new(Hkdf::<Sha256>::extract(Some(&transcript), &*ikm).0.into());
        Ok(Self {
            master: *expand(&prk, &[b"haul/1 master", &transcript]),
            transcript,
        })
    }

    /// What the end in this role sends to prove that it holds the same keys.
    pub fn confirmation(&self, role: Role) -> [u8; 32] {
        self.confirmation_mac(role).finalize().into_bytes().into()
    }

    /// Whether `received` is the confirmation of the end in this role. Takes the same time however
    /// much of it is right.
    pub fn verify_confirmation(&self, role: Role, received: &[u8]) -> bool {
        self.confirmation_mac(role).verify_slice(received).is_ok()
    }

    /// The first traffic secret of a direction.
    pub fn traffic(&self, direction: Direction) -> TrafficSecret {
        let label: &[u8] = match direction {
            Direction::ClientToServer => b"c2s",
            Direction::ServerToClient => b"s2c",
        };
        TrafficSecret::new(&expand(&self.master, &[b"haul/1 ", label, b" traffic"]))
    }

    fn confirmation_mac(&self, role: Role) -> Hmac<Sha256> {
        let label: &[u8] = match role {
            Role::Client => b"haul/1 conf c",
            Role::Server => b"haul/1 conf s",
        };
        let key: Zeroizing<[u8; 32]> = expand(&self.master, &[label]);
        <Hmac<Sha256> as KeyInit>::new_from_slice(&*key)
            .expect("HMAC takes keys of any length")
            .chain_update(self.transcript)
    }
}

impl fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecrets(..)")
    }
}
