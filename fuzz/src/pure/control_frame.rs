//! Frames of the control conversation and every message in them.
//!
//! Input: a frame, or a message without its frame.

use haul_wire::control::{
    DATAGRAMS_LEN_MAX, FRAME_HEADER_LEN, FRAME_LEN_MAX, Framed, Message, datagrams,
    datagrams_header, frame,
};

/// A message that decodes is what decoding its encoding gives, fits a frame, and shows nothing that
/// could steer a terminal.
pub fn check(data: &[u8]) -> bool {
    let framed = data.split_first_chunk::<FRAME_HEADER_LEN>();
    let in_frame = framed.is_some_and(|(header, rest)| match Framed::of(*header) {
        Ok(Framed::Message(len)) => {
            assert!((1..=FRAME_LEN_MAX).contains(&len));
            rest.get(..len).is_some_and(survives)
        }
        Ok(Framed::Datagrams(len)) => rest.get(..len).is_some_and(|body| carries(*header, body)),
        Ok(Framed::Padding) | Err(_) => false,
    });
    survives(data) || in_frame
}

/// Datagrams that are taken out of a frame go into the same frame again.
fn carries(header: [u8; FRAME_HEADER_LEN], body: &[u8]) -> bool {
    let Ok((stride, bytes)) = datagrams(body) else {
        return false;
    };
    assert!(stride > 0 && (1..=DATAGRAMS_LEN_MAX).contains(&bytes.len()));
    let again = datagrams_header(stride, bytes.len()).expect("they were in a frame");
    assert_eq!(again[..FRAME_HEADER_LEN], header);
    assert_eq!(again[FRAME_HEADER_LEN..], body[..body.len() - bytes.len()]);
    true
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
    assert_eq!(Framed::of(*header), Ok(Framed::Message(again.len())));
    let shown = format!("{}: {message:?}", message.name());
    assert!(!shown.contains(char::is_control), "{shown:?}");
    true
}
