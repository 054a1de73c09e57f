//! The AES instructions of x86-64.
#![allow(
    unsafe_code,
    reason = "vector instructions, their loads and stores, and the entry into code compiled for them"
)]
#![allow(
    clippy::inline_always,
    reason = "inlining decides for which processor this is compiled"
)]

use std::arch::x86_64::*;

use super::{BLOCK_LEN, Keys, Pass, Tags, Unit, kernel};

/// 512-bit VAES and AVX-512: four packets in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vaes512(());

/// 256-bit VAES and AVX2: two packets in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vaes256(());

/// AES-NI: one packet in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct AesNi(());

impl Vaes512 {
    /// Proof that this processor has it.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("aes");
        has.then_some(Self(()))
    }
}

impl Vaes256 {
    /// Proof that this processor has it.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("aes");
        has.then_some(Self(()))
    }
}

impl AesNi {
    /// Proof that this processor has it.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("aes").then_some(Self(()))
    }
}

/// One safe function for one instruction, or a few, that read and write registers only.
macro_rules! instruction {
    ($(fn $name:ident($($value:ident),*) => $work:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($value: Self::Register),*) -> Self::Register {
            // SAFETY: `self` proves that the processor has the instructions.
            unsafe { $work }
        }
    )*};
}

/// [`kernel::pass`] compiled with these features.
macro_rules! pass {
    ($features:literal) => {
        #[inline]
        fn pass<P: Pass, const R: usize>(
            self,
            keys: &Keys<R>,
            segments: &mut [&mut [u8]],
            tags: &mut Tags,
        ) {
            #[target_feature(enable = $features)]
            fn compiled<P: Pass, U: Unit<B, N>, const B: usize, const N: usize, const R: usize>(
                unit: U,
                keys: &Keys<R>,
                segments: &mut [&mut [u8]],
                tags: &mut Tags,
            ) {
                kernel::pass::<P, U, B, N, R>(unit, keys, segments, tags);
            }
            // SAFETY: `self` proves that the processor has these features.
            unsafe { compiled::<P, Self, _, _, R>(self, keys, segments, tags) }
        }
    };
}

/// Loads and stores of whole registers.
macro_rules! memory {
    ($load:ident, $store:ident, $blocks:literal) => {
        #[inline(always)]
        fn load(self, bytes: &[u8]) -> Self::Register {
            assert!(bytes.len() >= $blocks * BLOCK_LEN);
            // SAFETY: so many bytes are readable; the load has no alignment; `self` proves that
            // the processor has it.
            unsafe { $load(bytes.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store(self, bytes: &mut [u8], value: Self::Register) {
            assert!(bytes.len() >= $blocks * BLOCK_LEN);
            // SAFETY: so many bytes are writable; the store has no alignment; `self` proves that
            // the processor has it.
            unsafe { $store(bytes.as_mut_ptr().cast(), value) }
        }
    };
}

impl Unit<4, 2> for Vaes512 {
    type Register = __m512i;

    memory!(_mm512_loadu_si512, _mm512_storeu_si512, 4);
    instruction! {
        fn zero() => _mm512_setzero_si512();
        fn xor(a, b) => _mm512_xor_si512(a, b);
        fn and(a, b) => _mm512_and_si512(a, b);
        fn enter(block, first) => _mm512_xor_si512(block, first);
        fn round(block, _before, key) => _mm512_aesenc_epi128(block, key);
        fn last_round(block, _before, key) => _mm512_aesenclast_epi128(block, key);
    }

    #[inline(always)]
    fn broadcast(self, block: &[u8; BLOCK_LEN]) -> __m512i {
        // SAFETY: 16 readable bytes, no alignment; `self` proves that the processor can.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(block.as_ptr().cast())) }
    }

    #[inline(always)]
    fn transpose(self, rows: [__m512i; 4]) -> [__m512i; 4] {
        const LOW: i32 = 0b01_00_01_00;
        const HIGH: i32 = 0b11_10_11_10;
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe {
            let low_01 = _mm512_shuffle_i32x4::<LOW>(rows[0], rows[1]);
            let high_01 = _mm512_shuffle_i32x4::<HIGH>(rows[0], rows[1]);
            let low_23 = _mm512_shuffle_i32x4::<LOW>(rows[2], rows[3]);
            let high_23 = _mm512_shuffle_i32x4::<HIGH>(rows[2], rows[3]);
            [
                _mm512_shuffle_i32x4::<EVEN>(low_01, low_23),
                _mm512_shuffle_i32x4::<ODD>(low_01, low_23),
                _mm512_shuffle_i32x4::<EVEN>(high_01, high_23),
                _mm512_shuffle_i32x4::<ODD>(high_01, high_23),
            ]
        }
    }

    pass!("avx512f,vaes,aes");
}

impl Unit<2, 4> for Vaes256 {
    type Register = __m256i;

    memory!(_mm256_loadu_si256, _mm256_storeu_si256, 2);
    instruction! {
        fn zero() => _mm256_setzero_si256();
        fn xor(a, b) => _mm256_xor_si256(a, b);
        fn and(a, b) => _mm256_and_si256(a, b);
        fn enter(block, first) => _mm256_xor_si256(block, first);
        fn round(block, _before, key) => _mm256_aesenc_epi128(block, key);
        fn last_round(block, _before, key) => _mm256_aesenclast_epi128(block, key);
    }

    #[inline(always)]
    fn broadcast(self, block: &[u8; BLOCK_LEN]) -> __m256i {
        // SAFETY: 16 readable bytes, no alignment; `self` proves that the processor can.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(block.as_ptr().cast())) }
    }

    #[inline(always)]
    fn transpose(self, rows: [__m256i; 2]) -> [__m256i; 2] {
        const LOW: i32 = 0x20;
        const HIGH: i32 = 0x31;
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe {
            [
                _mm256_permute2x128_si256::<LOW>(rows[0], rows[1]),
                _mm256_permute2x128_si256::<HIGH>(rows[0], rows[1]),
            ]
        }
    }

    pass!("avx2,vaes,aes");
}

impl Unit<1, 4> for AesNi {
    type Register = __m128i;

    memory!(_mm_loadu_si128, _mm_storeu_si128, 1);
    instruction! {
        fn zero() => _mm_setzero_si128();
        fn xor(a, b) => _mm_xor_si128(a, b);
        fn and(a, b) => _mm_and_si128(a, b);
        fn enter(block, first) => _mm_xor_si128(block, first);
        fn round(block, _before, key) => _mm_aesenc_si128(block, key);
        fn last_round(block, _before, key) => _mm_aesenclast_si128(block, key);
    }

    #[inline(always)]
    fn broadcast(self, block: &[u8; BLOCK_LEN]) -> __m128i {
        self.load(block)
    }

    #[inline(always)]
    fn transpose(self, rows: [__m128i; 1]) -> [__m128i; 1] {
        rows
    }

    pass!("aes");
}
