//! The same suites by AWS-LC, whose code can be that of a FIPS 140-3 module (feature `fips`): packet after
//! packet, in calls to it and nothing else. Slower than lanes; what it seals is the same bytes.

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{
        self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
    },
    cmac,
    error::Unspecified,
    iv::FixedLength,
};
use haul_wire::{HEADER_LEN, SuiteId, TAG_LEN};
use subtle::Choice;
use zeroize::Zeroizing;

use super::{PacketCrypto, Verdict};
use crate::secret::TrafficSecret;

/// The keys of a suite, in the provider.
pub(crate) fn packet_crypto(suite: SuiteId, secret: &TrafficSecret) -> Box<dyn PacketCrypto> {
    let made = match suite {
        SuiteId::Aes128Cfb => Cfb::boxed::<16>(&cipher::AES_128, cmac::AES_128, suite, secret),
        SuiteId::Aes256Cfb => Cfb::boxed::<32>(&cipher::AES_256, cmac::AES_256, suite, secret),
        SuiteId::NoneCmac => MacOnly::boxed(&*secret.key::<16>(b"mac", suite)),
        SuiteId::Aes128Gcm => Sealing::boxed(
            &aead::AES_128_GCM,
            &*secret.key::<16>(b"enc", suite),
            suite,
            secret,
        ),
        SuiteId::Aes256Gcm => Sealing::boxed(
            &aead::AES_256_GCM,
            &*secret.key::<32>(b"enc", suite),
            suite,
            secret,
        ),
        SuiteId::ChaCha20Poly1305 => {
            let key = secret.key::<32>(b"enc", suite);
            Sealing::boxed(&aead::CHACHA20_POLY1305, &*key, suite, secret)
        }
    };
    made.expect("the suite's key lengths")
}

/// The three parts of a segment.
fn parts(segment: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let end = segment.len() - TAG_LEN;
    segment.split_at_mut(end)
}

/// A MAC over header and body (NIST SP 800-38B).
struct Tags(cmac::Key);

impl Tags {
    fn write(&self, segment: &mut [u8]) {
        let (text, tag) = parts(segment);
        cmac::sign_to_buffer(&self.0, text, tag).expect("a tag's length");
    }

    fn check(&self, segment: &mut [u8]) -> Choice {
        let (text, tag) = parts(segment);
        Choice::from(u8::from(cmac::verify(&self.0, text, tag).is_ok()))
    }
}

/// Authentication alone.
struct MacOnly(Tags);

impl MacOnly {
    fn boxed(key: &[u8; 16]) -> Result<Box<dyn PacketCrypto>, Unspecified> {
        Ok(Box::new(Self(Tags(cmac::Key::new(cmac::AES_128, key)?))))
    }
}

impl PacketCrypto for MacOnly {
    fn seal(&self, segments: &mut [&mut [u8]]) {
        for segment in segments {
            self.0.write(segment);
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for (index, segment) in segments.iter_mut().enumerate() {
            verdict.note(index, self.0.check(segment));
        }
        verdict
    }
}

/// AES-CFB under an IV that is the header's encryption, then CMAC.
struct Cfb {
    enc: EncryptingKey,
    dec: DecryptingKey,
    iv: EncryptingKey,
    tags: Tags,
}

impl Cfb {
    fn boxed<const K: usize>(
        aes: &'static cipher::Algorithm,
        mac: cmac::Algorithm,
        suite: SuiteId,
        secret: &TrafficSecret,
    ) -> Result<Box<dyn PacketCrypto>, Unspecified> {
        let key = |purpose: &[u8]| UnboundCipherKey::new(aes, &*secret.key::<K>(purpose, suite));
        Ok(Box::new(Self {
            enc: EncryptingKey::cfb128(key(b"enc")?)?,
            dec: DecryptingKey::cfb128(key(b"enc")?)?,
            iv: EncryptingKey::ecb(key(b"iv")?)?,
            tags: Tags(cmac::Key::new(mac, &*secret.key::<K>(b"mac", suite))?),
        }))
    }

    fn iv(&self, segment: &[u8]) -> FixedLength<HEADER_LEN> {
        let mut block = [0; HEADER_LEN];
        block.copy_from_slice(&segment[..HEADER_LEN]);
        let encrypted = self
            .iv
            .less_safe_encrypt(&mut block, EncryptionContext::None);
        encrypted.expect("one block");
        FixedLength::from(block)
    }
}

impl PacketCrypto for Cfb {
    fn seal(&self, segments: &mut [&mut [u8]]) {
        for segment in segments {
            let iv = EncryptionContext::Iv128(self.iv(segment));
            let body = HEADER_LEN..segment.len() - TAG_LEN;
            let encrypted = self.enc.less_safe_encrypt(&mut segment[body], iv);
            encrypted.expect("CFB takes any length");
            self.tags.write(segment);
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for (index, segment) in segments.iter_mut().enumerate() {
            verdict.note(index, self.tags.check(segment));
            if verdict.is_authentic(index) {
                let iv = DecryptionContext::Iv128(self.iv(segment));
                let body = HEADER_LEN..segment.len() - TAG_LEN;
                let decrypted = self.dec.decrypt(&mut segment[body], iv);
                decrypted.expect("CFB takes any length");
            }
        }
        verdict
    }
}

/// AES-GCM and ChaCha20-Poly1305.
struct Sealing {
    key: LessSafeKey,
    iv_static: Zeroizing<[u8; 12]>,
}

impl Sealing {
    fn boxed(
        algorithm: &'static aead::Algorithm,
        key: &[u8],
        suite: SuiteId,
        secret: &TrafficSecret,
    ) -> Result<Box<dyn PacketCrypto>, Unspecified> {
        Ok(Box::new(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key)?),
            iv_static: secret.key(b"niv", suite),
        }))
    }

    fn nonce(&self, header: &[u8]) -> Nonce {
        let mut nonce = *self.iv_static;
        for (byte, number) in nonce[4..].iter_mut().zip(&header[8..HEADER_LEN]) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl PacketCrypto for Sealing {
    fn seal(&self, segments: &mut [&mut [u8]]) {
        for segment in segments {
            let (header, rest) = segment.split_at_mut(HEADER_LEN);
            let (body, tag) = parts(rest);
            let nonce = self.nonce(header);
            let aad = Aad::from(&*header);
            let sealed = self.key.seal_in_place_separate_tag(nonce, aad, body);
            tag.copy_from_slice(
                sealed
                    .expect("far below the cipher's length limit")
                    .as_ref(),
            );
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for (index, segment) in segments.iter_mut().enumerate() {
            let (header, sealed) = segment.split_at_mut(HEADER_LEN);
            let nonce = self.nonce(header);
            let opened = self.key.open_in_place(nonce, Aad::from(&*header), sealed);
            verdict.note(index, Choice::from(u8::from(opened.is_ok())));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, suite::Backend};

    const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

    fn refs(segments: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
        segments.iter_mut().map(Vec::as_mut_slice).collect()
    }

    #[test]
    fn both_seal_the_same_bytes_and_open_what_the_other_sealed() {
        let mut random = Random::announced();
        for suite in SuiteId::ALL {
            let secret = TrafficSecret::new(&<[u8; 32]>::try_from(random.bytes(32)).unwrap());
            let ours = crate::suite::own(suite, &secret, Backend::best());
            let theirs = packet_crypto(suite, &secret);
            for _ in 0..200 {
                let len = OVERHEAD + random.below(1_500);
                let plain: Vec<Vec<u8>> = (0..1 + random.below(20))
                    .map(|_| random.bytes(len))
                    .collect();
                let (mut one, mut other) = (plain.clone(), plain.clone());
                ours.seal(&mut refs(&mut one));
                theirs.seal(&mut refs(&mut other));
                assert_eq!(one, other, "{suite:?}");
                let verdicts = (
                    ours.open(&mut refs(&mut other)),
                    theirs.open(&mut refs(&mut one)),
                );
                for (index, plain) in plain.iter().enumerate() {
                    assert!(verdicts.0.is_authentic(index) && verdicts.1.is_authentic(index));
                    let body = HEADER_LEN..len - TAG_LEN;
                    assert_eq!(one[index][body.clone()], plain[body.clone()], "{suite:?}");
                    assert_eq!(other[index][body.clone()], plain[body], "{suite:?}");
                }
            }
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let mut random = Random::announced();
        for suite in SuiteId::ALL {
            let secret = TrafficSecret::new(&[7; 32]);
            let crypto = packet_crypto(suite, &secret);
            let mut sealed = random.bytes(OVERHEAD + 40);
            crypto.seal(&mut [&mut sealed]);
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let verdict = crypto.open(&mut [&mut changed]);
                assert!(!verdict.is_authentic(0), "{suite:?}, bit {bit}");
            }
        }
    }
}
