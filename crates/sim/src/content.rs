use std::collections::BTreeMap;

use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, Part, Stream, WireError};

/// How many bytes of a block travel in a simulated datagram. The rest of its length is simulated:
/// the machines under test never see a block's bytes, so a digest-sized sample proves as much.
pub(crate) const SAMPLE_LEN: usize = 32;

/// The opened body of a simulated datagram: encoded address, then a sample of the block's bytes.
pub type Body = [u8; BLOCK_ADDR_LEN + SAMPLE_LEN];

/// What both streams contain: a function of the seed and the block's address, so that sender and
/// checker agree without either keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Seed of the bytes.
    pub seed: u64,
    /// Blocks of the list.
    pub list_blocks: u64,
    /// Blocks of the contents.
    pub content_blocks: u64,
}

impl Content {
    /// Blocks of both streams.
    pub fn blocks(&self) -> u64 {
        self.list_blocks + self.content_blocks
    }

    /// How many blocks a stream has.
    pub fn blocks_of(&self, stream: Stream) -> u64 {
        match stream {
            Stream::List => self.list_blocks,
            Stream::Content => self.content_blocks,
        }
    }

    /// Whether the transfer has such a block.
    pub fn contains(&self, addr: BlockAddr) -> bool {
        addr.block.0 < self.blocks_of(addr.stream)
    }

    /// The block's bytes.
    pub fn sample(&self, addr: BlockAddr) -> [u8; SAMPLE_LEN] {
        let mut state = self.seed ^ u64::from_be_bytes(addr.encode());
        let mut out = [0; SAMPLE_LEN];
        for word in out.chunks_exact_mut(8) {
            // The finaliser of MurmurHash3 spreads neighbouring addresses over all bits.
            state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            state ^= state >> 33;
            word.copy_from_slice(&state.to_be_bytes());
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        out
    }

    /// The body of a datagram that carries the block.
    pub fn body(&self, addr: BlockAddr) -> Body {
        let mut body = [0; BLOCK_ADDR_LEN + SAMPLE_LEN];
        body[..BLOCK_ADDR_LEN].copy_from_slice(&addr.encode());
        body[BLOCK_ADDR_LEN..].copy_from_slice(&self.sample(addr));
        body
    }
}

/// Takes a body apart.
///
/// # Errors
/// [`WireError`] when the address does not decode.
pub(crate) fn open_body(body: &Body) -> Result<(BlockAddr, [u8; SAMPLE_LEN]), WireError> {
    let addr = BlockAddr::decode(body)?;
    let mut sample = [0; SAMPLE_LEN];
    sample.copy_from_slice(&body[BLOCK_ADDR_LEN..]);
    Ok((addr, sample))
}

/// A set of the blocks of both streams, one bit each.
#[derive(Debug, Clone)]
pub(crate) struct BlockSet {
    list: Vec<u64>,
    content: Vec<u64>,
    /// Blocks of which parts are present, by address and number of parts.
    parts: BTreeMap<(BlockAddr, usize), u128>,
    len: u64,
}

impl BlockSet {
    /// An empty set with room for the blocks of `content`.
    pub(crate) fn new(content: &Content) -> Self {
        let words = |blocks: u64| vec![0; blocks.div_ceil(64) as usize];
        Self {
            list: words(content.list_blocks),
            content: words(content.content_blocks),
            parts: BTreeMap::new(),
            len: 0,
        }
    }

    /// Adds a block, or a part of one, and says whether it was new. A block outside the content is
    /// never new.
    pub(crate) fn insert(&mut self, addr: BlockAddr) -> bool {
        if addr.part == Part::WHOLE {
            return self.insert_whole(addr);
        }
        let whole = addr.with_part(Part::WHOLE);
        if self.contains(whole) {
            return false;
        }
        let (index, count) = (addr.part.index(), addr.part.count());
        let parts = self.parts.entry((whole, count)).or_default();
        let new = *parts & 1 << index == 0;
        *parts |= 1 << index;
        if parts.count_ones() as usize == count {
            self.insert_whole(whole);
        }
        new
    }

    fn contains(&self, addr: BlockAddr) -> bool {
        let words = match addr.stream {
            Stream::List => &self.list,
            Stream::Content => &self.content,
        };
        let word = words.get((addr.block.0 / 64) as usize);
        word.is_some_and(|word| word & 1 << (addr.block.0 % 64) != 0)
    }

    fn insert_whole(&mut self, addr: BlockAddr) -> bool {
        let words = match addr.stream {
            Stream::List => &mut self.list,
            Stream::Content => &mut self.content,
        };
        let Some(word) = words.get_mut((addr.block.0 / 64) as usize) else {
            return false;
        };
        let bit = 1 << (addr.block.0 % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(new);
        new
    }

    /// How many blocks are in the set.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// How many blocks of the stream are present from block 0 on without a gap.
    pub(crate) fn floor(&self, stream: Stream) -> u64 {
        let words = match stream {
            Stream::List => &self.list,
            Stream::Content => &self.content,
        };
        let full = words.iter().take_while(|word| **word == u64::MAX).count();
        let rest = words.get(full).map_or(0, |word| word.trailing_ones());
        full as u64 * 64 + u64::from(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content {
        seed: 9,
        list_blocks: 3,
        content_blocks: 130,
    };

    #[test]
    fn bodies_open_to_what_was_put_in_and_all_differ() {
        let mut seen = Vec::new();
        for addr in [0, 1, 129]
            .map(BlockAddr::content)
            .into_iter()
            .chain([BlockAddr::list(0), BlockAddr::list(1)])
        {
            let (back, sample) = open_body(&CONTENT.body(addr)).unwrap();
            assert_eq!((back, sample), (addr, CONTENT.sample(addr)));
            assert!(!seen.contains(&sample));
            seen.push(sample);
        }
    }

    #[test]
    fn a_set_counts_each_block_once() {
        let mut set = BlockSet::new(&CONTENT);
        assert!(set.insert(BlockAddr::content(129)));
        assert!(!set.insert(BlockAddr::content(129)));
        assert!(set.insert(BlockAddr::list(129 % 3)));
        assert!(!set.insert(BlockAddr::list(64)), "outside");
        assert_eq!(set.len(), 2);
        for block in 0..70 {
            set.insert(BlockAddr::content(block));
        }
        assert_eq!(set.floor(Stream::Content), 70);
        assert_eq!(set.floor(Stream::List), 1);
    }
}
