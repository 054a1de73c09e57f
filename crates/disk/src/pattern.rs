//! Shell patterns over bytes: `*`, `?`, `[a-z]`, `[!a-z]` and backslash, as in glob(7), one path
//! component at a time. A name that begins with a dot is matched only by a pattern that does.

/// Whether any byte has a meaning beside itself.
pub(crate) fn is_pattern(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether the whole of `name` matches.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let hidden = name.first() == Some(&b'.');
    let dotted = pattern.starts_with(b".") || pattern.starts_with(b"\\.");
    (!hidden || dotted) && matches_rest(pattern, name)
}

/// A mismatch goes back to the last star only, which takes one byte more then: stars before it have
/// matched as early as possible, and another choice there could not help.
fn matches_rest(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(next) = matches_one(&pattern[p..], name[n]) {
            p += next;
            n += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (p, n) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether the first element of `pattern` matches `byte`: how long the element is.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((true, len)) => Some(1 + len),
            Some((false, _)) => None,
            // No closing bracket: an ordinary byte.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether `byte` is in the class that begins here, and the class's length with its bracket.
fn class(bytes: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(bytes.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut found = false;
    loop {
        let low = *bytes.get(at)?;
        // A bracket that comes first is a member.
        if low == b']' && at > start {
            return Some((found != negated, at + 1));
        }
        match (bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                found |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                found |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_a_shell() {
        for (pattern, name, expected) in [
            ("*", "x", true),
            ("*", ".x", false),
            (".*", ".x", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "a_b_b_c", true),
            ("?", "", false),
            ("??", "ab", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("**", "", true),
        ] {
            let got = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_match() {
        assert!(matches(b"\xff*", b"\xff\xfe\n"));
        assert!(matches(b"?", b"\xff"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = b"*a".repeat(60);
        assert!(!matches(&pattern, &[b'a'; 59]));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 10_000]));
    }
}
