//! Frames of the control conversation and every message in them.
//!
//! Input: a frame, or a message without its frame.

use haul_wire::control::{FRAME_HEADER_LEN, FRAME_LEN_MAX, Message, frame, frame_len};

/// A message that decodes is what decoding its encoding gives, fits a frame, and shows nothing that
/// could steer a terminal.
pub fn check(data: &[u8]) -> bool {
    let framed = data.split_first_chunk::<FRAME_HEADER_LEN>();
    let framed = framed.and_then(|(header, rest)| {
        let len = frame_len(*header).ok()?;
        assert!((1..=FRAME_LEN_MAX).contains(&len));
        rest.get(..len)
    });
    let in_frame = framed.is_some_and(survives);
    survives(data) || in_frame
}

fn survives(body: &[u8]) -> bool {
    let Ok(message) = Message::decode(body) else {
        return false;
    };
    let again = message
        .encode()
        .expect("no longer than what it was decoded from");
    assert!(again.len() <= body.len());
    assert_eq!(Message::decode(&again).as_ref(), Ok(&message));
    let framed = frame(&again).expect("no message is empty");
    let header = framed.first_chunk().expect("a frame has a length");
    assert_eq!(frame_len(*header), Ok(again.len()));
    let shown = format!("{}: {message:?}", message.name());
    assert!(!shown.contains(char::is_control), "{shown:?}");
    true
}
