//! One line of an SSH configuration: a keyword and its arguments.

use crate::error::ConfigFault;

/// A keyword in lower case, and its arguments without their quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) keyword: String,
    pub(super) arguments: Vec<String>,
}

impl Line {
    /// Splits a line as OpenSSH does: keyword and arguments parted by blanks or one `=`, arguments
    /// in double or single quotes, backslash before a quote, backslash or blank, and `#` before an
    /// argument ending the line. `None` for a line that says nothing.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ConfigFault> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let end = text
            .find(|c: char| c.is_ascii_whitespace() || c == '=')
            .unwrap_or(text.len());
        let rest = text[end..].trim_start();
        let rest = rest.strip_prefix('=').unwrap_or(rest);
        let keyword = text[..end].trim_matches('"').to_ascii_lowercase();
        Ok(Some(Self {
            keyword,
            arguments: split(rest)?,
        }))
    }
}

fn split(text: &str) -> Result<Vec<String>, ConfigFault> {
    let mut arguments = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return Ok(arguments);
        }
        arguments.push(argument(&mut chars)?);
    }
}

fn argument(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, ConfigFault> {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_ascii_whitespace()) {
        match (c, quote) {
            ('\\', _) => {
                let escaped = |next: &char| {
                    matches!(next, '\\' | '"' | '\'') || (quote.is_none() && *next == ' ')
                };
                out.push(chars.next_if(escaped).unwrap_or('\\'));
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, _) => out.push(c),
        }
    }
    if quote.is_some() {
        Err(ConfigFault::Quote)
    } else {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_openssh_splits_them() {
        for (text, keyword, arguments) in [
            ("Port 22", "port", vec!["22"]),
            ("  PORT\t=\t22  ", "port", vec!["22"]),
            ("Port=22", "port", vec!["22"]),
            ("Host a b !c", "host", vec!["a", "b", "!c"]),
            ("Host a # comment", "host", vec!["a"]),
            ("Host a#b", "host", vec!["a#b"]),
            ("IdentityFile \"/a b/c\"", "identityfile", vec!["/a b/c"]),
            ("IdentityFile /a\\ b/c", "identityfile", vec!["/a b/c"]),
            ("IdentityFile '/a \"b\"'", "identityfile", vec!["/a \"b\""]),
            ("IdentityFile \"a\\\"b\"", "identityfile", vec!["a\"b"]),
            ("User DOMAIN\\jane", "user", vec!["DOMAIN\\jane"]),
            ("Port", "port", vec![]),
        ] {
            let line = Line::parse(text).unwrap().unwrap();
            assert_eq!(
                (line.keyword.as_str(), line.arguments),
                (keyword, arguments.iter().map(|s| (*s).to_owned()).collect()),
                "{text}"
            );
        }
        assert_eq!(Line::parse("  # only a comment").unwrap(), None);
        assert_eq!(Line::parse("").unwrap(), None);
        assert_eq!(Line::parse("Host \"a").unwrap_err(), ConfigFault::Quote);
    }
}
