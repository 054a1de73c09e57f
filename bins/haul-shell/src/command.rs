//! The one command that is accepted, and its spellings.

/// Longest command that is looked at.
const LEN_MAX: usize = 256;
/// Digits of a number that names a session.
const NAME_DIGITS: usize = 32;

/// What the other end of `haul` asks this host for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To serve a transfer, in this version of the conversation.
    Serve { proto: String },
    /// To lend a channel to the session of this name.
    Join { proto: String, name: String },
}

impl Asked {
    /// `haul --remote --proto N`, and what haul puts behind it; `None` for everything else. What a client
    /// wants allowed is read over: here only the server's policy allows anything.
    pub(crate) fn parse(command: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(command).ok()?;
        let mut words = text.split(' ');
        if text.len() > LEN_MAX || (words.next(), words.next()) != (Some("haul"), Some("--remote"))
        {
            return None;
        }
        let (mut proto, mut name) = (None, None);
        while let Some(word) = words.next() {
            match word {
                "--proto" => proto = Some(words.next().filter(|text| is_number(text, 2))?),
                "--join" => name = Some(words.next().filter(|text| is_name(text))?),
                "--udp-ports" => drop(words.next().filter(|text| is_range(text))?),
                "--any-source" | "--allow-none" | "--allow-privileged" => {}
                _ => return None,
            }
        }
        let proto = proto?.to_owned();
        Some(match name {
            None => Self::Serve { proto },
            Some(name) => Self::Join {
                proto,
                name: name.to_owned(),
            },
        })
    }
}

fn is_number(text: &str, digits_max: usize) -> bool {
    (1..=digits_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_range(text: &str) -> bool {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    is_number(low, 5) && is_number(high, 5)
}

fn is_name(text: &str) -> bool {
    (1..=NAME_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_haul_says_is_understood() {
        for command in [
            "haul --remote --proto 1",
            "haul --remote --proto 1 --udp-ports 33001",
            "haul --remote --proto 1 --udp-ports 33001-33100 --any-source --allow-none --allow-privileged",
        ] {
            let proto = "1".to_owned();
            assert_eq!(
                Asked::parse(command.as_bytes()),
                Some(Asked::Serve { proto }),
                "{command}"
            );
        }
        let joining =
            Asked::parse(b"haul --remote --proto 12 --join 0123456789abcdef0123456789abcdef");
        assert!(matches!(joining, Some(Asked::Join { .. })), "{joining:?}");
    }

    #[test]
    fn s57_nothing_else_is() {
        let long = format!("haul --remote --proto 1{}", " --any-source".repeat(30));
        for command in [
            "",
            " ",
            "haul",
            "haul --remote",
            "haul --remote --proto",
            "haul --remote --proto 123",
            "haul --remote --proto x",
            "haul --remote --proto 1 ",
            "haul  --remote --proto 1",
            " haul --remote --proto 1",
            "haul --remote --proto 1\n",
            "haul --remote --proto 1\0",
            "haul --remote --proto 1;id",
            "haul --remote --proto 1 ; id",
            "haul --remote --proto 1 && id",
            "haul --remote --proto 1 | id",
            "haul --remote --proto $(id)",
            "haul --remote --proto `id`",
            "haul --remote --proto 1 >x",
            "haul --remote --proto 1 --log=/tmp",
            "haul --remote --proto 1 --log /tmp",
            "haul --remote --proto 1 --config /tmp/x",
            "haul --remote --proto 1 --udp-ports",
            "haul --remote --proto 1 --udp-ports 1-2-3",
            "haul --remote --proto 1 --join",
            "haul --remote --proto 1 --join xyz",
            "haul --remote --proto 1 --join 0123456789abcdef0123456789abcdef0",
            "haul --remote --proto 1 x",
            "/tmp/haul --remote --proto 1",
            "./haul --remote --proto 1",
            "HAUL --remote --proto 1",
            "'haul' --remote --proto 1",
            "env haul --remote --proto 1",
            "sh -c haul --remote --proto 1",
            "scp -t /tmp",
            "/usr/lib/openssh/sftp-server",
            "internal-sftp",
            "rsync --server -vlogDtpr . /tmp",
            "ls",
            "-c",
            long.as_str(),
        ] {
            assert_eq!(Asked::parse(command.as_bytes()), None, "{command:?}");
        }
        assert_eq!(Asked::parse(b"haul --remote --proto 1\xff"), None);
        assert_eq!(
            Asked::parse("haul\u{a0}--remote --proto 1".as_bytes()),
            None
        );
    }
}
