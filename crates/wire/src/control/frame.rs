use crate::WireError;

/// Bytes of the length before each message.
pub const FRAME_HEADER_LEN: usize = 4;
/// Longest message, in bytes.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// A frame that says nothing. It may stand between any two others, and follows those that nothing else
/// follows: where one is lost on the way, TCP's sender learns of that from what arrives after it
/// (RACK, RFC 8985), within a round trip, and not from a timeout after several.
pub const PADDING: [u8; FRAME_HEADER_LEN] = [0; FRAME_HEADER_LEN];

/// Checks an announced length before anything is allocated for it.
///
/// # Errors
/// [`WireError::Range`] for 0 and for more than [`FRAME_LEN_MAX`].
pub fn frame_len(header: [u8; FRAME_HEADER_LEN]) -> Result<usize, WireError> {
    match usize::try_from(u32::from_be_bytes(header)) {
        Ok(len) if (1..=FRAME_LEN_MAX).contains(&len) => Ok(len),
        _ => Err(WireError::Range("frame length")),
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
