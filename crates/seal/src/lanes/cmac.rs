use aes::Block;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Aes, BLOCK_LEN};

/// The two subkeys of CMAC (RFC 4493, section 2.3) that end a message.
#[derive(ZeroizeOnDrop)]
pub(super) struct Subkeys {
    complete: [u8; BLOCK_LEN],
    padded: [u8; BLOCK_LEN],
}

impl Subkeys {
    pub(super) fn of(cipher: &impl Aes) -> Self {
        let mut zero = Block::default();
        cipher.encrypt_block(&mut zero);
        let complete = double(u128::from_be_bytes(zero.into()));
        zero.zeroize();
        Self {
            complete: complete.to_be_bytes(),
            padded: double(complete).to_be_bytes(),
        }
    }

    /// What to XOR into the last block of a message of `len` bytes, which was filled up with
    /// zeros. Padding is a one bit, then zeros.
    pub(super) fn ending(&self, len: usize) -> [u8; BLOCK_LEN] {
        match len % BLOCK_LEN {
            0 => self.complete,
            used => {
                let mut ending = self.padded;
                ending[used] ^= 0x80;
                ending
            }
        }
    }
}

/// Doubling in GF(2^128) without a branch on the value.
fn double(value: u128) -> u128 {
    (value << 1) ^ ((value >> 127).wrapping_neg() & 0x87)
}

#[cfg(test)]
mod tests {
    use aes::{Aes128, cipher::KeyInit};

    use super::*;

    /// RFC 4493, section 4.
    #[test]
    fn subkeys_are_those_of_the_rfc() {
        let key = 0x2b7e1516_28aed2a6_abf71588_09cf4f3c_u128.to_be_bytes();
        let subkeys = Subkeys::of(&Aes128::new(&key.into()));
        let k1 = 0xfbeed618_35713366_7c85e08f_7236a8de_u128;
        let k2 = 0xf7ddac30_6ae266cc_f90bc11e_e46d513b_u128;
        assert_eq!(subkeys.complete, k1.to_be_bytes());
        assert_eq!(subkeys.padded, k2.to_be_bytes());
    }
}
