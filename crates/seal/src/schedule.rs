//! From what both ends exchanged inside SSH to the traffic secrets of both directions.
//!
//! ```text
//! th     = SHA-256("haul/1 transcript" || len || client hello || len || server hello)
//!          each len is the hello's length in 8 bytes, big-endian
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

#[cfg(test)]
mod tests {
    use haul_wire::SuiteId;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    fn input() -> KeyInput<'static> {
        KeyInput {
            shared_x25519: &[1; 32],
            client_nonce: &[2; 32],
            server_nonce: &[3; 32],
            client_hello: b"hello from the client",
            server_hello: b"hello from the server",
        }
    }

    fn text(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Computed apart from this crate with Python's `hmac` and `hashlib`.
    #[test]
    fn known_answer() {
        let secrets = SessionSecrets::derive(&input()).unwrap();
        assert_eq!(
            text(&secrets.confirmation(Role::Client)),
            "9f6a9d0fc0e80e1854845dbaac04ef0fbeeea21660c0777ce025dac63f1b8530"
        );
        assert_eq!(
            text(&secrets.confirmation(Role::Server)),
            "195cb70efce0dc2001b0ae294a786bb96ffd4d8e69d5d8bafc2541a52bcef1fd"
        );
        let up = secrets.traffic(Direction::ClientToServer);
        let key = up.key::<16>(b"enc", SuiteId::Aes128Cfb);
        assert_eq!(text(&*key), "2ab57cf16c47356e23e947f09366ef02");
        let nonce = up.next().key::<12>(b"niv", SuiteId::Aes256Gcm);
        assert_eq!(text(&*nonce), "7b9d73b3d09a19aec048f1b5");
        let down = secrets.traffic(Direction::ServerToClient);
        let key = down.next().key::<32>(b"mac", SuiteId::Aes256Cfb);
        assert_eq!(
            text(&*key),
            "eb4c309670537ed8878f83254046a5ff8c7e3187cce94c53df0459697ad9a6d4"
        );
    }

    #[test]
    fn every_input_changes_the_keys() {
        let base = input();
        let variants = [
            KeyInput {
                shared_x25519: &[9; 32],
                ..input()
            },
            KeyInput {
                client_nonce: &[9; 32],
                ..input()
            },
            KeyInput {
                server_nonce: &[9; 32],
                ..input()
            },
            KeyInput {
                client_hello: b"hello",
                ..input()
            },
            KeyInput {
                server_hello: b"hello",
                ..input()
            },
            // The same bytes, divided otherwise.
            KeyInput {
                client_hello: b"hello from the clienth",
                server_hello: b"ello from the server",
                ..input()
            },
        ];
        let sent = SessionSecrets::derive(&base)
            .unwrap()
            .confirmation(Role::Client);
        for other in variants {
            let other = SessionSecrets::derive(&other).unwrap();
            assert!(!other.verify_confirmation(Role::Client, &sent));
        }
    }

    #[test]
    fn a_confirmation_is_one_role_s_and_whole() {
        let secrets = SessionSecrets::derive(&input()).unwrap();
        let sent = secrets.confirmation(Role::Client);
        assert!(secrets.verify_confirmation(Role::Client, &sent));
        assert!(!secrets.verify_confirmation(Role::Server, &sent));
        assert!(!secrets.verify_confirmation(Role::Client, &sent[..31]));
        assert!(!secrets.verify_confirmation(Role::Client, &[]));
    }

    #[test]
    fn a_degenerate_key_share_is_refused() {
        let shared_x25519 = &[0; 32];
        let refused = SessionSecrets::derive(&KeyInput {
            shared_x25519,
            ..input()
        });
        assert!(matches!(refused, Err(SealError::WeakKeyShare)));
    }

    #[test]
    fn secrets_are_wiped() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<SessionSecrets>();
        wiped::<TrafficSecret>();
        wiped::<aes::Aes128>();
        wiped::<aes::Aes256>();
        wiped::<aes_gcm::Aes128Gcm>();
        wiped::<aes_gcm::Aes256Gcm>();
        wiped::<chacha20poly1305::ChaCha20Poly1305>();
    }
}
