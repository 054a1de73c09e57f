//! The suites behind one trait: what turns segments with a header into sealed ones, and back.

mod aead;
#[cfg(feature = "aws-lc")]
mod provider;

use aes::{Aes128, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use haul_wire::SuiteId;

use crate::{
    lanes::{self, CfbKeys},
    secret::TrafficSecret,
};
use aead::Aead;

/// Most segments sealed or opened in one call: one bit each in [`Verdict`].
pub(crate) const SEGMENTS_MAX: usize = 64;

/// The keys of one direction and epoch, ready for use.
///
/// Segments are `header | body | tag`, at least header and tag long, at most [`SEGMENTS_MAX`], and
/// in order of falling length: those of one batch are, only its last may be shorter.
pub(crate) trait PacketCrypto: Send + Sync {
    /// Encrypts the bodies and writes the tags; the headers are there already.
    fn seal(&self, segments: &mut [&mut [u8]]);

    /// Checks the tags and decrypts the bodies. The body of a segment whose tag is wrong is
    /// garbage afterwards.
    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict;
}

/// Which segments of a call to [`PacketCrypto::open`] had the right tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict(u64);

impl Verdict {
    /// Notes one more segment's result; no branch depends on it.
    pub(crate) fn note(&mut self, index: usize, authentic: subtle::Choice) {
        self.0 |= u64::from(authentic.unwrap_u8()) << index;
    }

    pub(crate) fn is_authentic(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }
}

/// What does the cipher work of the AES-CFB suites and of the one that only authenticates. Asking
/// for one that the machine lacks gives [`Self::Portable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Eight packets in 512-bit registers: x86-64 with AVX-512 and VAES.
    Vaes512,
    /// Eight packets in 256-bit registers: x86-64 with AVX2 and VAES.
    Vaes256,
    /// Four packets in 128-bit registers: x86-64 with AES-NI.
    AesNi,
    /// Four packets in 128-bit registers: aarch64 with the cryptography extension.
    Armv8,
    /// Lanes over the `aes` crate's parallel blocks: every machine.
    Portable,
}

impl Backend {
    /// All that there are, the fastest first.
    pub const ALL: [Self; 5] = [
        Self::Vaes512,
        Self::Vaes256,
        Self::AesNi,
        Self::Armv8,
        Self::Portable,
    ];

    /// All that this machine can run, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| lanes::is_usable(*backend))
    }

    /// The fastest that this machine can run.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vaes512 => "VAES-512",
            Self::Vaes256 => "VAES-256",
            Self::AesNi => "AES-NI",
            Self::Armv8 => "ARMv8",
            Self::Portable => "portable",
        }
    }
}

/// Derives the keys of a suite from the epoch's secret, for what this is built on.
pub(crate) fn packet_crypto(
    suite: SuiteId,
    secret: &TrafficSecret,
    backend: Backend,
) -> Box<dyn PacketCrypto> {
    #[cfg(feature = "aws-lc")]
    {
        let _ = backend;
        provider::packet_crypto(suite, secret)
    }
    #[cfg(not(feature = "aws-lc"))]
    own(suite, secret, backend)
}

/// The same, by the code of this crate.
#[cfg_attr(
    feature = "aws-lc",
    allow(dead_code, reason = "what the other is compared with")
)]
pub(crate) fn own(
    suite: SuiteId,
    secret: &TrafficSecret,
    backend: Backend,
) -> Box<dyn PacketCrypto> {
    match suite {
        SuiteId::Aes128Cfb => lanes::cfb::<Aes128, 16>(&CfbKeys::derive(suite, secret), backend),
        SuiteId::Aes256Cfb => lanes::cfb::<Aes256, 32>(&CfbKeys::derive(suite, secret), backend),
        SuiteId::NoneCmac => lanes::mac_only(&secret.key(b"mac", suite), backend),
        SuiteId::Aes128Gcm => {
            Aead::<Aes128Gcm>::boxed(&*secret.key::<16>(b"enc", suite), suite, secret)
        }
        SuiteId::Aes256Gcm => {
            Aead::<Aes256Gcm>::boxed(&*secret.key::<32>(b"enc", suite), suite, secret)
        }
        SuiteId::ChaCha20Poly1305 => {
            Aead::<ChaCha20Poly1305>::boxed(&*secret.key::<32>(b"enc", suite), suite, secret)
        }
    }
}

#[cfg(test)]
mod tests;
