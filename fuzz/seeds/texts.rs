//! What people and other programs write: known hosts, configurations, places.

use super::{Seeds, hostile, valid};

/// The key that the check asks about.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBS9uPdchkWFCfNeyR9gttoo5LHEza9GGjVQCcxe2TGM";
/// `h.example`, hashed with a salt of twenty sevens.
const HASHED: &str = "|1|Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc=|FVg4/6VbmhzNZD1Y7XbGfL9lFJg=";

pub fn known_hosts() -> Seeds {
    // The first byte chooses the host: 0 and 1 are h.example at 22 and 2222, 2 and 3 an address.
    let file = |host: u8, text: String| [&[host][..], text.as_bytes()].concat();
    vec![
        valid("plain", file(0, format!("h.example {KEY}\n"))),
        valid(
            "list",
            file(0, format!("# mine\na,b,h.example {KEY} me@here\n")),
        ),
        valid(
            "wildcard",
            file(0, format!("*.example,!g.example {KEY}\r\n")),
        ),
        valid("port", file(1, format!("[h.example]:2222 {KEY}\n"))),
        valid("bare-name-at-a-port", file(1, format!("h.example {KEY}\n"))),
        valid("address", file(2, format!("2001:db8::7 {KEY}"))),
        valid(
            "address-and-port",
            file(3, format!("[2001:db8::7]:2222\t{KEY}\n")),
        ),
        valid("hashed", file(0, format!("{HASHED} {KEY}\n"))),
        valid(
            "second-line",
            file(0, format!("h.example {OTHER}\nh.example {KEY}\n")),
        ),
        hostile(
            "revoked",
            file(0, format!("h.example {KEY}\n@revoked * {KEY}\n")),
        ),
        hostile(
            "certificate-authority",
            file(0, format!("@cert-authority * {KEY}\n")),
        ),
        hostile("changed", file(0, format!("h.example {OTHER}\n"))),
        hostile("negated", file(0, format!("*,!h.example {KEY}\n"))),
        hostile(
            "two-markers",
            file(0, format!("@revoked @revoked h.example {KEY}\n")),
        ),
        hostile("hash-without-salt", file(0, format!("|1||AAAA {KEY}\n"))),
        hostile("hash-cut", file(0, format!("|1|Nzc3 {KEY}\n"))),
        hostile(
            "wrong-type",
            file(0, "h.example ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIDc3\n".into()),
        ),
        hostile("long-type", file(0, "h.example ssh-rsa /////wAA\n".into())),
        hostile("stars", file(0, format!("{}b {KEY}\n", "*a".repeat(60)))),
        hostile(
            "not-utf-8",
            [&b"\x00h.example\xff\xfe "[..], KEY.as_bytes()].concat(),
        ),
        hostile("empty", Vec::new()),
    ]
}

pub fn ssh_config() -> Seeds {
    vec![
        valid(
            "usual",
            "Host h.*\n  HostName real.example\n  Port 2222\n  User me\n",
        ),
        valid(
            "first-wins",
            "User a\nHost *\nUser b\nHost !h.example *\nUser c\n",
        ),
        valid(
            "quotes",
            "IdentityFile \"/a b/%h\"\nIdentityFile '/c'\nIdentitiesOnly=yes\n",
        ),
        valid(
            "tokens",
            "HostName %h.lan\nUserKnownHostsFile ~/kh_%n /dev/null none\n",
        ),
        valid(
            "checks",
            "StrictHostKeyChecking accept-new\nHostKeyAlias x\nConnectTimeout 1m30\n",
        ),
        valid(
            "keys",
            "HostKeyAlgorithms +ssh-rsa,-ecdsa*\nUpdateHostKeys no\n",
        ),
        valid(
            "match",
            "Match host h.example exec true\n Port 1\nHost *\n ProxyJump none\n",
        ),
        valid("proxy", "ProxyCommand nc %h %p\r\n# comment\r\n\r\n"),
        hostile("quote", "User \"a\n"),
        hostile("port", "Port 65536\n"),
        hostile("token", "HostName %z\n"),
        hostile("time", "ConnectTimeout 99999999999999999999w\n"),
        hostile("variable", "IdentityFile ${NO_SUCH_VARIABLE}/x\n"),
        hostile("no-value", "Port\n"),
        hostile("not-utf-8", b"User \xff\n".as_slice()),
        hostile("backslashes", "User a\\\\\\\"\\ b\\"),
    ]
}

pub fn url() -> Seeds {
    vec![
        valid("local", "dir/file"),
        valid("local-colon", "./a:b"),
        valid("remote", "ann@host:dir/file"),
        valid("remote-home", "host:~/x"),
        valid("two-ats", "ann@corp.example@host:/x"),
        valid("ipv6", "ann@[2001:db8::7]:/srv"),
        valid("ipv6-zone", "[fe80::1%en0]:x"),
        valid("url", "haul://ann@data.example:2222/srv/a%20b%252F"),
        valid("url-home", "haul://h/~/x"),
        valid("url-ipv6", "haul://ann@[::1]:33001/x"),
        valid("url-bytes", "haul://h/%FF%C3%A4"),
        hostile("option", "-oProxyCommand=x:y"),
        hostile("option-user", "-l@host:x"),
        hostile("url-option", "haul://%2DoX/x"),
        hostile("url-password", "haul://ann:secret@h/x"),
        hostile("url-control", "haul://h/a%0Ab"),
        hostile("url-escape", "haul://h/%4"),
        hostile("url-query", "haul://h/x?y"),
        hostile("url-scheme", "HTTPS://h/x"),
        hostile("url-port", "haul://h:65536/x"),
        hostile("url-slash", "haul://a%2Fb/x"),
        hostile("brackets", "[::1:x"),
        hostile("zero", b"h:\0".as_slice()),
        hostile("bytes", b"h\xff:x".as_slice()),
        hostile("escape", "ho\u{1b}]0;x\u{7}st:x"),
    ]
}
