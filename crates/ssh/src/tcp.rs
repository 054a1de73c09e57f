//! A TCP connection to a host, by whichever of its addresses answers first.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::clock::remaining;
use crate::error::{SshError, Stage};
use crate::family::Family;

/// Head start of each address before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried at most; a resolver may be made to answer with any number.
const ADDRESSES_MAX: usize = 16;
/// How long what we sent may go unacknowledged before the connection counts as broken.
const USER_TIMEOUT_MS: u32 = 60_000;

/// Connects to `host` by an address of `family`.
///
/// # Errors
/// [`SshError::UnknownHost`], [`SshError::NoAddress`], [`SshError::Unreachable`], or
/// [`SshError::Timeout`] when either step takes longer than `patience`.
pub(crate) fn connect(
    host: &str,
    port: u16,
    family: Family,
    patience: Duration,
) -> Result<TcpStream, SshError> {
    let addresses = interleave(of_family(family, host, resolve(host, port, patience)?)?);
    let stream = race(&addresses, Instant::now() + patience).map_err(|e| match e {
        None => SshError::Timeout(Stage::Connect),
        Some(e) => SshError::Unreachable {
            host: host.to_owned(),
            port,
            source: Arc::new(e),
        },
    })?;
    let tune = || {
        sockopt::set_tcp_nodelay(&stream, true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT_MS)
    };
    tune().map_err(|e: Errno| SshError::system("socket options", e))?;
    Ok(stream)
}

/// Asks the resolver on a thread of its own, which has no deadline that could be set.
fn resolve(host: &str, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, SshError> {
    let (answer, answered) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let ask = move || {
        let _ = answer.send(
            (name.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect),
        );
    };
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(ask)
        .map_err(|e| SshError::system("thread", e))?;
    let unknown = |e| SshError::UnknownHost {
        host: host.to_owned(),
        source: Arc::new(e),
    };
    match answered.recv_timeout(patience) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(e)) => Err(unknown(e)),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(SshError::Timeout(Stage::Resolve)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(SshError::WorkerDied),
    }
}

/// Only the addresses of `family`. That the others are asked for in vain costs nothing: the
/// resolver's answer then tells a host without such an address from one that is unknown.
fn of_family(
    family: Family,
    host: &str,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, SshError> {
    let (wanted, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| family.has(address.ip()));
    match others.first() {
        Some(other) if wanted.is_empty() => Err(SshError::NoAddress {
            host: host.to_owned(),
            family,
            found: other.ip(),
        }),
        _ => Ok(wanted),
    }
}

/// Alternates between address families, keeping the resolver's order within and between them.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] || mixed.len() >= ADDRESSES_MAX {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Starts one attempt after another, each with a head start, and takes the first that succeeds.
/// `Err(None)`: none did in time.
fn race(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Option<io::Error>> {
    let mut waiting = addresses.iter();
    let mut attempts: Vec<OwnedFd> = Vec::new();
    let mut last_error = None;
    loop {
        if let Some(address) = waiting.next() {
            match start(address) {
                Ok(attempt) => attempts.push(attempt),
                Err(e) => last_error = Some(io::Error::from(e)),
            }
        }
        if attempts.is_empty() {
            if waiting.len() == 0 {
                let none = || io::Error::from(io::ErrorKind::AddrNotAvailable);
                return Err(Some(last_error.unwrap_or_else(none)));
            }
            continue;
        }
        let next = if waiting.len() > 0 {
            Instant::now() + HEAD_START
        } else {
            deadline
        };
        match settle(&mut attempts, next.min(deadline)) {
            Ok(Some(winner)) => return Ok(winner),
            Ok(None) if Instant::now() >= deadline => return Err(None),
            Ok(None) => {}
            Err(e) => last_error = Some(e),
        }
    }
}

fn start(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// Waits until one of `attempts` succeeds, one fails (it is taken out), or `until` has come.
fn settle(attempts: &mut Vec<OwnedFd>, until: Instant) -> io::Result<Option<TcpStream>> {
    let mut fds: Vec<_> = attempts
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::OUT))
        .collect();
    match poll(&mut fds, Some(&remaining(until))) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let Some(index) = fds.iter().position(|fd| !fd.revents().is_empty()) else {
        return Ok(None);
    };
    let attempt = attempts.swap_remove(index);
    sockopt::socket_error(&attempt)??;
    Ok(Some(TcpStream::from(attempt)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_in_the_resolvers_order() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|a| a.parse().unwrap()).collect()
        };
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        assert_eq!(
            interleave(given),
            parse(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"])
        );
        assert!(interleave(Vec::new()).is_empty());
    }

    #[test]
    fn only_addresses_of_the_family_are_tried() {
        let both: Vec<SocketAddr> = ["[::1]:1", "10.0.0.1:1", "[::2]:1"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        let of = |family| of_family(family, "h", both.clone()).unwrap();
        assert_eq!(of(Family::Any), both);
        assert_eq!(of(Family::V4), both[1..2]);
        assert_eq!(of(Family::V6), [both[0], both[2]]);
        let error = of_family(Family::V6, "h", both[1..2].to_vec()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "h has no IPv6 address: to use 10.0.0.1, leave out -6"
        );
        assert!(of_family(Family::V4, "h", Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_refusing_address_gives_way_to_one_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        let stream = race(&[refusing, good], deadline).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = race(&[refusing], deadline).unwrap_err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_full_backlog_ends_at_the_deadline() {
        let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = std::net::TcpListener::from(listener.try_clone().unwrap());
        let address = address.local_addr().unwrap();
        let soon = || Instant::now() + Duration::from_millis(300);
        let held: Vec<_> = (0..3).map(|_| race(&[address], soon())).collect();
        assert!(
            held.iter().any(|r| matches!(r, Err(None))),
            "the backlog never filled"
        );
    }
}
