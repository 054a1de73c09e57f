//! AES-CFB and AES-CMAC in lanes on the vector AES instructions of a processor.
//!
//! ```text
//!  kernel.rs   the passes over packets, in safe code, the same for every unit
//!  keys.rs     round keys
//!  x86.rs      [`Unit`] on AES-NI, 256-bit VAES and 512-bit VAES
//!  arm.rs      [`Unit`] on the ARMv8 AES instructions
//! ```

#[cfg(target_arch = "aarch64")]
mod arm;
mod kernel;
mod keys;
#[cfg(target_arch = "x86_64")]
mod x86;

use haul_wire::TAG_LEN;
use subtle::ConstantTimeEq;

use super::{Aes, BLOCK_LEN, CfbKeys, cmac::Subkeys};
use crate::suite::{Backend, PacketCrypto, SEGMENTS_MAX, Verdict};
use kernel::{Authenticate, Open, Pass, Seal};
use keys::{CfbRoundKeys, Keys, RoundKeys};

type Tag = [u8; TAG_LEN];
/// One tag for each segment.
type Tags = [Tag; SEGMENTS_MAX];

/// Most packets side by side.
const WIDTH_MAX: usize = 8;

/// One block of each of so many packets.
type Blocks = [[u8; BLOCK_LEN]; WIDTH_MAX];

/// The AES instructions of a processor. A value is the proof that the processor has them: that is
/// why nothing here is unsafe to call.
///
/// A register holds the same cipher block of `B` packets, and `N` registers are worked on side by
/// side so that one's latency passes while the others are busy.
trait Unit<const B: usize, const N: usize>: Copy + Send + Sync + 'static {
    type Register: Copy;

    fn zero(self) -> Self::Register;
    /// Reads `B` blocks.
    ///
    /// # Panics
    /// When there are fewer bytes.
    fn load(self, bytes: &[u8]) -> Self::Register;
    /// Writes `B` blocks.
    ///
    /// # Panics
    /// When there are fewer bytes.
    fn store(self, bytes: &mut [u8], value: Self::Register);
    /// The same block `B` times.
    fn broadcast(self, block: &[u8; BLOCK_LEN]) -> Self::Register;
    fn xor(self, a: Self::Register, b: Self::Register) -> Self::Register;
    fn and(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// What comes before the first round.
    fn enter(self, block: Self::Register, first: Self::Register) -> Self::Register;
    /// One round. Instruction sets differ in whether they add the round key before or after it:
    /// `before` is the key of the round before, `key` this one's.
    fn round(
        self,
        block: Self::Register,
        before: Self::Register,
        key: Self::Register,
    ) -> Self::Register;
    /// The last round, which mixes no columns.
    fn last_round(
        self,
        block: Self::Register,
        before: Self::Register,
        key: Self::Register,
    ) -> Self::Register;
    /// From packet by packet to block by block, or back: the transpose of a `B` x `B` matrix of
    /// blocks.
    fn transpose(self, rows: [Self::Register; B]) -> [Self::Register; B];

    /// [`kernel::pass`] compiled for this unit.
    fn pass<P: Pass, const R: usize>(
        self,
        keys: &Keys<R>,
        segments: &mut [&mut [u8]],
        tags: &mut Tags,
    );
}

/// A CFB suite, or its authentication alone, on one unit, with `R` round keys.
struct Vector<U, const B: usize, const N: usize, const R: usize> {
    unit: U,
    keys: Keys<R>,
}

/// The CFB suite with these keys, `C` being AES with their length; `None` where the processor
/// lacks what the back end needs.
pub(super) fn cfb<C: Aes, const K: usize>(
    keys: &CfbKeys<K>,
    backend: Backend,
) -> Option<Box<dyn PacketCrypto>> {
    suite::<C>(Some([&*keys.enc, &*keys.iv]), &*keys.mac, backend)
}

/// Authentication alone, likewise.
pub(super) fn mac_only<C: Aes>(key: &[u8], backend: Backend) -> Option<Box<dyn PacketCrypto>> {
    suite::<C>(None, key, backend)
}

fn suite<C: Aes>(
    cfb: Option<[&[u8]; 2]>,
    mac: &[u8],
    backend: Backend,
) -> Option<Box<dyn PacketCrypto>> {
    let subkeys = Subkeys::of(&C::new_from_slice(mac).expect("the suite's key length"));
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes512 => Some(boxed(x86::Vaes512::detect()?, cfb, mac, subkeys)),
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes256 => Some(boxed(x86::Vaes256::detect()?, cfb, mac, subkeys)),
        #[cfg(target_arch = "x86_64")]
        Backend::AesNi => Some(boxed(x86::AesNi::detect()?, cfb, mac, subkeys)),
        #[cfg(target_arch = "aarch64")]
        Backend::Armv8 => Some(boxed(arm::Armv8::detect()?, cfb, mac, subkeys)),
        _ => None,
    }
}

fn boxed<U: Unit<B, N>, const B: usize, const N: usize>(
    unit: U,
    cfb: Option<[&[u8]; 2]>,
    mac: &[u8],
    subkeys: Subkeys,
) -> Box<dyn PacketCrypto> {
    // FIPS 197, section 5: 10 rounds for 16 bytes of key, 14 for 32.
    match mac.len() {
        16 => Box::new(Vector::<U, B, N, 11>::new(unit, cfb, mac, subkeys)),
        _ => Box::new(Vector::<U, B, N, 15>::new(unit, cfb, mac, subkeys)),
    }
}

impl<U: Unit<B, N>, const B: usize, const N: usize, const R: usize> Vector<U, B, N, R> {
    fn new(unit: U, cfb: Option<[&[u8]; 2]>, mac: &[u8], subkeys: Subkeys) -> Self {
        let expand = |key: &[u8]| RoundKeys::expand(unit, key);
        let cfb = cfb.map(|[enc, iv]| CfbRoundKeys {
            enc: expand(enc),
            iv: expand(iv),
        });
        let mac = expand(mac);
        Self {
            unit,
            keys: Keys { cfb, mac, subkeys },
        }
    }

    fn pass<P: Pass>(&self, segments: &mut [&mut [u8]]) -> Tags {
        let mut tags = [[0; TAG_LEN]; SEGMENTS_MAX];
        if self.keys.cfb.is_some() {
            self.unit.pass::<P, R>(&self.keys, segments, &mut tags);
        } else {
            self.unit
                .pass::<Authenticate, R>(&self.keys, segments, &mut tags);
        }
        tags
    }
}

impl<U: Unit<B, N>, const B: usize, const N: usize, const R: usize> PacketCrypto
    for Vector<U, B, N, R>
{
    fn seal(&self, segments: &mut [&mut [u8]]) {
        let tags = self.pass::<Seal>(segments);
        for (segment, tag) in segments.iter_mut().zip(&tags) {
            let end = segment.len() - TAG_LEN;
            segment[end..].copy_from_slice(tag);
        }
    }

    fn open(&self, segments: &mut [&mut [u8]]) -> Verdict {
        let tags = self.pass::<Open>(segments);
        let mut verdict = Verdict::default();
        for (index, (segment, tag)) in segments.iter().zip(&tags).enumerate() {
            verdict.note(index, segment[segment.len() - TAG_LEN..].ct_eq(tag));
        }
        verdict
    }
}
