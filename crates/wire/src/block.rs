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

/// Where a block belongs: the only address data has on the wire.
///
/// ```text
///  63     62                              0
/// ┌──────┬──────────────────────────────────┐
/// │stream│ block number                     │   big-endian; bits 48..62 reserved, zero
/// └──────┴──────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAddr {
    /// Which block space.
    pub stream: Stream,
    /// Which block of it.
    pub block: BlockNo,
}

impl BlockAddr {
    /// Address of a list block.
    pub fn list(block: u64) -> Self {
        Self {
            stream: Stream::List,
            block: BlockNo(block),
        }
    }

    /// Address of a content block.
    pub fn content(block: u64) -> Self {
        Self {
            stream: Stream::Content,
            block: BlockNo(block),
        }
    }

    /// Encodes the address.
    pub fn encode(self) -> [u8; BLOCK_ADDR_LEN] {
        let stream = match self.stream {
            Stream::Content => 0,
            Stream::List => 1 << 63,
        };
        (stream | self.block.0).to_be_bytes()
    }

    /// Decodes the address at the start of an opened DATA body.
    ///
    /// # Errors
    /// [`WireError`] when the body is shorter or a reserved bit is set.
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
        let block = bits & !(1 << 63);
        if block >> 48 != 0 {
            return Err(WireError::Range("block address"));
        }
        Ok(Self {
            stream,
            block: BlockNo(block),
        })
    }
}

/// Block length for a path that carries UDP payloads of `datagram_len` bytes.
///
/// The encrypted body (address and block) is kept a multiple of 16 bytes, one cipher block, and of
/// 64 bytes where that costs less than 2 %: sealing in lanes is fastest there.
/// 1232 gives 1192, 1452 gives 1400, 8952 gives 8888.
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
        ] {
            assert_eq!(BlockAddr::decode(&addr.encode()), Ok(addr));
        }
    }

    #[test]
    fn reserved_bits_are_refused() {
        assert!(BlockAddr::decode(&(1u64 << 48).to_be_bytes()).is_err());
        assert!(BlockAddr::decode(&[0; 7]).is_err());
    }

    #[test]
    fn usual_paths_give_the_documented_lengths() {
        assert_eq!(block_len(1232), 1192);
        assert_eq!(block_len(1452), 1400);
        assert_eq!(block_len(8952), 8888);
        assert_eq!(segment_len(1400), 1440);
        assert_eq!(block_len(10), 0);
    }
}
