//! Eight packets at a time on 512-bit VAES: one register holds the same block of four packets,
//! two registers hide the latency of each other.
//!
//! Encryption and authentication run in one pass, interleaved: the MAC takes in a block while the
//! next block's key stream is made. Sealing and opening differ only in which of the two texts is
//! the ciphertext.
#![allow(unsafe_code, reason = "loads, stores and the entry into vector code")]
#![allow(
    clippy::needless_range_loop,
    reason = "one index walks several registers"
)]

use std::arch::x86_64::*;

use haul_wire::{HEADER_LEN, TAG_LEN};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Aes, BLOCK_LEN, CfbKeys, cmac::Subkeys};
use crate::suite::{PacketCrypto, SEGMENTS_MAX, Verdict};

/// Bytes of a register, and of one packet's share of a step: four blocks.
const CHUNK_LEN: usize = 64;
/// Packets in one register.
const QUAD: usize = 4;
/// Packets side by side.
const WIDTH: usize = 2 * QUAD;

/// One block of each of eight packets.
type Eight = [__m512i; 2];
/// Round keys, each four times.
type Schedule<const R: usize> = [__m512i; R];
type Tag = [u8; TAG_LEN];

/// A CFB suite with `R` round keys. A value exists only where the processor has what it needs.
struct Vaes512<const R: usize> {
    enc: RoundKeys<R>,
    mac: RoundKeys<R>,
    iv: RoundKeys<R>,
    subkeys: Subkeys,
}

/// The round keys of one AES key.
#[derive(ZeroizeOnDrop)]
struct RoundKeys<const R: usize>([[u8; BLOCK_LEN]; R]);

/// The three schedules while they are in use.
struct Schedules<const R: usize> {
    enc: Schedule<R>,
    mac: Schedule<R>,
    iv: Schedule<R>,
}

/// Whether this processor can run the vector code.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("aes")
}

/// The suite with these keys, `C` being AES with their length; `None` where the processor lacks
/// something.
pub(super) fn cfb<C: Aes, const K: usize>(keys: &CfbKeys<K>) -> Option<Box<dyn PacketCrypto>> {
    if !is_available() {
        return None;
    }
    let cipher = C::new_from_slice(&*keys.mac).expect("the suite's key length");
    let subkeys = Subkeys::of(&cipher);
    // FIPS 197, section 5: 10 rounds for 16 bytes of key, 14 for 32.
    match K {
        16 => Some(Box::new(Vaes512::<11>::new(keys, subkeys))),
        32 => Some(Box::new(Vaes512::<15>::new(keys, subkeys))),
        _ => None,
    }
}

impl<const R: usize> Vaes512<R> {
    /// Only after [`is_available`].
    fn new<const K: usize>(keys: &CfbKeys<K>, subkeys: Subkeys) -> Self {
        // SAFETY: the only caller has checked that the processor has these features.
        let round_keys = |key: &[u8; K]| unsafe { RoundKeys::expand(key) };
        Self {
            enc: round_keys(&keys.enc),
            mac: round_keys(&keys.mac),
            iv: round_keys(&keys.iv),
            subkeys,
        }
    }

    /// Encrypts or decrypts all bodies and hands the tag of each packet to `each`.
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    fn pass<const SEAL: bool>(
        &self,
        segments: &mut [&mut [u8]],
        mut each: impl FnMut(usize, &mut [u8], &Tag),
    ) {
        debug_assert!(segments.len() <= SEGMENTS_MAX);
        let schedules = Schedules {
            enc: self.enc.broadcast(),
            mac: self.mac.broadcast(),
            iv: self.iv.broadcast(),
        };
        for (nth, group) in segments.chunks_mut(WIDTH).enumerate() {
            let tags = pass_group::<SEAL, R>(&schedules, &self.subkeys, group);
            let tags = tags.as_flattened().as_chunks::<TAG_LEN>().0;
            for (lane, (segment, tag)) in group.iter_mut().zip(tags).enumerate() {
                let end = segment.len() - TAG_LEN;
                each(nth * WIDTH + lane, &mut segment[end..], tag);
            }
        }
    }
}

impl<const R: usize> PacketCrypto for Vaes512<R> {
    fn seal(&self, segments: &mut [&mut [u8]]) {
        // SAFETY: `self` exists, so the processor has the features.
        unsafe { self.pass::<true>(segments, |_, place, tag| place.copy_from_slice(tag)) }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        let compare = |index, found: &mut [u8], tag: &Tag| verdict.note(index, (*found).ct_eq(tag));
        // SAFETY: `self` exists, so the processor has the features.
        unsafe { self.pass::<false>(segments, compare) }
        verdict
    }
}

impl<const R: usize> RoundKeys<R> {
    /// Key expansion of FIPS 197, section 5.2, on words in memory order.
    #[target_feature(enable = "aes")]
    fn expand<const K: usize>(key: &[u8; K]) -> Self {
        let mut words = Zeroizing::new([0_u32; 60]);
        let used = K / 4;
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut round_constant = 1_u32;
        for at in used..4 * R {
            let mut word = words[at - 1];
            if at % used == 0 {
                word = substitute(word).rotate_right(8) ^ round_constant;
                // Doubling in GF(2^8).
                round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11b);
            } else if used > 6 && at % used == 4 {
                word = substitute(word);
            }
            words[at] = words[at - used] ^ word;
        }
        let mut keys = Self([[0; BLOCK_LEN]; R]);
        for (bytes, word) in keys.0.as_flattened_mut().chunks_mut(4).zip(&*words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        keys
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn broadcast(&self) -> Schedule<R> {
        let mut schedule = [_mm512_setzero_si512(); R];
        for (wide, key) in schedule.iter_mut().zip(&self.0) {
            // SAFETY: `key` is 16 readable bytes; the load has no alignment.
            *wide = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(key.as_ptr().cast()) });
        }
        schedule
    }
}

/// The S-box on each byte, without a table.
#[inline]
#[target_feature(enable = "aes")]
fn substitute(word: u32) -> u32 {
    let all = _mm_set1_epi32(word.cast_signed());
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(all)).cast_unsigned()
}

/// One to eight packets; lanes without one compute on zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn pass_group<const SEAL: bool, const R: usize>(
    keys: &Schedules<R>,
    subkeys: &Subkeys,
    group: &mut [&mut [u8]],
) -> [[u8; CHUNK_LEN]; 2] {
    let mut header = [[0; CHUNK_LEN]; 2];
    let mut ending = [[0; CHUNK_LEN]; 2];
    let lanes = header.as_flattened_mut().chunks_mut(BLOCK_LEN);
    let endings = ending.as_flattened_mut().chunks_mut(BLOCK_LEN);
    for ((header, ending), segment) in lanes.zip(endings).zip(&*group) {
        header.copy_from_slice(&segment[..HEADER_LEN]);
        ending.copy_from_slice(&subkeys.ending(segment.len() - TAG_LEN));
    }
    let header = [load(&header[0]), load(&header[1])];
    let mut chain = Chain {
        feedback: encrypt(&keys.iv, header),
        mac: header,
    };

    // Lengths fall, so the last packet has the fewest chunks that all of them have.
    let shared = body_len(group.last()) / CHUNK_LEN;
    let longest = body_len(group.first());
    let mut bodies: [&mut [[u8; CHUNK_LEN]]; WIDTH] = Default::default();
    for (body, segment) in bodies.iter_mut().zip(&mut *group) {
        let shared = &mut segment[HEADER_LEN..][..shared * CHUNK_LEN];
        *body = shared.as_chunks_mut().0;
    }
    for index in 0..shared {
        chain.step::<SEAL, R>(keys, &mut bodies, index);
    }
    for at in (shared * CHUNK_LEN..longest).step_by(CHUNK_LEN) {
        chain.step_partly::<SEAL, R>(keys, group, at);
    }

    for quad in 0..2 {
        chain.mac[quad] = _mm512_xor_si512(chain.mac[quad], load(&ending[quad]));
    }
    let last = encrypt(&keys.mac, chain.mac);
    let mut tags = [[0; CHUNK_LEN]; 2];
    for quad in 0..2 {
        store(&mut tags[quad], last[quad]);
    }
    tags
}

fn body_len(segment: Option<&&mut [u8]>) -> usize {
    segment.map_or(0, |segment| segment.len() - HEADER_LEN - TAG_LEN)
}

/// Where the chains of eight packets stand.
struct Chain {
    /// The ciphertext block before, at first the IV: what makes the next key stream.
    feedback: Eight,
    /// What the MAC encrypts next.
    mac: Eight,
}

impl Chain {
    /// Four blocks of every packet.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    fn step<const SEAL: bool, const R: usize>(
        &mut self,
        keys: &Schedules<R>,
        bodies: &mut [&mut [[u8; CHUNK_LEN]]; WIDTH],
        index: usize,
    ) {
        let mut blocks = [[_mm512_setzero_si512(); 4]; 2];
        for (lane, body) in bodies.iter().enumerate() {
            if let Some(chunk) = body.get(index) {
                blocks[lane / QUAD][lane % QUAD] = load(chunk);
            }
        }
        blocks = [transpose(blocks[0]), transpose(blocks[1])];
        for at in 0..4 {
            let (stream, mac) = encrypt_both(&keys.enc, self.feedback, &keys.mac, self.mac);
            for quad in 0..2 {
                let text = blocks[quad][at];
                let other = _mm512_xor_si512(stream[quad], text);
                let sealed = if SEAL { other } else { text };
                blocks[quad][at] = other;
                self.feedback[quad] = sealed;
                self.mac[quad] = _mm512_xor_si512(mac[quad], sealed);
            }
        }
        blocks = [transpose(blocks[0]), transpose(blocks[1])];
        for (lane, body) in bodies.iter_mut().enumerate() {
            if let Some(chunk) = body.get_mut(index) {
                store(chunk, blocks[lane / QUAD][lane % QUAD]);
            }
        }
    }

    /// Up to four blocks of those packets that have them, the last of each perhaps in part.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    fn step_partly<const SEAL: bool, const R: usize>(
        &mut self,
        keys: &Schedules<R>,
        group: &mut [&mut [u8]],
        at: usize,
    ) {
        let mut left = [0; WIDTH];
        let mut blocks = [[_mm512_setzero_si512(); 4]; 2];
        for (lane, segment) in group.iter().enumerate() {
            let body = &segment[HEADER_LEN..segment.len() - TAG_LEN];
            let rest = &body[at.min(body.len())..body.len().min(at + CHUNK_LEN)];
            let mut chunk = [0; CHUNK_LEN];
            chunk[..rest.len()].copy_from_slice(rest);
            left[lane] = rest.len();
            blocks[lane / QUAD][lane % QUAD] = load(&chunk);
        }
        blocks = [transpose(blocks[0]), transpose(blocks[1])];
        for column in 0..left[0].div_ceil(BLOCK_LEN) {
            let (stream, mac) = encrypt_both(&keys.enc, self.feedback, &keys.mac, self.mac);
            for quad in 0..2 {
                let present = Present::of(&left[quad * QUAD..][..QUAD], column);
                let text = blocks[quad][column];
                let other = _mm512_xor_si512(stream[quad], text);
                let sealed = if SEAL { other } else { text };
                // Beyond the end is padding: zeros here, the one bit is in the ending.
                let sealed = _mm512_maskz_mov_epi8(present.bytes, sealed);
                blocks[quad][column] = other;
                self.feedback[quad] = sealed;
                // A packet that has ended keeps its last input.
                self.mac[quad] =
                    _mm512_mask_xor_epi64(self.mac[quad], present.halves, mac[quad], sealed);
            }
        }
        blocks = [transpose(blocks[0]), transpose(blocks[1])];
        for (lane, segment) in group.iter_mut().enumerate() {
            let mut chunk = [0; CHUNK_LEN];
            store(&mut chunk, blocks[lane / QUAD][lane % QUAD]);
            let from = HEADER_LEN + at;
            if left[lane] > 0 {
                segment[from..from + left[lane]].copy_from_slice(&chunk[..left[lane]]);
            }
        }
    }
}

/// Which parts of a register of four packets' blocks belong to the packets.
struct Present {
    /// One bit for each byte.
    bytes: __mmask64,
    /// One bit for each half of a block; both or none.
    halves: __mmask8,
}

impl Present {
    /// `left` is what the packets have from the chunk's start on, `column` the block within it.
    fn of(left: &[usize], column: usize) -> Self {
        let mut present = Self {
            bytes: 0,
            halves: 0,
        };
        for (lane, left) in left.iter().enumerate() {
            let bytes = left.saturating_sub(column * BLOCK_LEN).min(BLOCK_LEN);
            present.bytes |= ((1 << bytes) - 1) << (lane * BLOCK_LEN);
            if bytes > 0 {
                present.halves |= 0b11 << (2 * lane);
            }
        }
        present
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt<const R: usize>(keys: &Schedule<R>, mut blocks: Eight) -> Eight {
    for block in &mut blocks {
        *block = _mm512_xor_si512(*block, keys[0]);
        for key in &keys[1..R - 1] {
            *block = _mm512_aesenc_epi128(*block, *key);
        }
        *block = _mm512_aesenclast_epi128(*block, keys[R - 1]);
    }
    blocks
}

/// Two encryptions round by round side by side: four independent chains.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt_both<const R: usize>(
    a_keys: &Schedule<R>,
    mut a: Eight,
    b_keys: &Schedule<R>,
    mut b: Eight,
) -> (Eight, Eight) {
    for quad in 0..2 {
        a[quad] = _mm512_xor_si512(a[quad], a_keys[0]);
        b[quad] = _mm512_xor_si512(b[quad], b_keys[0]);
    }
    for round in 1..R - 1 {
        for quad in 0..2 {
            a[quad] = _mm512_aesenc_epi128(a[quad], a_keys[round]);
            b[quad] = _mm512_aesenc_epi128(b[quad], b_keys[round]);
        }
    }
    for quad in 0..2 {
        a[quad] = _mm512_aesenclast_epi128(a[quad], a_keys[R - 1]);
        b[quad] = _mm512_aesenclast_epi128(b[quad], b_keys[R - 1]);
    }
    (a, b)
}

/// Four blocks of each of four packets, from packet by packet to block by block or back: the
/// transpose of a 4 x 4 matrix of blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; 4]) -> [__m512i; 4] {
    const LOW: i32 = 0b01_00_01_00;
    const HIGH: i32 = 0b11_10_11_10;
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
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

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; CHUNK_LEN]) -> __m512i {
    // SAFETY: 64 readable bytes; the load has no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8; CHUNK_LEN], value: __m512i) {
    // SAFETY: 64 writable bytes; the store has no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}
