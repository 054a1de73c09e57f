use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer, Serialize};

/// Most bytes of a text that are kept.
pub const TEXT_LEN_MAX: usize = 1024;

/// Words from the other end. What is too long is cut; showing it escapes everything that could
/// steer a terminal or fake a line, so it cannot be shown raw.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
pub struct Text(#[serde(with = "serde_bytes")] Vec<u8>);

impl Text {
    /// A text, cut to [`TEXT_LEN_MAX`] bytes (at a character's boundary when it is UTF-8).
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        let bytes = text.as_ref();
        if bytes.len() <= TEXT_LEN_MAX {
            return Self(bytes.to_vec());
        }
        let continues = |&byte: &u8| byte & 0xc0 == 0x80;
        let end = (TEXT_LEN_MAX - 3..=TEXT_LEN_MAX)
            .rev()
            .find(|&end| !bytes.get(end).is_some_and(continues))
            .unwrap_or(TEXT_LEN_MAX);
        Self(bytes[..end].to_vec())
    }

    /// The bytes as they came, for comparing and parsing, never for showing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &[u8] = serde_bytes::deserialize(deserializer)?;
        Ok(Self::new(bytes))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Bytes of unknown origin (names, messages, shell noise) as text that is safe on a terminal and
/// in a log: control characters, line breaks, characters that turn the writing direction, and
/// bytes that are not UTF-8 are written as escapes; a backslash is doubled so that nothing is
/// ambiguous.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || is_hazardous(character) {
                out.extend(character.escape_default());
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// C0, DEL and C1 controls, line and paragraph separators, and the bidirectional controls.
fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}
