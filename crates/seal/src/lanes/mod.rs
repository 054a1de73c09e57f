//! AES-CFB and AES-CMAC on many packets in lockstep.
//!
//! CFB encryption (NIST SP 800-38A, section 6.3, 128-bit segments) and CMAC (NIST SP 800-38B,
//! RFC 4493) are each a serial chain within one packet: one core waits for the cipher's latency
//! at every block. The packets of a batch are independent chains, so they run side by side, one
//! per lane:
//!
//! ```text
//! IV = AES_iv(header)      C = CFB_enc(IV, body)      T = CMAC_mac(header || C)
//! ```
//!
//! The header is one cipher block: IVs and the first step of the MACs run in lanes as well. CFB
//! wants an unpredictable IV; the encryption of a number that is never used twice is one
//! (SP 800-38A, appendix C), under a key of its own.

mod cmac;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vaes512;

use aes::cipher::{BlockCipherEncrypt, KeyInit, typenum::U16};
use haul_wire::SuiteId;
use zeroize::Zeroizing;

use crate::{
    secret::TrafficSecret,
    suite::{Backend, PacketCrypto},
};
use portable::Portable;

/// Length of a cipher block.
const BLOCK_LEN: usize = 16;

/// AES with some key length.
pub(crate) trait Aes: BlockCipherEncrypt<BlockSize = U16> + KeyInit + Send + Sync {}
impl<C: BlockCipherEncrypt<BlockSize = U16> + KeyInit + Send + Sync> Aes for C {}

/// The three keys of a CFB suite.
pub(crate) struct CfbKeys<const K: usize> {
    pub(crate) enc: Zeroizing<[u8; K]>,
    pub(crate) mac: Zeroizing<[u8; K]>,
    pub(crate) iv: Zeroizing<[u8; K]>,
}

impl<const K: usize> CfbKeys<K> {
    pub(crate) fn derive(suite: SuiteId, secret: &TrafficSecret) -> Self {
        Self {
            enc: secret.key(b"enc", suite),
            mac: secret.key(b"mac", suite),
            iv: secret.key(b"iv", suite),
        }
    }
}

/// A CFB suite on the given back end, on the portable one where the processor lacks what that
/// needs. `K` is the key length of `C`.
pub(crate) fn cfb<C: Aes + 'static, const K: usize>(
    keys: &CfbKeys<K>,
    backend: Backend,
) -> Box<dyn PacketCrypto> {
    let wide = match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes512 => vaes512::cfb::<C, K>(keys),
        _ => None,
    };
    wide.unwrap_or_else(|| Box::new(Portable::<C>::cfb(keys)))
}

/// Whether this processor has 512-bit VAES.
pub(crate) fn has_vaes512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return vaes512::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Authentication without encryption.
pub(crate) fn mac_only(key: &[u8; 16]) -> Box<dyn PacketCrypto> {
    Box::new(Portable::<aes::Aes128>::mac_only(key))
}

/// XORs as many bytes as both have.
fn xor_in(bytes: &mut [u8], other: &[u8]) {
    match (
        bytes.first_chunk_mut::<BLOCK_LEN>(),
        other.first_chunk::<BLOCK_LEN>(),
    ) {
        (Some(bytes), Some(other)) => {
            *bytes = (u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes(*other)).to_ne_bytes();
        }
        _ => bytes.iter_mut().zip(other).for_each(|(a, b)| *a ^= b),
    }
}
