use aes::{
    Block,
    cipher::{
        Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockSizeUser,
        typenum::{U16, Unsigned},
    },
};
use haul_wire::{HEADER_LEN, TAG_LEN};
use subtle::ConstantTimeEq;

use super::{Aes, BLOCK_LEN, CfbKeys, cmac::Subkeys, xor_in};
use crate::suite::{PacketCrypto, SEGMENTS_MAX, Verdict};

/// Most lanes side by side.
const WIDTH_MAX: usize = SEGMENTS_MAX;

type Lanes = [Block; WIDTH_MAX];
const NO_LANES: Lanes = [Array([0; BLOCK_LEN]); WIDTH_MAX];

/// Lanes over the `aes` crate: whatever that uses on this machine, from tables-free software to
/// 512-bit VAES. The reference for other back ends.
///
/// The crate encrypts [`Width`] blocks at once and falls back to one after the other for fewer.
/// Lanes are therefore filled up to that width with blocks whose result nobody reads.
pub(super) struct Portable<C> {
    /// Encryption and IV keys; `None` authenticates only.
    cfb: Option<Cfb<C>>,
    mac: C,
    subkeys: Subkeys,
    width: usize,
}

struct Cfb<C> {
    enc: C,
    iv: C,
}

impl<C: Aes> Portable<C> {
    /// `K` is the key length of `C`.
    pub(super) fn cfb<const K: usize>(keys: &CfbKeys<K>) -> Self {
        let cfb = Cfb {
            enc: keyed::<C>(&*keys.enc),
            iv: keyed::<C>(&*keys.iv),
        };
        Self::new(Some(cfb), keyed(&*keys.mac))
    }

    /// `key` has the key length of `C`.
    pub(super) fn mac_only(key: &[u8]) -> Self {
        Self::new(None, keyed(key))
    }

    fn new(cfb: Option<Cfb<C>>, mac: C) -> Self {
        let mut width = 1;
        mac.encrypt_with_backend(Width(&mut width));
        Self {
            cfb,
            subkeys: Subkeys::of(&mac),
            width: width.min(WIDTH_MAX),
            mac,
        }
    }

    #[cfg(test)]
    pub(super) fn with_width(self, width: usize) -> Self {
        Self { width, ..self }
    }

    /// How many lanes to encrypt when `used` are wanted.
    fn filled(&self, used: usize) -> usize {
        // Far below the width, one after the other costs less than a full width.
        if used > self.width / 8 {
            used.max(self.width)
        } else {
            used
        }
    }

    fn encrypt(&self, cfb: &Cfb<C>, segments: &mut [&mut [u8]]) {
        let mut feedback = headers(segments);
        cfb.iv
            .encrypt_blocks(&mut feedback[..self.filled(segments.len())]);
        for at in (HEADER_LEN..).step_by(BLOCK_LEN) {
            let running = longer_than(segments, at);
            if running == 0 {
                break;
            }
            cfb.enc
                .encrypt_blocks(&mut feedback[..self.filled(running)]);
            for (lane, segment) in feedback.iter_mut().zip(&mut segments[..running]) {
                let end = sealed_len(segment).min(at + BLOCK_LEN);
                let block = &mut segment[at..end];
                xor_in(block, lane);
                lane[..block.len()].copy_from_slice(block);
            }
        }
    }

    fn tags(&self, segments: &[&mut [u8]]) -> Lanes {
        let mut tags = NO_LANES;
        let mut input = headers(segments);
        let mut live = segments.len();
        for at in (HEADER_LEN..).step_by(BLOCK_LEN) {
            let running = longer_than(segments, at);
            for (lane, segment) in input[running..live].iter_mut().zip(&segments[running..]) {
                xor_in(lane, &self.subkeys.ending(sealed_len(segment)));
            }
            self.mac.encrypt_blocks(&mut input[..self.filled(live)]);
            tags[running..live].copy_from_slice(&input[running..live]);
            for (lane, segment) in input.iter_mut().zip(&segments[..running]) {
                xor_in(lane, &segment[at..sealed_len(segment).min(at + BLOCK_LEN)]);
            }
            live = running;
            if live == 0 {
                break;
            }
        }
        tags
    }

    /// The key stream of a block is the encryption of the ciphertext block before it, so all of
    /// one packet's can be had at once.
    fn decrypt(&self, cfb: &Cfb<C>, segment: &mut [u8]) {
        let (header, rest) = segment.split_at_mut(HEADER_LEN);
        let body = rest.len() - TAG_LEN;
        let mut before = headers(&[header])[0];
        cfb.iv.encrypt_block(&mut before);
        let mut stream = NO_LANES;
        for part in rest[..body].chunks_mut(self.width * BLOCK_LEN) {
            let blocks = part.len().div_ceil(BLOCK_LEN);
            stream[0] = before;
            for (lane, block) in stream[1..blocks].iter_mut().zip(part.chunks(BLOCK_LEN)) {
                lane.copy_from_slice(block);
            }
            if let Some(last) = part.last_chunk::<BLOCK_LEN>() {
                before = (*last).into();
            }
            cfb.enc.encrypt_blocks(&mut stream[..self.filled(blocks)]);
            for (lane, block) in stream.iter().zip(part.chunks_mut(BLOCK_LEN)) {
                xor_in(block, lane);
            }
        }
    }
}

impl<C: Aes> PacketCrypto for Portable<C> {
    fn seal(&self, segments: &mut [&mut [u8]]) {
        for group in segments.chunks_mut(self.width) {
            if let Some(cfb) = &self.cfb {
                self.encrypt(cfb, group);
            }
            for (tag, segment) in self.tags(group).iter().zip(group) {
                let at = sealed_len(segment);
                segment[at..].copy_from_slice(tag);
            }
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let mut verdict = Verdict::default();
        for (nth, group) in segments.chunks_mut(self.width).enumerate() {
            let first = nth * self.width;
            for (lane, (tag, segment)) in self.tags(group).iter().zip(&*group).enumerate() {
                verdict.note(first + lane, segment[sealed_len(segment)..].ct_eq(tag));
            }
            let Some(cfb) = &self.cfb else { continue };
            for (lane, segment) in group.iter_mut().enumerate() {
                if verdict.is_authentic(first + lane) {
                    self.decrypt(cfb, segment);
                }
            }
        }
        verdict
    }
}

fn keyed<C: Aes>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("the suite's key length")
}

/// The headers in lanes: plaintext of the IVs, first block of the MACs.
fn headers<S: AsRef<[u8]>>(segments: &[S]) -> Lanes {
    let mut lanes = NO_LANES;
    for (lane, segment) in lanes.iter_mut().zip(segments) {
        lane.copy_from_slice(&segment.as_ref()[..HEADER_LEN]);
    }
    lanes
}

/// Length of what the tag covers.
fn sealed_len(segment: &[u8]) -> usize {
    segment.len() - TAG_LEN
}

/// How many segments have body bytes from `at` on: the first so many, as lengths fall.
fn longer_than(segments: &[&mut [u8]], at: usize) -> usize {
    segments.partition_point(|segment| sealed_len(segment) > at)
}

/// Asks a cipher how many blocks it encrypts at once.
struct Width<'a>(&'a mut usize);

impl BlockSizeUser for Width<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Width<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, _: &B) {
        *self.0 = B::ParBlocksSize::USIZE;
    }
}
