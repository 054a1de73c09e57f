//! `haul --remote`: the other end of a transfer, started over SSH.
//!
//! Standard input and output belong to the conversation; nothing else is ever written there.
//! Standard error carries at most the one line that says why there is no conversation.

use std::{
    env,
    ffi::OsString,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
    path::PathBuf,
};

use clap::Parser;
use haul_log::LogPlace;
use haul_transfer::{
    ErrorCode, RespondSetup, Summary, TransferError,
    streams::{self, Input, Output},
};
use tokio::sync::mpsc;

use crate::{
    access,
    args::RemoteArgs,
    bound, client,
    failure::{self, Failure},
    job::FRAMING,
    logbook::Logbook,
    report, screen, signals, version,
};

/// Set by sshd: client address, client port, server address, server port.
const SSH_CONNECTION: &str = "SSH_CONNECTION";

/// Why this end cannot even begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// An initiator of another generation.
    #[error("this haul speaks protocol {FRAMING}, the other end asked for {0}; update the older")]
    Protocol(u8),
    /// Standard output belongs to the conversation.
    #[error("haul --remote cannot log to standard output; name a directory after --log")]
    LogToStdout,
    /// Neither `$HOME` nor an account's entry.
    #[error("this account has no home directory; set HOME")]
    NoHome,
}

impl RemoteError {
    /// Its line in the table of exit statuses.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Protocol(_) => ErrorCode::VersionMismatch,
            Self::LogToStdout | Self::NoHome => ErrorCode::Usage,
        }
    }
}

/// Serves one transfer; `words` follow `--remote` on the command line.
pub(crate) fn run(words: &[OsString]) -> Result<(), Failure> {
    let name = OsString::from("haul --remote");
    let args = RemoteArgs::try_parse_from(std::iter::once(&name).chain(words))?;
    if args.proto != FRAMING {
        return Err(RemoteError::Protocol(args.proto).into());
    }
    if let Some(name) = args.join {
        let joined = haul_transfer::join(name, io::stdin(), io::stdout());
        return joined.map_err(Failure::system("joining a transfer"));
    }
    let home = env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or(RemoteError::NoHome)?;
    let connection = env::var(SSH_CONNECTION)
        .ok()
        .and_then(|text| Connection::parse(&text));
    let setup = setup(&args, home, connection);
    // Before the first thread is started.
    let door = access::door(&args, connection.map(|connection| connection.client));
    let setup = match &door {
        Some(door) => door.apply(setup),
        None => setup,
    };
    let log = args.log.as_ref().map(|place| {
        if *place == LogPlace::Stdout {
            return Err(Failure::from(RemoteError::LogToStdout));
        }
        Logbook::open(place, "haul --remote").map_err(Failure::from)
    });
    let mut log = log.transpose()?;
    let outcome = client::in_runtime(async {
        let setup = RespondSetup {
            cancel: Some(signals::cancellation()?.subscribe()),
            ..setup
        };
        serve(setup, &mut log).await
    });
    if let Some(door) = &door {
        // It is over; who could not be recorded before was not served.
        let _ = door.record(ended(&outcome));
    }
    if let Some(log) = &mut log {
        // Nobody is left to tell of a log that cannot be written.
        let _ = account(log, &outcome);
    }
    outcome.map(drop)
}

/// How the transfer itself ended.
fn ended(outcome: &Result<Summary, Failure>) -> Result<&Summary, &TransferError> {
    match outcome {
        Ok(summary) => Ok(summary),
        Err(Failure::Transfer(error)) => Err(error),
        Err(_) => Err(&TransferError::TaskFailed("runtime")),
    }
}

/// Serves, and logs what happens meanwhile.
async fn serve(setup: RespondSetup, log: &mut Option<Logbook>) -> Result<Summary, Failure> {
    let (told, mut events) = mpsc::unbounded_channel();
    let client = (setup.ssh_peer).map_or_else(|| "somebody".to_owned(), |ip| ip.to_string());
    let setup = RespondSetup {
        events: log.is_some().then_some(told),
        ..setup
    };
    let version = version::short();
    write(log, |log| {
        log.line(&format!("haul {version} serves {client}"))
    });
    let (input, output) = standard_streams();
    let serving = haul_transfer::respond(input, output, setup);
    tokio::pin!(serving);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => write(log, |log| log.event(&event)),
            outcome = &mut serving => break outcome,
        }
    };
    while let Ok(event) = events.try_recv() {
        write(log, |log| log.event(&event));
    }
    Ok(outcome?)
}

/// What the conversation goes over, as cheaply as it can be read and written: sshd gives pipes or sockets.
fn standard_streams() -> (Input, Output) {
    let input = io::stdin().as_fd().try_clone_to_owned();
    let output = io::stdout().as_fd().try_clone_to_owned();
    (
        (input.and_then(streams::input)).unwrap_or_else(|_| Box::new(tokio::io::stdin())),
        (output.and_then(streams::output)).unwrap_or_else(|_| Box::new(tokio::io::stdout())),
    )
}

/// Writes to the log, if there is one, and gives it up when it cannot be written.
fn write(log: &mut Option<Logbook>, line: impl FnOnce(&mut Logbook) -> io::Result<()>) {
    if log.as_mut().is_some_and(|log| line(log).is_err()) {
        *log = None;
    }
}

fn account(log: &mut Logbook, outcome: &Result<Summary, Failure>) -> io::Result<()> {
    let summary = match outcome {
        Ok(summary) => Some(summary),
        Err(Failure::Transfer(TransferError::Partial { summary, .. })) => Some(&**summary),
        Err(_) => None,
    };
    if let Some(summary) = summary {
        log.line(&screen::account(summary))?;
        if let Some(text) = report::not_sent(summary) {
            log.line(&text)?;
        }
        log.line(&bound::cost(summary))?;
    }
    log.line(&failure::ending(outcome.as_ref().err()))
}

fn setup(args: &RemoteArgs, home: PathBuf, connection: Option<Connection>) -> RespondSetup {
    let mut setup = RespondSetup::new(home);
    setup.allow_none = args.allow_none;
    setup.allow_privileged = args.allow_privileged;
    setup.allow_measure = !args.no_measure;
    setup.udp_ports = args.udp_ports.0.clone();
    setup.any_source = args.any_source;
    setup.joinable = true;
    setup.ssh_peer = connection.map(|connection| connection.client);
    setup.bind = connection.map(|connection| match connection.server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    setup
}

/// The two ends of the SSH connection, as sshd saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection {
    client: IpAddr,
    server: IpAddr,
}

impl Connection {
    /// `None` where sshd itself does not know (it writes `UNKNOWN` behind some proxies).
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let client = address(words.next()?)?;
        let server = address(words.nth(1)?)?;
        Some(Self { client, server })
    }
}

/// An address without its zone; one mapped into IPv6 counts as what it is.
fn address(text: &str) -> Option<IpAddr> {
    let number = text.split('%').next().unwrap_or(text);
    number
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, String)> {
        Connection::parse(text).map(|c| (c.client.to_string(), c.server.to_string()))
    }

    #[test]
    fn sshd_tells_both_ends() {
        let ends = |client: &str, server: &str| Some((client.to_owned(), server.to_owned()));
        assert_eq!(
            parse("192.0.2.1 50000 192.0.2.7 22"),
            ends("192.0.2.1", "192.0.2.7")
        );
        assert_eq!(
            parse("2001:db8::1 5 2001:db8::7 22"),
            ends("2001:db8::1", "2001:db8::7")
        );
        assert_eq!(
            parse("fe80::1%eth0 5 fe80::7%eth0 22"),
            ends("fe80::1", "fe80::7")
        );
        assert_eq!(
            parse("::ffff:192.0.2.1 5 ::ffff:192.0.2.7 22"),
            ends("192.0.2.1", "192.0.2.7")
        );
        for odd in ["", "UNKNOWN 65535 UNKNOWN 65535", "192.0.2.1 5", "a b c d"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_connection_gives_peer_and_family() {
        let args =
            RemoteArgs::try_parse_from(["x", "--proto", "1", "--udp-ports", "5000"]).unwrap();
        let connection = Connection::parse("::1 5 ::1 22");
        let six = setup(&args, PathBuf::from("/"), connection);
        assert_eq!(six.bind, Some(Ipv6Addr::UNSPECIFIED.into()));
        assert_eq!(six.ssh_peer, Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(six.udp_ports, 5000..=5000);
        assert!(!six.allow_none && !six.any_source && !six.allow_privileged);
        let usual = RemoteArgs::try_parse_from(["x", "--proto", "1"]).unwrap();
        assert_eq!(
            setup(&usual, PathBuf::from("/"), connection).udp_ports,
            haul_transfer::DEFAULT_UDP_PORTS
        );
        let unknown = setup(&args, PathBuf::from("/"), None);
        assert_eq!((unknown.bind, unknown.ssh_peer), (None, None));
    }
}
