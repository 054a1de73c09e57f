//! Where a token comes from. It is as good as a key, so it is wanted from where nobody else looks.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use haul_wire::control::{TOKEN_LEN_MAX, Token};
use zeroize::Zeroizing;

use crate::args::TokenArgs;

/// Names an open descriptor to read the token from.
const TOKEN_FD: &str = "HAUL_TOKEN_FD";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not one line of characters that are seen.
    #[error(
        "what {0} has is no token: one line of at most {TOKEN_LEN_MAX} letters, digits and dots"
    )]
    None(String),
    /// It cannot be read.
    #[error("cannot read the token from {place}: {source}")]
    Unreadable {
        /// Where it was to be.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The variable names no descriptor.
    #[error("{TOKEN_FD} is not the number of an open file")]
    Descriptor,
}

/// What was typed, or is in the file that was, or comes from the descriptor that the environment names.
pub(crate) fn read(args: &TokenArgs) -> Result<Option<Token>, TokenError> {
    if let Some(text) = &args.token {
        let token = Token::new(text).ok_or_else(|| TokenError::None("-W".to_owned()));
        return token.map(Some);
    }
    if let Some(path) = &args.token_file {
        let shown = path.display().to_string();
        return if path.as_os_str() == "-" {
            read_from(Ok(io::stdin()), "standard input".to_owned())
        } else {
            read_from(File::open(path), shown)
        }
        .map(Some);
    }
    let Some(number) = env::var_os(TOKEN_FD) else {
        return Ok(None);
    };
    let number: u32 = (number.to_str())
        .and_then(|text| text.parse().ok())
        .ok_or(TokenError::Descriptor)?;
    let path: PathBuf = Path::new("/dev/fd").join(number.to_string());
    read_from(File::open(path), TOKEN_FD.to_owned()).map(Some)
}

fn read_from<R: Read>(opened: io::Result<R>, place: String) -> Result<Token, TokenError> {
    // A line break at its end, and one byte more shows that it is too long.
    let most = TOKEN_LEN_MAX as u64 + 2;
    let mut text = Zeroizing::new(String::new());
    let read = opened.and_then(|file| file.take(most).read_to_string(&mut text));
    match read {
        Ok(_) => Token::new(text.trim_end_matches(['\r', '\n'])).ok_or(TokenError::None(place)),
        Err(source) => Err(TokenError::Unreadable { place, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn args(token: Option<&str>, file: Option<&Path>) -> TokenArgs {
        TokenArgs {
            token: token.map(str::to_owned),
            token_file: file.map(Path::to_owned),
        }
    }

    #[test]
    fn a_token_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        for (text, is_one) in [
            ("v4.local.abc", true),
            ("v4.local.abc\n", true),
            ("v4.local.abc\r\n", true),
            ("", false),
            ("\n", false),
            ("two words", false),
            ("two\nlines", false),
            ("\u{fc}", false),
            (&"x".repeat(TOKEN_LEN_MAX), true),
            (&"x".repeat(TOKEN_LEN_MAX + 1), false),
        ] {
            fs::write(&file, text).unwrap();
            let read = read(&args(None, Some(&file)));
            assert_eq!(read.is_ok(), is_one, "{text:?}");
        }
        assert!(read(&args(None, Some(dir.path()))).is_err());
        assert!(read(&args(None, Some(&dir.path().join("none")))).is_err());
    }

    #[test]
    fn what_is_typed_comes_first_and_nothing_shows_it() {
        let token = read(&args(Some("v4.local.abc"), None)).unwrap().unwrap();
        assert_eq!(token.expose(), "v4.local.abc");
        assert!(!format!("{token:?}").contains("abc"));
        let error = read(&args(Some("secret words"), None)).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
