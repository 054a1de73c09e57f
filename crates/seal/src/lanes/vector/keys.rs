//! Round keys of AES.

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{BLOCK_LEN, Subkeys, Unit};

/// Words of the longest key schedule: 15 round keys.
const WORDS_MAX: usize = 60;

/// The keys of a suite.
pub(super) struct Keys<const R: usize> {
    /// `None` authenticates only.
    pub(super) cfb: Option<CfbRoundKeys<R>>,
    pub(super) mac: RoundKeys<R>,
    pub(super) subkeys: Subkeys,
}

/// What encrypts bodies, and what makes their IVs.
pub(super) struct CfbRoundKeys<const R: usize> {
    pub(super) enc: RoundKeys<R>,
    pub(super) iv: RoundKeys<R>,
}

/// The round keys of one AES key.
#[derive(ZeroizeOnDrop)]
pub(super) struct RoundKeys<const R: usize>([[u8; BLOCK_LEN]; R]);

impl<const R: usize> RoundKeys<R> {
    /// Key expansion of FIPS 197, section 5.2, on words in memory order.
    pub(super) fn expand<U: Unit<B, N>, const B: usize, const N: usize>(
        unit: U,
        key: &[u8],
    ) -> Self {
        let mut words = Zeroizing::new([0_u32; WORDS_MAX]);
        let used = key.len() / 4;
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut round_constant = 1_u32;
        for at in used..4 * R {
            let mut word = words[at - 1];
            if at % used == 0 {
                word = substitute(unit, word).rotate_right(8) ^ round_constant;
                // Doubling in GF(2^8).
                round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11b);
            } else if used > 6 && at % used == 4 {
                word = substitute(unit, word);
            }
            words[at] = words[at - used] ^ word;
        }
        let mut keys = Self([[0; BLOCK_LEN]; R]);
        for (bytes, word) in keys.0.as_flattened_mut().chunks_mut(4).zip(&*words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        keys
    }

    /// Each round key as often as a register has room for.
    #[inline(always)]
    pub(super) fn broadcast<U: Unit<B, N>, const B: usize, const N: usize>(
        &self,
        unit: U,
    ) -> [U::Register; R] {
        let mut schedule = [unit.zero(); R];
        for (wide, key) in schedule.iter_mut().zip(&self.0) {
            *wide = unit.broadcast(key);
        }
        schedule
    }
}

/// The S-box on each byte, without a table: the last round with keys of zero, on a block whose
/// columns are alike, so that shifting its rows changes nothing.
fn substitute<U: Unit<B, N>, const B: usize, const N: usize>(unit: U, word: u32) -> u32 {
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    for column in block.as_chunks_mut::<4>().0 {
        *column = word.to_le_bytes();
    }
    let (zero, alike) = (unit.zero(), unit.broadcast(&block));
    let mut out = Zeroizing::new([0; BLOCK_LEN * 4]);
    unit.store(&mut *out, unit.last_round(alike, zero, zero));
    out.first_chunk()
        .map_or(0, |first| u32::from_le_bytes(*first))
}
