//! What was typed: the command line, parsed but not yet understood ([`crate::job`] does that).

use std::{ffi::OsString, fmt, num::ParseIntError, path::PathBuf, str::FromStr, time::Duration};

use clap::{ArgAction, Parser, ValueEnum};
use haul_log::LogPlace;
use haul_transfer::{Bps, DEFAULT_UDP_PORTS};
use haul_wire::{SuiteId, UnknownSuite, control::SUFFIX_LEN_MAX};

use crate::{
    amount::{Extent, Ports},
    keep::KeepArgs,
    protect::ProtectArgs,
    select::{self, Rule},
    taking::TakingArgs,
    version,
};

/// Move files at the speed of the link, over sealed UDP, with SSH to log in.
#[derive(Debug, Parser)]
#[command(
    name = "haul",
    version = version::short(),
    long_version = version::long(),
    override_usage = "haul [OPTIONS] SOURCE... DEST\n       haul --measure[=TIME|SIZE] [OPTIONS] \
                      [user@]host",
    after_help = version::AFTER_HELP,
    after_long_help = version::after_long_help(),
    max_term_width = 100,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub(crate) struct Args {
    /// Sources, then the destination. One list, because options may stand between any two of them
    #[arg(value_name = "SOURCE... DEST", hide = true)]
    pub(crate) places: Vec<OsString>,

    #[command(flatten, next_help_heading = "Transfer")]
    pub(crate) transfer: TransferArgs,
    #[command(flatten, next_help_heading = "Proof")]
    pub(crate) proof: ProofArgs,
    #[command(flatten, next_help_heading = "Attributes")]
    pub(crate) keep: KeepArgs,
    #[command(flatten, next_help_heading = "What is sent")]
    pub(crate) taking: TakingArgs,
    #[command(flatten, next_help_heading = "Measuring")]
    pub(crate) measuring: MeasuringArgs,
    #[command(flatten, next_help_heading = "Rate")]
    pub(crate) rate: RateArgs,
    #[command(flatten, next_help_heading = "Security")]
    pub(crate) security: SecurityArgs,
    #[command(flatten, next_help_heading = "Security")]
    pub(crate) token: TokenArgs,
    #[command(flatten, next_help_heading = "Content protection")]
    pub(crate) protect: ProtectArgs,
    #[command(flatten, next_help_heading = "SSH")]
    pub(crate) ssh: SshArgs,
    #[command(flatten, next_help_heading = "Hooks")]
    pub(crate) hooks: HookArgs,
    #[command(flatten, next_help_heading = "Output")]
    pub(crate) output: OutputArgs,

    /// The options as they were given, for a log; without values that may hold secrets.
    #[arg(skip)]
    pub(crate) given: String,
}

/// What to do with the files, and how UDP gets through.
#[derive(Debug, clap::Args)]
pub(crate) struct TransferArgs {
    /// What need not be sent because it is there: 0, nothing; 1, files of the same size and time, and
    /// what a run that was cut off got; 2, and of the same samples; 3, and of the same digest
    #[arg(short = 'k', long, value_name = "LEVEL", default_value = "1",
          value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(crate) resume: u8,
    /// Take further sources from this file, or from standard input (-), one a line
    #[arg(long, value_name = "FILE|-", group = "lists")]
    pub(crate) file_list: Option<PathBuf>,
    /// Lines of --file-list and --file-pair-list end in a zero byte, as find -print0 writes them
    #[arg(short = '0', long, requires = "lists", hide_short_help = true)]
    pub(crate) null: bool,
    /// What becomes of files that are there
    #[arg(long, value_name = "WHEN", default_value = "diff")]
    pub(crate) overwrite: OverwriteName,
    /// Keep what is replaced under its name and this suffix; an older one there goes
    #[arg(long, value_name = "SUFFIX", value_parser = suffix, allow_hyphen_values = true)]
    pub(crate) backup_suffix: Option<String>,
    /// Name files that are not whole like the final ones and with this suffix, instead of
    /// .NAME.haul-part
    #[arg(long, value_name = "SUFFIX", hide_short_help = true, value_parser = suffix,
          allow_hyphen_values = true)]
    pub(crate) partial_suffix: Option<String>,
    /// Remove at the destination what the source does not have (any more), once everything has arrived
    #[arg(long, conflicts_with_all = ["exclude_older_than", "exclude_newer_than"])]
    pub(crate) delete: bool,
    /// Change nothing anywhere, only tell what would become of each name at the destination
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// When what is received is on the disk, come what may
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "never",
        hide_short_help = true
    )]
    pub(crate) fsync: FsyncName,
    /// Leave out what this pattern matches, as in a .gitignore file: *.tmp, cache/, /top, a/**/b; may
    /// be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Let in what this pattern matches after all; of all patterns the last that matches decides
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Read patterns from a file, one a line; ! in front lets in, # begins a comment
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Leave out files last modified before this: 2026-01-31, 2026-01-31T12:00, or 12h, 7d ago
    #[arg(long, value_name = "TIME", hide_short_help = true, value_parser = select::moment)]
    pub(crate) exclude_older_than: Option<i64>,
    /// Leave out files last modified after this
    #[arg(long, value_name = "TIME", hide_short_help = true, value_parser = select::moment)]
    pub(crate) exclude_newer_than: Option<i64>,
    /// The patterns of all these in the order in which they were written.
    #[arg(skip)]
    pub(crate) rules: Vec<Rule>,
    /// Once data has flowed, go on by itself after a lost connection, for so long without progress
    /// (300, 5m; 0: never)
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    pub(crate) retry_for: Duration,
    /// Accepted for those used to scp: directories always go with all they hold
    #[arg(short = 'r', long, hide_short_help = true)]
    pub(crate) recursive: bool,
    /// DEST is a directory: create it, with its parents, when missing
    #[arg(short = 'd', long)]
    pub(crate) create_dir: bool,
    /// Insist on these UDP ports at the server: one, or LOW-HIGH [default: the server chooses,
    /// from 33001-33100 unless it is set up otherwise]
    #[arg(short = 'O', long, value_name = "PORTS")]
    pub(crate) udp_ports: Option<Ports>,
    /// Fail where UDP does not get through, instead of sending the data over SSH
    #[arg(long)]
    pub(crate) no_fallback: bool,
    /// Accept UDP from addresses other than the one SSH came from (some NATs need it)
    #[arg(long)]
    pub(crate) any_source: bool,
}

/// Whether files are what they were.
#[derive(Debug, clap::Args)]
pub(crate) struct ProofArgs {
    /// Whether both ends compute a digest of each file that is sent, and compare
    #[arg(long, value_name = "DIGEST", default_value = "none")]
    pub(crate) verify: VerifyName,
    /// Write path, size and digest of every file to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Write digests of all files as b3sum -c checks them
    #[arg(long, value_name = "FILE")]
    pub(crate) b3sum: Option<PathBuf>,
    /// Write digests of all files as sha256sum -c checks them
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) sha256sum: Option<PathBuf>,
}

/// `--verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyName {
    /// BLAKE3
    Blake3,
    /// No digest; every datagram is authenticated all the same
    None,
}

/// When what is received is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FsyncName {
    /// When the system sees fit
    Never,
    /// When success is reported
    End,
    /// Each file before it has its name, and everything when success is reported
    Each,
}

/// When a file that is there is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverwriteName {
    /// Replaced unless they are the same, as --resume says
    Diff,
    /// Replaced
    Always,
    /// Kept
    Never,
    /// Replaced if last modified before the source was
    Older,
    /// Replaced if last modified before the source was and not the same, as --resume says
    #[value(name = "diff+older")]
    DiffOlder,
}

/// Measure instead of moving files.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasuringArgs {
    /// Measure the path to a host: move bytes from memory to memory, past both disks, for so many
    /// seconds (10, 2.5s) or bytes (500M, 2G) [default: 10s]
    #[arg(long, value_name = "TIME|SIZE", num_args = 0..=1, require_equals = true,
          default_missing_value = "10s")]
    pub(crate) measure: Option<Extent>,
    /// With --measure: from the host to here
    #[arg(short = 'R', long, requires = "measure")]
    pub(crate) reverse: bool,
}

/// How fast.
#[derive(Debug, clap::Args)]
pub(crate) struct RateArgs {
    /// Target rate in bits/s, such as 300M or 2.5G: a ceiling, and with --policy fixed the rate
    #[arg(short = 'l', long, value_name = "RATE")]
    pub(crate) rate: Option<Bps>,
    /// Rate in bits/s never to fall below, whoever else is on the link
    #[arg(short = 'm', long, value_name = "RATE")]
    pub(crate) min_rate: Option<Bps>,
    /// How to share the link with other traffic
    #[arg(long, value_name = "POLICY", default_value = "fair")]
    pub(crate) policy: PolicyName,
    /// Neither begin from the rate this path carried before nor remember what it carries now
    #[arg(long, hide_short_help = true)]
    pub(crate) no_remember: bool,
    /// Mark packets so that routers can tell of congestion without dropping any (ECN)
    #[arg(long, hide_short_help = true)]
    pub(crate) ecn: bool,
    /// Take commands that change these while the transfer runs on this UNIX socket
    #[arg(long, value_name = "SOCKET", hide_short_help = true)]
    pub(crate) control: Option<PathBuf>,
}

/// What is trusted, and how UDP is sealed.
#[derive(Debug, clap::Args)]
pub(crate) struct SecurityArgs {
    /// How UDP is sealed: aes128cfb, aes256cfb, aes128gcm, aes256gcm, chacha20poly1305, none-cmac,
    /// or auto for what suits this processor [default: aes128cfb, else what both ends allow]
    #[arg(short = 'c', long, value_name = "CIPHER")]
    pub(crate) cipher: Option<Cipher>,
    /// Do not encrypt, only authenticate (the same as -c none-cmac)
    #[arg(short = 'T', long, conflicts_with = "cipher")]
    pub(crate) no_encryption: bool,
    /// Read host keys from this file instead of ~/.ssh/known_hosts
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Accept exactly the host key with this fingerprint
    #[arg(long, value_name = "SHA256:…", conflicts_with = "accept_new")]
    pub(crate) host_key: Option<String>,
    /// Accept and remember the key of a host never seen before (a changed key is still refused)
    #[arg(long)]
    pub(crate) accept_new: bool,
}

/// What shows that somebody has allowed the transfer.
#[derive(clap::Args)]
pub(crate) struct TokenArgs {
    /// Show this token, which allows the transfer. Others on this machine can see it here: prefer
    /// --token-file, or a descriptor whose number is in HAUL_TOKEN_FD
    #[arg(short = 'W', long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// Read the token from this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenArgs")
    }
}

/// How to log in.
#[derive(Debug, clap::Args)]
pub(crate) struct SshArgs {
    /// TCP port of the SSH server
    #[arg(short = 'P', long, value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Private key to log in with; may be repeated
    #[arg(short = 'i', long, value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
    /// SSH configuration instead of ~/.ssh/config
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Run this ssh instead of the built-in one, for jump hosts, hardware keys or Kerberos
    #[arg(long, value_name = "CMD")]
    pub(crate) ssh_program: Option<String>,
    /// Where haul is on the other machine, if not on its PATH
    #[arg(short = 'S', long, value_name = "PATH", default_value = "haul")]
    pub(crate) remote_haul: String,
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
    /// Give up connecting after this many seconds [default: what the configuration says, or 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Option<Duration>,
}

/// Commands of this machine around the run.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Run this shell command before connecting; if it fails, nothing is connected
    #[arg(long, value_name = "COMMAND", hide_short_help = true)]
    pub(crate) pre: Option<OsString>,
    /// Run this shell command after the end, whatever it was; HAUL_STATUS and others tell it how
    /// it went
    #[arg(long, value_name = "COMMAND", hide_short_help = true)]
    pub(crate) post: Option<OsString>,
}

/// What to tell, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Say nothing but errors
    #[arg(short = 'q', long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: the session, and what bound the run; -vv: every file too
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Write one JSON event per line to standard output (docs/EVENTS.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Log to haul.log in this directory, in files of at most SIZE bytes [default: 10M], of which
    /// eleven are kept; -: to standard output
    #[arg(short = 'L', long, value_name = "DIR[:SIZE]")]
    pub(crate) log: Option<LogPlace>,
    /// Have the haul at the other end log to this directory there
    #[arg(long, value_name = "DIR[:SIZE]", hide_short_help = true)]
    pub(crate) remote_log: Option<String>,
    /// Write each decision of the rate policy to this file, one JSON object per line (uploads:
    /// who sends decides)
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) trace: Option<PathBuf>,
    /// When to show progress
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) progress: When,
    /// Print this help (-h: in short)
    #[arg(short = 'h', long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Print the version (--version: with protocol, ciphers and AES acceleration)
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
    /// Change or watch a transfer that runs with --control, as in --ctl SOCKET rate 300M; must come
    /// first, see docs/CLI.md
    #[arg(long, hide_short_help = true)]
    pub(crate) ctl: bool,
    /// Be the other end, as started over SSH; must come first, see docs/CLI.md
    #[arg(long, hide_short_help = true)]
    pub(crate) remote: bool,
}

/// Change or watch a transfer that runs with --control SOCKET
#[derive(Debug, Parser)]
#[command(name = "haul --ctl", version = version::short(), max_term_width = 100)]
pub(crate) struct CtlArgs {
    /// What --control was given
    pub(crate) socket: PathBuf,
    /// status, rate RATE|none, min RATE|none, policy POLICY, faster, slower, cancel or watch
    #[arg(required = true)]
    pub(crate) command: Vec<String>,
}

/// The other end of a transfer: `haul --remote`, run by the SSH server for the initiator.
#[derive(Debug, Parser)]
#[command(name = "haul --remote", version = version::short(), max_term_width = 100)]
pub(crate) struct RemoteArgs {
    /// Version of the conversation the initiator speaks
    #[arg(long, value_name = "N")]
    pub(crate) proto: u8,
    /// Ports to take one from for UDP: one, or LOW-HIGH
    #[arg(long, value_name = "PORTS", default_value_t = Ports(DEFAULT_UDP_PORTS))]
    pub(crate) udp_ports: Ports,
    /// Accept UDP from addresses other than the one SSH came from
    #[arg(long)]
    pub(crate) any_source: bool,
    /// Refuse to measure, which moves bytes from memory to memory
    #[arg(long)]
    pub(crate) no_measure: bool,
    /// Log to haul.log in this directory, in files of at most SIZE bytes [default: 10M]
    #[arg(long, value_name = "DIR[:SIZE]")]
    pub(crate) log: Option<LogPlace>,
    /// Agree to none-cmac, which does not encrypt, if the initiator asks for it
    #[arg(long)]
    pub(crate) allow_none: bool,
    /// Let uploads that ask for it set owners, set-user-id bits, capabilities and the like
    #[arg(long)]
    pub(crate) allow_privileged: bool,
    /// Serve only what this policy allows [default: /etc/haul/haul.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve nothing without a policy, a root and walls around it; what haul-shell says
    #[arg(long)]
    pub(crate) restricted: bool,
    /// The key that was used to log in, for policies that name keys [default: what sshd tells]
    #[arg(long, value_name = "SHA256:…")]
    pub(crate) key: Option<String>,
    /// Serve nothing, but lend this process's channel to the session that goes by this name
    #[arg(long, value_name = "NAME", value_parser = join_name, hide = true)]
    pub(crate) join: Option<u128>,
}

fn join_name(text: &str) -> Result<u128, ParseIntError> {
    u128::from_str_radix(text, 16)
}

/// `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyName {
    /// Shares with other traffic, fills what is free
    Fair,
    /// Sends at the target rate whatever happens; needs -l
    Fixed,
    /// Takes twice the share of a fair flow
    High,
    /// Yields to other traffic, fills what is free
    Low,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When standard error is a terminal; else a line every five seconds, unless --json
    Auto,
    /// Even when standard error is not a terminal
    Always,
    /// Never, not even a line now and then
    Never,
}

/// `-c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// Whatever suits this processor.
    Auto,
    /// This one or nothing.
    Suite(SuiteId),
}

impl FromStr for Cipher {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        if name.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        name.parse().map(Self::Suite)
    }
}

/// Parses `--connect-timeout`: whole or decimal seconds, up to an hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    const REFUSAL: &str = "write seconds, from 0.1 to 3600";
    let seconds: f64 = text.parse().map_err(|_| REFUSAL)?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err(REFUSAL);
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Longest that a run may be told to go on without progress.
const RETRY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Seconds, or a number with `s`, `m` or `h`.
fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds * unit).ok())
        .filter(|span| *span <= RETRY_MAX)
        .ok_or_else(|| "not a time: seconds, or as in 30s, 5m, 2h; at most 7 days".to_owned())
}

/// What may be put behind a name.
pub(crate) fn suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') || text.len() > SUFFIX_LEN_MAX {
        return Err(format!(
            "not a suffix: 1 to {SUFFIX_LEN_MAX} bytes without a slash, as in .bak or ~"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"haul").chain(line))
    }

    #[test]
    fn definitions_are_consistent() {
        Args::command().debug_assert();
        RemoteArgs::command().debug_assert();
    }

    #[test]
    fn options_may_stand_anywhere() {
        let args = parse(&["-pd", "a", "-l", "300M", "b", "h:c", "-vv"]).unwrap();
        assert_eq!(args.places, ["a", "b", "h:c"]);
        assert!(args.keep.preserve && args.transfer.create_dir);
        assert_eq!(args.rate.rate, Some(Bps(300_000_000)));
        assert_eq!(args.output.verbose, 2);
        assert_eq!(
            (args.security.cipher, args.transfer.udp_ports),
            (None, None)
        );
    }

    #[test]
    fn names_may_begin_with_a_hyphen_after_two() {
        let args = parse(&["--", "-odd", "h:"]).unwrap();
        assert_eq!(args.places, ["-odd", "h:"]);
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            &["-T", "-c", "aes128gcm", "a", "h:"][..],
            &["-4", "-6", "a", "h:"],
            &["-q", "-v", "a", "h:"],
            &["--host-key", "SHA256:x", "--accept-new", "a", "h:"],
            &["--connect-timeout", "0", "a", "h:"],
            &["--connect-timeout", "NaN", "a", "h:"],
            &["-P", "0", "a", "h:"],
            &["--policy", "rude", "a", "h:"],
            &["--backup-suffix", "", "a", "h:"],
            &["--partial-suffix", "../x", "a", "h:"],
            &["--delete", "--exclude-newer-than", "1d", "a", "h:"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn ciphers_are_named_as_people_name_them() {
        let cipher = |name| parse(&["-c", name, "a", "h:"]).map(|args| args.security.cipher);
        assert_eq!(cipher("auto").unwrap(), Some(Cipher::Auto));
        assert_eq!(
            cipher("AES-256-GCM").unwrap(),
            Some(Cipher::Suite(SuiteId::Aes256Gcm))
        );
        assert!(cipher("3des").unwrap_err().to_string().contains("Sweet32"));
    }
}
