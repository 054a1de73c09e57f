use crate::WireError;

/// Bytes of the length before each message.
pub const FRAME_HEADER_LEN: usize = 4;
/// Longest message, in bytes.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// A frame that says nothing. It may stand between any two others, and follows those that nothing else
/// follows: where one is lost on the way, TCP's sender learns of that from what arrives after it
/// (RACK, RFC 8985), within a round trip, and not from a timeout after several.
pub const PADDING: [u8; FRAME_HEADER_LEN] = [0; FRAME_HEADER_LEN];

/// Bytes before the datagrams of a frame that carries them: the frame's header and their stride.
pub const DATAGRAMS_HEADER_LEN: usize = FRAME_HEADER_LEN + STRIDE_LEN;
/// Most bytes of datagrams in one frame: what a socket takes at once.
pub const DATAGRAMS_LEN_MAX: usize = 64 << 10;

/// Says in a frame's header that it carries datagrams.
const DATAGRAMS: u32 = 1 << 31;
const STRIDE_LEN: usize = 2;

/// What follows a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// Nothing.
    Padding,
    /// A message of so many bytes, 1 to [`FRAME_LEN_MAX`].
    Message(usize),
    /// The stride of datagrams and the datagrams themselves, so many bytes together. [`datagrams`] takes
    /// them apart.
    Datagrams(usize),
}

impl Framed {
    /// Checks an announced length before anything is allocated for it.
    ///
    /// # Errors
    /// [`WireError::Range`] for a length that no frame has.
    pub fn of(header: [u8; FRAME_HEADER_LEN]) -> Result<Self, WireError> {
        let word = u32::from_be_bytes(header);
        let len = (word & !DATAGRAMS) as usize;
        match word & DATAGRAMS != 0 {
            false if len == 0 => Ok(Self::Padding),
            false if len <= FRAME_LEN_MAX => Ok(Self::Message(len)),
            true if (STRIDE_LEN + 1..=STRIDE_LEN + DATAGRAMS_LEN_MAX).contains(&len) => {
                Ok(Self::Datagrams(len))
            }
            _ => Err(WireError::Range("frame length")),
        }
    }
}

/// Puts the length before a message body.
///
/// # Errors
/// [`WireError::Range`] for an empty body and for one longer than [`FRAME_LEN_MAX`].
pub fn frame(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let header = match u32::try_from(body.len()) {
        Ok(len) if (1..=FRAME_LEN_MAX).contains(&body.len()) => len.to_be_bytes(),
        _ => return Err(WireError::Range("frame length")),
    };
    Ok([header.as_slice(), body].concat())
}

/// What stands before datagrams of `len` bytes together, each of `stride` bytes but the last, which may be
/// shorter.
///
/// # Errors
/// [`WireError::Range`] for none, for more than [`DATAGRAMS_LEN_MAX`] bytes, and for a stride of 0 or more
/// than 65,535.
pub fn datagrams_header(
    stride: usize,
    len: usize,
) -> Result<[u8; DATAGRAMS_HEADER_LEN], WireError> {
    let (Ok(stride @ 1..), 1..=DATAGRAMS_LEN_MAX) = (u16::try_from(stride), len) else {
        return Err(WireError::Range("datagrams"));
    };
    let word = DATAGRAMS | (STRIDE_LEN + len) as u32;
    let mut header = [0; DATAGRAMS_HEADER_LEN];
    header[..FRAME_HEADER_LEN].copy_from_slice(&word.to_be_bytes());
    header[FRAME_HEADER_LEN..].copy_from_slice(&stride.to_be_bytes());
    Ok(header)
}

/// The datagrams, one behind the other, and their stride.
///
/// # Errors
/// [`WireError::Range`] for what [`datagrams_header`] does not stand before.
pub fn datagrams(body: &[u8]) -> Result<(usize, &[u8]), WireError> {
    match body.split_first_chunk() {
        Some((&stride, bytes))
            if stride != [0; STRIDE_LEN] && (1..=DATAGRAMS_LEN_MAX).contains(&bytes.len()) =>
        {
            Ok((u16::from_be_bytes(stride).into(), bytes))
        }
        _ => Err(WireError::Range("datagrams")),
    }
}
