use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// Most bytes of a token.
pub const TOKEN_LEN_MAX: usize = 4096;

/// What shows that somebody has allowed a transfer; sealed, so that only who made it can read it. Nothing
/// shows it by accident.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Token(String);

impl Token {
    /// `None` when that cannot be one: nothing, more than [`TOKEN_LEN_MAX`], or other characters than such
    /// that are seen.
    pub fn new(text: &str) -> Option<Self> {
        let is_one = (1..=TOKEN_LEN_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then(|| Self(text.to_owned()))
    }

    /// The token, for who judges it and for nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::new(text).ok_or_else(|| D::Error::custom("not a token"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
