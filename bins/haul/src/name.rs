//! Names as text that turns back into the same bytes.

use std::fmt::Write;

/// A name for a JSON event: `(text, encoded)`.
///
/// UTF-8 is passed as it is. Anything else has `encoded` set, and every byte that is not part of
/// valid UTF-8, and every `%`, written as `%XX`, so that decoding `%XX` gives the bytes back.
pub(crate) fn reversible(bytes: &[u8]) -> (String, bool) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), false);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    (out, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_names_decode_to_the_same_bytes() {
        assert_eq!(
            reversible("100 % ä".as_bytes()),
            ("100 % ä".to_owned(), false)
        );
        assert_eq!(reversible(b"5%\xff"), ("5%25%FF".to_owned(), true));
        let odd: Vec<u8> = (1..=255).collect();
        let (text, encoded) = reversible(&odd);
        assert!(encoded);
        let mut back = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let pair = [bytes.next().unwrap(), bytes.next().unwrap()];
                let pair = std::str::from_utf8(&pair).unwrap();
                back.push(u8::from_str_radix(pair, 16).unwrap());
            } else {
                back.push(byte);
            }
        }
        assert_eq!(back, odd);
    }
}
