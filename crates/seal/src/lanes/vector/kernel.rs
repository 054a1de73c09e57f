//! One pass over the data: encryption and authentication are interleaved, so that the MAC takes in a
//! block while the next block's key stream is made. Sealing and opening differ only in which of the
//! two texts is the ciphertext.
//!
//! Everything here is inlined into the one function that a [`Unit`] compiles for its processor:
//! code that is not, closures among it, would be compiled for the least of processors and call a
//! function for every instruction.
#![allow(
    clippy::inline_always,
    reason = "inlining decides for which processor this is compiled"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "one index walks several registers"
)]

use haul_wire::{HEADER_LEN, TAG_LEN};

use super::{BLOCK_LEN, Blocks, Subkeys, Tags, Unit, WIDTH_MAX, keys::Keys};

/// What a pass does.
pub(super) trait Pass {
    /// Whether there is a key stream.
    const CIPHERS: bool;
    /// Whether what is read is the plaintext.
    const SEALS: bool;
}

/// Encrypts, and authenticates what comes out.
pub(super) struct Seal;
/// Authenticates, and decrypts.
pub(super) struct Open;
/// Authenticates.
pub(super) struct Authenticate;

impl Pass for Seal {
    const CIPHERS: bool = true;
    const SEALS: bool = true;
}
impl Pass for Open {
    const CIPHERS: bool = true;
    const SEALS: bool = false;
}
impl Pass for Authenticate {
    const CIPHERS: bool = false;
    const SEALS: bool = false;
}

/// The schedules while they are in use.
struct Schedules<V, const R: usize> {
    enc: [V; R],
    iv: [V; R],
    mac: [V; R],
}

/// Encrypts or decrypts all bodies and writes the tag that each packet should have.
///
/// Packets are `header | body | tag`, their lengths fall, and there are at most as many as tags.
#[inline(always)]
pub(super) fn pass<P: Pass, U: Unit<B, N>, const B: usize, const N: usize, const R: usize>(
    unit: U,
    keys: &Keys<R>,
    segments: &mut [&mut [u8]],
    tags: &mut Tags,
) {
    debug_assert!(segments.len() <= tags.len() && B * N <= WIDTH_MAX);
    let mut schedules = Schedules {
        enc: [unit.zero(); R],
        iv: [unit.zero(); R],
        mac: keys.mac.broadcast(unit),
    };
    if let Some(cfb) = &keys.cfb {
        schedules.enc = cfb.enc.broadcast(unit);
        schedules.iv = cfb.iv.broadcast(unit);
    }
    let lane = Lane { unit, schedules };
    for (group, tags) in segments.chunks_mut(B * N).zip(tags.chunks_mut(B * N)) {
        let found = lane.pass_group::<P>(&keys.subkeys, group);
        for (tag, found) in tags.iter_mut().zip(&found) {
            *tag = *found;
        }
    }
}

/// A unit with its keys.
struct Lane<U: Unit<B, N>, const B: usize, const N: usize, const R: usize> {
    unit: U,
    schedules: Schedules<U::Register, R>,
}

/// Where the chains of `B * N` packets stand.
struct Chain<V, const N: usize> {
    /// The ciphertext block before, at first the IV: what makes the next key stream.
    feedback: [V; N],
    /// What the MAC encrypts next.
    mac: [V; N],
}

impl<U: Unit<B, N>, const B: usize, const N: usize, const R: usize> Lane<U, B, N, R> {
    /// Bytes of a register, and of one packet's share of a step.
    const CHUNK_LEN: usize = B * BLOCK_LEN;

    /// One to `B * N` packets; lanes without one compute on zeros.
    #[inline(always)]
    fn pass_group<P: Pass>(&self, subkeys: &Subkeys, group: &mut [&mut [u8]]) -> Blocks {
        let unit = self.unit;
        let mut headers: Blocks = Default::default();
        let mut endings: Blocks = Default::default();
        for ((header, ending), segment) in headers.iter_mut().zip(&mut endings).zip(&*group) {
            header.copy_from_slice(&segment[..HEADER_LEN]);
            *ending = subkeys.ending(segment.len() - TAG_LEN);
        }
        let headers = self.load(&headers);
        let mut chain = Chain {
            feedback: headers,
            mac: headers,
        };
        if P::CIPHERS {
            chain.feedback = self.encrypt(&self.schedules.iv, headers);
        }

        // Lengths fall, so the last packet has the fewest chunks that all of them have.
        let shared = body_len(group.last()) / Self::CHUNK_LEN * Self::CHUNK_LEN;
        let longest = body_len(group.first());
        let mut bodies: [&mut [u8]; WIDTH_MAX] = Default::default();
        for (body, segment) in bodies.iter_mut().zip(&mut *group) {
            *body = &mut segment[HEADER_LEN..][..shared];
        }
        for at in (0..shared).step_by(Self::CHUNK_LEN) {
            self.step::<P>(&mut chain, &mut bodies, at);
        }
        for at in (shared..longest).step_by(Self::CHUNK_LEN) {
            self.step_partly::<P>(&mut chain, group, at);
        }

        let endings = self.load(&endings);
        for nth in 0..N {
            chain.mac[nth] = unit.xor(chain.mac[nth], endings[nth]);
        }
        let last = self.encrypt(&self.schedules.mac, chain.mac);
        let mut tags: Blocks = Default::default();
        for (nth, tags) in tags.chunks_mut(B).take(N).enumerate() {
            unit.store(tags.as_flattened_mut(), last[nth]);
        }
        tags
    }

    /// `B` blocks of every packet.
    #[inline(always)]
    fn step<P: Pass>(
        &self,
        chain: &mut Chain<U::Register, N>,
        bodies: &mut [&mut [u8]; WIDTH_MAX],
        at: usize,
    ) {
        let unit = self.unit;
        let mut blocks = [[unit.zero(); B]; N];
        for (lane, body) in bodies.iter().enumerate().take(B * N) {
            if let Some(chunk) = body.get(at..at + Self::CHUNK_LEN) {
                blocks[lane / B][lane % B] = unit.load(chunk);
            }
        }
        self.transpose(&mut blocks);
        for column in 0..B {
            let (stream, mac) = self.encrypt_both::<P>(chain);
            for nth in 0..N {
                let text = blocks[nth][column];
                let other = self.other_text::<P>(stream[nth], text);
                let sealed = if P::SEALS { other } else { text };
                blocks[nth][column] = other;
                chain.feedback[nth] = sealed;
                chain.mac[nth] = unit.xor(mac[nth], sealed);
            }
        }
        if !P::CIPHERS {
            return;
        }
        self.transpose(&mut blocks);
        for (lane, body) in bodies.iter_mut().enumerate().take(B * N) {
            if let Some(chunk) = body.get_mut(at..at + Self::CHUNK_LEN) {
                unit.store(chunk, blocks[lane / B][lane % B]);
            }
        }
    }

    /// Up to `B` blocks of those packets that have them, the last of each perhaps in part.
    #[inline(always)]
    fn step_partly<P: Pass>(
        &self,
        chain: &mut Chain<U::Register, N>,
        group: &mut [&mut [u8]],
        at: usize,
    ) {
        let unit = self.unit;
        let mut left = [0; WIDTH_MAX];
        let mut blocks = [[unit.zero(); B]; N];
        for (lane, segment) in group.iter().enumerate() {
            let body = &segment[HEADER_LEN..segment.len() - TAG_LEN];
            let rest = &body[at.min(body.len())..body.len().min(at + Self::CHUNK_LEN)];
            let mut chunk = [[0; BLOCK_LEN]; B];
            chunk.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
            left[lane] = rest.len();
            blocks[lane / B][lane % B] = unit.load(chunk.as_flattened());
        }
        self.transpose(&mut blocks);
        for column in 0..left[0].div_ceil(BLOCK_LEN) {
            let (bytes, whole) = present(&left, column);
            let (bytes, whole) = (self.load(&bytes), self.load(&whole));
            let (stream, mac) = self.encrypt_both::<P>(chain);
            for nth in 0..N {
                let text = blocks[nth][column];
                let other = self.other_text::<P>(stream[nth], text);
                // Beyond the end is padding: zeros here, the one bit is in the ending.
                let sealed = unit.and(if P::SEALS { other } else { text }, bytes[nth]);
                blocks[nth][column] = other;
                chain.feedback[nth] = sealed;
                // A packet that has ended keeps its last input.
                let (kept, next) = (chain.mac[nth], unit.xor(mac[nth], sealed));
                let change = unit.and(unit.xor(kept, next), whole[nth]);
                chain.mac[nth] = unit.xor(kept, change);
            }
        }
        self.transpose(&mut blocks);
        for (lane, segment) in group.iter_mut().enumerate() {
            let mut chunk = [[0; BLOCK_LEN]; B];
            unit.store(chunk.as_flattened_mut(), blocks[lane / B][lane % B]);
            let from = HEADER_LEN + at;
            if left[lane] > 0 {
                let chunk = &chunk.as_flattened()[..left[lane]];
                segment[from..from + left[lane]].copy_from_slice(chunk);
            }
        }
    }

    #[inline(always)]
    fn transpose(&self, blocks: &mut [[U::Register; B]; N]) {
        for rows in blocks {
            *rows = self.unit.transpose(*rows);
        }
    }

    #[inline(always)]
    fn other_text<P: Pass>(&self, stream: U::Register, text: U::Register) -> U::Register {
        if P::CIPHERS {
            self.unit.xor(stream, text)
        } else {
            text
        }
    }

    #[inline(always)]
    fn load(&self, blocks: &Blocks) -> [U::Register; N] {
        let mut registers = [self.unit.zero(); N];
        for (register, blocks) in registers.iter_mut().zip(blocks.chunks(B)) {
            *register = self.unit.load(blocks.as_flattened());
        }
        registers
    }

    #[inline(always)]
    fn encrypt(&self, keys: &[U::Register; R], mut blocks: [U::Register; N]) -> [U::Register; N] {
        let unit = self.unit;
        for block in &mut blocks {
            *block = unit.enter(*block, keys[0]);
            for round in 1..R - 1 {
                *block = unit.round(*block, keys[round - 1], keys[round]);
            }
            *block = unit.last_round(*block, keys[R - 2], keys[R - 1]);
        }
        blocks
    }

    /// The next key stream and the MAC's next step, round by round side by side: `2 * N`
    /// independent chains.
    #[inline(always)]
    fn encrypt_both<P: Pass>(
        &self,
        chain: &Chain<U::Register, N>,
    ) -> ([U::Register; N], [U::Register; N]) {
        let unit = self.unit;
        let (enc, mac) = (&self.schedules.enc, &self.schedules.mac);
        let (mut a, mut b) = (chain.feedback, chain.mac);
        for nth in 0..N {
            if P::CIPHERS {
                a[nth] = unit.enter(a[nth], enc[0]);
            }
            b[nth] = unit.enter(b[nth], mac[0]);
        }
        for round in 1..R - 1 {
            for nth in 0..N {
                if P::CIPHERS {
                    a[nth] = unit.round(a[nth], enc[round - 1], enc[round]);
                }
                b[nth] = unit.round(b[nth], mac[round - 1], mac[round]);
            }
        }
        for nth in 0..N {
            if P::CIPHERS {
                a[nth] = unit.last_round(a[nth], enc[R - 2], enc[R - 1]);
            }
            b[nth] = unit.last_round(b[nth], mac[R - 2], mac[R - 1]);
        }
        (a, b)
    }
}

#[inline(always)]
fn body_len(segment: Option<&&mut [u8]>) -> usize {
    segment.map_or(0, |segment| segment.len() - HEADER_LEN - TAG_LEN)
}

/// Which bytes of a block of each packet belong to the packet, and which blocks do at least in
/// part, as masks. `left` is what the packets have from the chunk's start on, `column` the block
/// within it.
#[inline(always)]
fn present(left: &[usize; WIDTH_MAX], column: usize) -> (Blocks, Blocks) {
    let (mut bytes, mut whole) = (Blocks::default(), Blocks::default());
    for ((bytes, whole), left) in bytes.iter_mut().zip(&mut whole).zip(left) {
        let left = left.saturating_sub(column * BLOCK_LEN).min(BLOCK_LEN);
        bytes[..left].fill(0xff);
        if left > 0 {
            *whole = [0xff; BLOCK_LEN];
        }
    }
    (bytes, whole)
}
