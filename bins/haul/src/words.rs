//! Shell words: splitting a command typed as one argument, quoting one for the remote shell.

/// Why a command line could not be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    /// No command at all.
    #[error("names no command")]
    Empty,
    /// A quote is not closed.
    #[error("has a {0} that is never closed")]
    Unclosed(char),
    /// A backslash at the very end.
    #[error("ends in a backslash")]
    Backslash,
}

/// Splits as a POSIX shell does (quotes and backslashes, XCU 2.2), expanding nothing.
pub(crate) fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(WordsError::Unclosed('\'')),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => {
                let c = chars.next().ok_or(WordsError::Backslash)?;
                word.get_or_insert_default().push(c);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(WordsError::Empty),
    }
}

/// Reads up to the closing `"`; a backslash protects only `"` `\` `$` and `` ` ``.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), WordsError> {
    loop {
        match chars.next().ok_or(WordsError::Unclosed('"'))? {
            '"' => return Ok(()),
            '\\' => {
                let c = chars.next().ok_or(WordsError::Backslash)?;
                if !"\"\\$`".contains(c) {
                    word.push('\\');
                }
                word.push(c);
            }
            c => word.push(c),
        }
    }
}

/// Quotes a program's path so that any POSIX shell sees exactly one word; only a leading `~/`
/// stays open, because the remote shell alone knows that directory.
pub(crate) fn quote_program(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("~/{}", quote(rest)),
        None => quote(path),
    }
}

/// Quotes a text so that any POSIX shell sees exactly one word.
pub(crate) fn quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).expect(text)
    }

    #[test]
    fn splits_like_a_shell() {
        assert_eq!(words("ssh"), ["ssh"]);
        assert_eq!(words("  ssh -J  jump "), ["ssh", "-J", "jump"]);
        assert_eq!(
            words(r#"ssh -o "User Name" 'a\b'"#),
            ["ssh", "-o", "User Name", r"a\b"]
        );
        assert_eq!(words(r#"a"b"'c'd"#), ["abcd"]);
        assert_eq!(words(r"a\ b c\'d"), ["a b", "c'd"]);
        assert_eq!(words(r#""a\"b\n\$""#), [r#"a"b\n$"#]);
        assert_eq!(words("ssh ''"), ["ssh", ""]);
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert_eq!(split("  "), Err(WordsError::Empty));
        assert_eq!(split("''"), Err(WordsError::Empty));
        assert_eq!(split("ssh 'a"), Err(WordsError::Unclosed('\'')));
        assert_eq!(split("ssh \"a"), Err(WordsError::Unclosed('"')));
        assert_eq!(split("ssh a\\"), Err(WordsError::Backslash));
    }

    #[test]
    fn a_quoted_program_is_one_word_again() {
        assert_eq!(quote_program("/opt/haul/bin/haul"), "/opt/haul/bin/haul");
        assert_eq!(quote_program("~/bin/haul"), "~/bin/haul");
        assert_eq!(quote_program("~/my bin/haul"), "~/'my bin/haul'");
        for odd in [
            "a b",
            "$(reboot)",
            "`x`",
            "a'b",
            "a;b",
            "",
            "~bob/x",
            "a\nb",
            "a\\b",
        ] {
            let quoted = quote_program(odd);
            assert_eq!(
                split(&format!("x {quoted}")).unwrap(),
                ["x", odd],
                "{quoted}"
            );
        }
    }
}
