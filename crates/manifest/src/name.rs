use std::fmt::{self, Write as _};

use crate::{MAX_NAME_LEN, NameError};

/// The name of one file in its directory: any bytes a Unix file system takes, and nothing that
/// would lead anywhere else. Not empty, not `.` or `..`, no slash, no NUL, at most [`MAX_NAME_LEN`]
/// bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] when it is not one name.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dots),
            _ if bytes.len() > MAX_NAME_LEN => Err(NameError::TooLong(bytes.len())),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::ForbiddenByte),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Shown(&self.0))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0).fmt(f)
    }
}

/// A name or path as it may be shown on a terminal or in a log: what could move the cursor, change
/// the reading direction or is not UTF-8 appears as an escape.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_harmful(character) {
                    write!(f, "{}", character.escape_unicode())?;
                } else if character == '\\' {
                    f.write_str("\\\\")?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Controls (C0, C1), line and paragraph separators, and the marks that change reading direction.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n62_names_that_lead_elsewhere_are_refused() {
        let long = [b'a'; 256];
        for (bytes, error) in [
            (&b""[..], NameError::Empty),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"/abs", NameError::ForbiddenByte),
            (b"a/../../b", NameError::ForbiddenByte),
            (b"a//b", NameError::ForbiddenByte),
            (b"trailing/", NameError::ForbiddenByte),
            (b"nul\0", NameError::ForbiddenByte),
            (&long, NameError::TooLong(256)),
        ] {
            assert_eq!(Name::new(bytes), Err(error));
        }
    }

    #[test]
    fn odd_names_are_names() {
        for bytes in [
            &b"-rf"[..],
            b"...",
            b"a\nb",
            b"\x1b[2J",
            b"\xff\xfe",
            b" ",
            &[b'a'; 255],
        ] {
            assert_eq!(Name::new(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn n65_shown_names_cannot_drive_a_terminal() {
        let shown = Shown(b"a\x1b[2J\n\xffb\xe2\x80\xaec\\").to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{a}\\xffb\\u{202e}c\\\\");
        assert_eq!(Shown("résumé 文".as_bytes()).to_string(), "résumé 文");
    }
}
