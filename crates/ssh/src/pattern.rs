//! OpenSSH's wildcard patterns, as `ssh_config` and `known_hosts` use them.

/// Longest pattern that can match; OpenSSH's `match_pattern_list` gives up on a list at this point.
const PATTERN_LEN_MAX: usize = 1023;

/// What a list of patterns says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListMatch {
    /// A pattern matches and no negated one does.
    Yes,
    /// Nothing matches.
    No,
    /// A negated pattern matches, which outweighs every other.
    Negated,
}

/// Whether `text` matches `pattern`, where `*` stands for any run of bytes and `?` for one byte.
///
/// Only the last `*` is ever tried again: if an earlier one could have taken more, so can the last.
/// That bounds the work by the product of the lengths, however many stars a hostile file holds.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (p, t) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// Judges `text` by patterns of which some may be negated with `!`.
pub(crate) fn match_list<'a>(
    patterns: impl IntoIterator<Item = &'a [u8]>,
    text: &[u8],
) -> ListMatch {
    let mut found = ListMatch::No;
    for pattern in patterns {
        if pattern.len() > PATTERN_LEN_MAX {
            return ListMatch::No;
        }
        match pattern.strip_prefix(b"!") {
            Some(negated) if matches(negated, text) => return ListMatch::Negated,
            None if matches(pattern, text) => found = ListMatch::Yes,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_openssh_does() {
        for (pattern, text, expected) in [
            ("host", "host", true),
            ("host", "hos", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "a", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("192.168.0.?", "192.168.0.7", true),
            ("192.168.0.?", "192.168.0.77", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[*.example.org]:22??", "[x.example.org]:2200", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }

    #[test]
    fn negation_outweighs_and_never_matches_alone() {
        let judge = |list: &str, text: &str| {
            match_list(list.split(',').map(str::as_bytes), text.as_bytes())
        };
        assert_eq!(judge("*.org,!bad.org", "good.org"), ListMatch::Yes);
        assert_eq!(judge("*.org,!bad.org", "bad.org"), ListMatch::Negated);
        assert_eq!(judge("!bad.org,*.org", "bad.org"), ListMatch::Negated);
        assert_eq!(judge("!bad.org", "good.org"), ListMatch::No);
        assert_eq!(
            judge(&format!("{},good.org", "x".repeat(2_000)), "good.org"),
            ListMatch::No
        );
    }
}
