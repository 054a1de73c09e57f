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
mod vector;

use std::sync::OnceLock;

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit, typenum::U16},
};
use haul_wire::SuiteId;
use zeroize::Zeroizing;

use crate::{
    secret::TrafficSecret,
    suite::{Backend, PacketCrypto, Verdict},
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

/// A CFB suite on the given back end, on the portable one where that is not to be had. `K` is the
/// key length of `C`.
pub(crate) fn cfb<C: Aes + 'static, const K: usize>(
    keys: &CfbKeys<K>,
    backend: Backend,
) -> Box<dyn PacketCrypto> {
    let vector = is_usable(backend).then(|| vector::cfb::<C, K>(keys, backend));
    vector
        .flatten()
        .unwrap_or_else(|| Box::new(Portable::<C>::cfb(keys)))
}

/// Authentication without encryption, likewise.
pub(crate) fn mac_only(key: &[u8; 16], backend: Backend) -> Box<dyn PacketCrypto> {
    let vector = is_usable(backend).then(|| vector::mac_only::<Aes128>(key, backend));
    vector
        .flatten()
        .unwrap_or_else(|| Box::new(Portable::<Aes128>::mac_only(key)))
}

/// Whether this machine can run a back end and it gives the right results: tried once before use.
pub(crate) fn is_usable(backend: Backend) -> bool {
    static USABLE: [OnceLock<bool>; Backend::ALL.len()] =
        [const { OnceLock::new() }; Backend::ALL.len()];
    *USABLE[backend as usize].get_or_init(|| {
        let keys = CfbKeys {
            enc: Zeroizing::new([1; 16]),
            mac: Zeroizing::new([2; 16]),
            iv: Zeroizing::new([3; 16]),
        };
        let reference = Portable::<Aes128>::cfb(&keys);
        backend == Backend::Portable
            || vector::cfb::<Aes128, 16>(&keys, backend)
                .is_some_and(|vector| agree(&*vector, &reference))
    })
}

/// Whether both seal the same packets alike, and each opens what the other sealed.
fn agree(one: &dyn PacketCrypto, other: &dyn PacketCrypto) -> bool {
    // Full and partial chunks and blocks, a short last packet, more than one group.
    let plain: Vec<Vec<u8>> = (0..11)
        .map(|n| vec![n; if n == 10 { 77 } else { 220 }])
        .collect();
    let (mut ones, mut others) = (plain.clone(), plain);
    one.seal(&mut refs(&mut ones));
    other.seal(&mut refs(&mut others));
    let sealed_alike = ones == others;
    let verdicts = (
        other.open(&mut refs(&mut ones)),
        one.open(&mut refs(&mut others)),
    );
    let all = |verdict: Verdict| (0..ones.len()).all(|index| verdict.is_authentic(index));
    sealed_alike && ones == others && all(verdicts.0) && all(verdicts.1)
}

fn refs(segments: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    segments.iter_mut().map(Vec::as_mut_slice).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(enc: u8, mac: u8, iv: u8) -> Portable<Aes128> {
        Portable::cfb(&CfbKeys {
            enc: Zeroizing::new([enc; 16]),
            mac: Zeroizing::new([mac; 16]),
            iv: Zeroizing::new([iv; 16]),
        })
    }

    #[test]
    fn the_trial_before_use_notices_a_wrong_result() {
        assert!(agree(&suite(1, 2, 3), &suite(1, 2, 3)));
        assert!(!agree(&suite(1, 2, 3), &suite(9, 2, 3)));
        assert!(!agree(&suite(1, 2, 3), &suite(1, 9, 3)));
        assert!(!agree(&suite(1, 2, 3), &suite(1, 2, 9)));
    }

    /// Processors differ in how many blocks they encrypt at once: 8 with AES-NI, 30 or 64 with
    /// VAES, 4 or fewer in software.
    #[test]
    fn the_width_makes_no_difference() {
        for width in [1, 2, 4, 8, 30, 63, 64] {
            assert!(
                agree(&suite(1, 2, 3).with_width(width), &suite(1, 2, 3)),
                "{width}"
            );
        }
    }
}
