use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use anyhow::{Context, bail};
use clap::Parser;
use haul_log::LogPlace;
use haul_transfer::Bps;

const AFTER_HELP: &str = "\
Example: serve /srv/drop on port 2222 to the keys that may already log in here
  hauld --listen 0.0.0.0:2222 --root /srv/drop --authorized-keys ~/.ssh/authorized_keys
What a policy says of somebody:
  hauld --check-config --help";

/// Serves a directory tree to haul clients, without an sshd and without root.
///
/// Clients reach it like any host: haul -P PORT FILES user@host:path. Any user name is accepted; the
/// key decides. Paths that clients give are inside --root.
#[derive(Debug, Parser)]
#[command(
    name = "hauld",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub(crate) struct Args {
    /// Address and port to listen on for SSH; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:2222")]
    pub(crate) listen: SocketAddr,

    /// Private host key in OpenSSH format; made when missing [default: ~/.local/share/haul/host_key]
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,

    /// Public keys that may log in, in OpenSSH format; read anew at each login
    #[arg(long, value_name = "FILE")]
    pub(crate) authorized_keys: PathBuf,

    /// Directory that is served; nothing outside it can be named
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Serve only what this policy allows; read anew for each session. A root that it names must be inside
    /// --root
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// UDP ports for data: one port serves one transfer at a time
    #[arg(long, value_name = "LOW-HIGH", default_value = "33001-33100", value_parser = ports)]
    pub(crate) udp_ports: RangeInclusive<u16>,

    /// Ceiling of the rate of each download, in bits per second, such as 300M
    #[arg(long, value_name = "BPS")]
    pub(crate) rate_max: Option<Bps>,

    /// Cap of what all uploads together may use, such as 500M; shared fairly by those that run
    #[arg(long, value_name = "BPS")]
    pub(crate) cap_up: Option<Bps>,

    /// Cap of what all downloads together may use
    #[arg(long, value_name = "BPS")]
    pub(crate) cap_down: Option<Bps>,

    /// Log to haul.log in this directory, in files of at most SIZE bytes [default: 10M], of which eleven
    /// are kept, beside standard error
    #[arg(long, value_name = "DIR[:SIZE]")]
    pub(crate) log: Option<LogPlace>,

    /// Accept datagrams from addresses other than the one SSH came from
    #[arg(long)]
    pub(crate) any_source: bool,

    /// Let clients that ask for it move data unencrypted (it is still authenticated)
    #[arg(long)]
    pub(crate) allow_none: bool,

    /// Let uploads that ask for it (haul --privileged) set owners, set-user-id bits, capabilities and
    /// the like
    #[arg(long)]
    pub(crate) allow_privileged: bool,

    /// Refuse downloads
    #[arg(long, conflicts_with = "download_only")]
    pub(crate) upload_only: bool,

    /// Refuse uploads
    #[arg(long)]
    pub(crate) download_only: bool,

    /// Refuse measurements (haul --measure), which move bytes from memory to memory
    #[arg(long)]
    pub(crate) no_measure: bool,
}

impl Args {
    /// Where the host key is or will be.
    pub(crate) fn host_key_file(&self) -> anyhow::Result<PathBuf> {
        if let Some(file) = &self.host_key {
            return Ok(file.clone());
        }
        let home = std::env::home_dir().context("no home directory: give --host-key FILE")?;
        Ok(home.join(".local/share/haul/host_key"))
    }
}

/// `33001-33100` or one port.
pub(crate) fn ports(text: &str) -> anyhow::Result<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        text.parse::<u16>()
            .with_context(|| format!("{text:?} is no port"))
    };
    let range = port(low)?..=port(high)?;
    if range.is_empty() || *range.start() == 0 {
        bail!("{text:?} is no range of ports");
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(ports("33001-33100").unwrap(), 33001..=33100);
        assert_eq!(ports("40000").unwrap(), 40000..=40000);
        for bad in ["", "0", "2-1", "1-65536", "a-b", "1-2-3", "-5"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }
}
