use std::ops::Range;

use crate::{BlockNo, HEADER_LEN, SEGMENT_OVERHEAD, WireError};

/// Length of an encoded [`BlockAddr`].
pub const BLOCK_ADDR_LEN: usize = 8;

/// Which block space a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The list: names, sizes, attributes, in order, ahead of the contents it describes.
    List,
    /// All file contents, concatenated in list order.
    Content,
}

/// Most parts a block can travel in.
pub const PARTS_MAX: usize = 128;

/// Which part of a block travels: all of it, as long as the path carries the datagrams it was opened
/// for, a fraction of it where the path has come to carry only shorter ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    index: u8,
    /// Number of parts minus one.
    last: u8,
}

impl Part {
    /// The whole block.
    pub const WHOLE: Self = Self { index: 0, last: 0 };

    /// Part `index` of `count`; `None` unless `index < count <= PARTS_MAX`.
    pub fn new(index: usize, count: usize) -> Option<Self> {
        (index < count && count <= PARTS_MAX).then(|| Self {
            index: index as u8,
            last: (count - 1) as u8,
        })
    }

    /// Which of the parts, from 0 on.
    pub fn index(self) -> usize {
        usize::from(self.index)
    }

    /// In how many parts the block travels.
    pub fn count(self) -> usize {
        usize::from(self.last) + 1
    }

    /// Which bytes of a block of `block_len` bytes it holds; nothing when there are fewer bytes than
    /// that.
    pub fn range(self, block_len: usize) -> Range<usize> {
        let len = part_len(block_len, self.count());
        let start = (self.index() * len).min(block_len);
        start..(start + len).min(block_len)
    }
}

/// Where data belongs: the only address it has on the wire.
///
/// ```text
///  63     62  61          55 54        48 47                 0
/// ┌──────┬───┬──────────────┬────────────┬─────────────────────┐
/// │stream│ 0 │ parts − 1    │ which part │ block number        │   big-endian
/// └──────┴───┴──────────────┴────────────┴─────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAddr {
    /// Which block space.
    pub stream: Stream,
    /// Which block of it.
    pub block: BlockNo,
    /// Which part of the block.
    pub part: Part,
}

impl BlockAddr {
    /// Address of a list block.
    pub fn list(block: u64) -> Self {
        Self {
            stream: Stream::List,
            block: BlockNo(block),
            part: Part::WHOLE,
        }
    }

    /// Address of a content block.
    pub fn content(block: u64) -> Self {
        Self {
            stream: Stream::Content,
            block: BlockNo(block),
            part: Part::WHOLE,
        }
    }

    /// The address of a part of the same block.
    pub fn with_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Encodes the address.
    pub fn encode(self) -> [u8; BLOCK_ADDR_LEN] {
        let stream = match self.stream {
            Stream::Content => 0,
            Stream::List => 1 << 63,
        };
        let part = u64::from(self.part.last) << 55 | u64::from(self.part.index) << 48;
        (stream | part | self.block.0).to_be_bytes()
    }

    /// Decodes the address at the start of an opened DATA body.
    ///
    /// # Errors
    /// [`WireError`] when the body is shorter, the reserved bit is set, or there is no such part.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let Some(bytes) = body.first_chunk::<BLOCK_ADDR_LEN>() else {
            return Err(WireError::TooShort {
                what: "block address",
                len: body.len(),
            });
        };
        let bits = u64::from_be_bytes(*bytes);
        let stream = if bits >> 63 == 1 {
            Stream::List
        } else {
            Stream::Content
        };
        let field = |low: u32| (bits >> low & 0x7f) as usize;
        let part = Part::new(field(48), field(55) + 1);
        match part {
            Some(part) if bits >> 62 & 1 == 0 => Ok(Self {
                stream,
                block: BlockNo(bits & ((1 << 48) - 1)),
                part,
            }),
            _ => Err(WireError::Range("block address")),
        }
    }
}

/// Block length for a path that carries UDP payloads of `datagram_len` bytes.
///
/// The encrypted body (address and block) is kept a multiple of 16 bytes, one cipher block, and of
/// 64 bytes where that costs less than 2 %: sealing in lanes is fastest there.
/// 1232 gives 1192, 1472 gives 1432, 8928 gives 8888.
pub fn block_len(datagram_len: usize) -> usize {
    let body = datagram_len.saturating_sub(SEGMENT_OVERHEAD) + BLOCK_ADDR_LEN;
    let fine = body - body % 16;
    let coarse = body - body % 64;
    let body = if (fine - coarse) * 50 <= fine {
        coarse
    } else {
        fine
    };
    body.saturating_sub(BLOCK_ADDR_LEN)
}

/// Length of the datagram that carries a block of `block_len` bytes.
pub fn segment_len(block_len: usize) -> usize {
    block_len + SEGMENT_OVERHEAD
}

/// Bytes of every part but the last when a block of `block_len` bytes travels in `count` parts: the
/// encrypted body is a multiple of 16 bytes, as that of whole blocks is.
pub fn part_len(block_len: usize, count: usize) -> usize {
    if count <= 1 {
        return block_len;
    }
    (block_len.div_ceil(count) + BLOCK_ADDR_LEN).next_multiple_of(16) - BLOCK_ADDR_LEN
}

/// In how many parts a block must travel on a path that carries UDP payloads of `datagram_len`
/// bytes; `None` when [`PARTS_MAX`] are not enough.
pub fn parts_needed(block_len: usize, datagram_len: usize) -> Option<usize> {
    if segment_len(block_len) <= datagram_len {
        return Some(1);
    }
    let body = datagram_len.saturating_sub(SEGMENT_OVERHEAD) + BLOCK_ADDR_LEN;
    let room = (body - body % 16).checked_sub(BLOCK_ADDR_LEN)?;
    let count = block_len.div_ceil(room.max(1));
    (count <= PARTS_MAX).then_some(count)
}

const _: () = assert!(HEADER_LEN.is_multiple_of(16));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_survives_the_round_trip() {
        for addr in [
            BlockAddr::list(0),
            BlockAddr::content(0),
            BlockAddr::content((1 << 48) - 1),
            BlockAddr::list(7).with_part(Part::new(1, 2).expect("a part")),
            BlockAddr::content(7).with_part(Part::new(127, 128).expect("a part")),
        ] {
            assert_eq!(BlockAddr::decode(&addr.encode()), Ok(addr));
        }
    }

    #[test]
    fn reserved_bits_and_parts_that_cannot_be_are_refused() {
        assert!(BlockAddr::decode(&(1u64 << 62).to_be_bytes()).is_err());
        assert!(BlockAddr::decode(&(1u64 << 48).to_be_bytes()).is_err());
        assert!(BlockAddr::decode(&(1u64 << 55 | 1 << 48).to_be_bytes()).is_ok());
        assert!(BlockAddr::decode(&[0; 7]).is_err());
    }

    #[test]
    fn usual_paths_give_the_documented_lengths() {
        assert_eq!(block_len(1232), 1192);
        assert_eq!(block_len(1472), 1432);
        assert_eq!(block_len(8928), 8888);
        assert_eq!(segment_len(1400), 1440);
        assert_eq!(block_len(10), 0);
    }

    #[test]
    fn parts_fit_the_path_and_cover_the_block_once() {
        for block_len in [1192, 1432, 3768, 8376, 8888] {
            for datagram_len in (576..9000).step_by(7) {
                let count = parts_needed(block_len, datagram_len).expect("enough parts");
                let len = part_len(block_len, count);
                assert!(count == 1 || len + SEGMENT_OVERHEAD <= datagram_len);
                let mut end = 0;
                for index in 0..count {
                    let range = Part::new(index, count).expect("a part").range(block_len);
                    assert_eq!(range.start, end, "{block_len} {datagram_len}");
                    assert!(!range.is_empty() && range.len() <= len);
                    end = range.end;
                }
                assert_eq!(end, block_len);
            }
        }
        assert_eq!(parts_needed(8888, 40), None);
    }
}
