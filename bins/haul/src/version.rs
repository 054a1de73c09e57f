//! What `--version` says, and the end of `--help`.

use std::{fmt::Write, sync::LazyLock};

use haul_transfer::{EXIT_CODES, SuiteId};
use haul_wire::control;

/// `0.1.0`.
pub(crate) fn short() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Version, protocol, ciphers and what this processor brings: what a bug report needs.
pub(crate) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{version}\nprotocol: {spoken} (datagrams {datagrams})\nciphers: {suites}\nAES: {aes}\n\
             sealed by: {SEALED_BY}\n\
             other end: haul --remote, started over SSH, or hauld, a server of its own",
            version = short(),
            spoken = control::VERSIONS
                .map(|version| version.to_string())
                .join(", "),
            datagrams = haul_wire::PROTOCOL_VERSION,
            suites = SuiteId::ALL.map(SuiteId::name).join(", "),
            aes = aes().unwrap_or("in software"),
        )
    });
    &LONG
}

/// Whose code encrypts and authenticates the data path.
const SEALED_BY: &str = if cfg!(feature = "fips") {
    "AWS-LC, FIPS module"
} else if cfg!(feature = "aws-lc") {
    "AWS-LC"
} else {
    "haul"
};

/// The instructions that make AES fast here; `None` when there are none.
pub(crate) fn aes() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq") {
        return Some(if is_x86_feature_detected!("vaes") {
            "in hardware (AES-NI, VAES)"
        } else {
            "in hardware (AES-NI)"
        });
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("aes") {
        return Some("in hardware (ARMv8)");
    }
    None
}

/// The end of the short help.
pub(crate) const AFTER_HELP: &str = "\
SOURCE and DEST are a PATH here, or [user@]host:PATH or haul://[user@]host[:port]/PATH there.
One side is here, the other on one host, which needs haul, or hauld where there is no sshd.
--help has examples and exit codes.";

/// Places, examples, and the table of exit statuses.
pub(crate) fn after_long_help() -> &'static str {
    static AFTER: LazyLock<String> = LazyLock::new(|| {
        let mut text = format!("{PLACES_AND_EXAMPLES}\nExit status:\n    0  success\n");
        for line in &EXIT_CODES {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:3}  {}", line.code as u8, line.meaning);
        }
        text.truncate(text.trim_end().len());
        text
    });
    &AFTER
}

const PLACES_AND_EXAMPLES: &str = "\
Places (SOURCE and DEST; one side is here, the other on one host):
  PATH                                 on this machine; write ./a:b for a name with a colon
  [user@]host:PATH                     over SSH; PATH is relative to the home directory there
  [user@][2001:db8::7]:PATH            an IPv6 address stands in brackets
  haul://[user@]host[:port]/PATH       absolute; /~/PATH is in the home directory

The other host needs haul on the PATH (or -S) of an account that SSH logs in to, or hauld, a server
of its own that needs no sshd and no root and serves one directory: see hauld --help.

Examples:
  haul data/ ann@host:                 the directory data into the home directory of ann
  haul -p *.bam host:/archive/         several files, with times and permissions
  haul -l 2.5G host:/archive/run7 .    fetch, at 2.5 Gbit/s at most
  haul --json -q big.iso host:in/      events for a program to read
  haul -P 2222 data/ ann@host:         to a hauld that listens on port 2222
  haul --measure ann@host              what the path carries, memory to memory
";
