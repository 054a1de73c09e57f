//! The AES instructions of ARMv8.
#![allow(
    unsafe_code,
    reason = "vector instructions, their loads and stores, and the entry into code compiled for them"
)]
#![allow(
    clippy::inline_always,
    reason = "inlining decides for which processor this is compiled"
)]

use std::arch::{aarch64::*, is_aarch64_feature_detected};

use super::{BLOCK_LEN, Keys, Pass, Tags, Unit, kernel};

/// The ARMv8 cryptography extension: one packet in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Armv8(());

impl Armv8 {
    /// Proof that this processor has it.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("aes").then_some(Self(()))
    }
}

impl Unit<1, 4> for Armv8 {
    type Register = uint8x16_t;

    #[inline(always)]
    fn zero(self) -> uint8x16_t {
        self.broadcast(&[0; BLOCK_LEN])
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> uint8x16_t {
        assert!(bytes.len() >= BLOCK_LEN);
        // SAFETY: 16 readable bytes, no alignment.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8], value: uint8x16_t) {
        assert!(bytes.len() >= BLOCK_LEN);
        // SAFETY: 16 writable bytes, no alignment.
        unsafe { vst1q_u8(bytes.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn broadcast(self, block: &[u8; BLOCK_LEN]) -> uint8x16_t {
        self.load(block)
    }

    #[inline(always)]
    fn xor(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: every aarch64 processor that runs this has NEON, `self` proves it.
        unsafe { veorq_u8(a, b) }
    }

    #[inline(always)]
    fn and(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: as above.
        unsafe { vandq_u8(a, b) }
    }

    /// Nothing: the first round adds the first key itself.
    #[inline(always)]
    fn enter(self, block: uint8x16_t, _first: uint8x16_t) -> uint8x16_t {
        block
    }

    #[inline(always)]
    fn round(self, block: uint8x16_t, before: uint8x16_t, _key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { vaesmcq_u8(vaeseq_u8(block, before)) }
    }

    #[inline(always)]
    fn last_round(self, block: uint8x16_t, before: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { veorq_u8(vaeseq_u8(block, before), key) }
    }

    #[inline(always)]
    fn transpose(self, rows: [uint8x16_t; 1]) -> [uint8x16_t; 1] {
        rows
    }

    #[inline]
    fn pass<P: Pass, const R: usize>(
        self,
        keys: &Keys<R>,
        segments: &mut [&mut [u8]],
        tags: &mut Tags,
    ) {
        #[target_feature(enable = "neon,aes")]
        fn compiled<P: Pass, const R: usize>(
            unit: Armv8,
            keys: &Keys<R>,
            segments: &mut [&mut [u8]],
            tags: &mut Tags,
        ) {
            kernel::pass::<P, Armv8, 1, 4, R>(unit, keys, segments, tags);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { compiled::<P, R>(self, keys, segments, tags) }
    }
}
