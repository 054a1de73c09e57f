//! Further channels to a responder: each is the standard streams of another process of the same account,
//! which hands them over to the one that serves the session.
//!
//! ```text
//! sshd ─► haul --remote             serves the session, listens by the name that it has told
//! sshd ─► haul --remote --join NAME ── its streams, over an abstract UNIX socket ──►
//! ```

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::net,
    },
    time::Duration,
};

use haul_wire::control::Joinable;
use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::getuid,
};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::Carriage;
use crate::streams;

/// Channels that may join one session.
const CHANNELS_MAX: u8 = 8;
/// How long a process that has come may take to hand over its streams.
const PATIENCE: Duration = Duration::from_secs(5);
/// Standard input and output.
const STREAMS: usize = 2;

/// Takes in what joins, until dropped.
#[derive(Debug)]
pub(crate) struct Joining(JoinHandle<()>);

impl Joining {
    /// Listens, for `carriage`, by a name that nobody has thought of before.
    ///
    /// # Errors
    /// The system's, when it gives no socket or no randomness.
    pub(crate) fn open(carriage: Carriage) -> io::Result<(Self, Joinable)> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = u128::from_ne_bytes(random);
        let listener = net::UnixListener::bind_addr(&address(name)?)?;
        listener.set_nonblocking(true)?;
        let accepting = tokio::spawn(accept(UnixListener::from_std(listener)?, carriage));
        let joinable = Joinable {
            name,
            most: CHANNELS_MAX,
        };
        Ok((Self(accepting), joinable))
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: UnixListener, carriage: Carriage) {
    let mut joined = 0;
    while joined < CHANNELS_MAX {
        let Ok((connection, _)) = listener.accept().await else {
            return;
        };
        // Names of abstract sockets are no secret: who may join says the account. Others take no place.
        if !(connection.peer_cred()).is_ok_and(|peer| peer.uid() == getuid().as_raw()) {
            continue;
        }
        joined += 1;
        let carriage = carriage.clone();
        tokio::spawn(async move {
            if let Ok(Ok([input, output])) = timeout(PATIENCE, handed_over(&connection)).await
                && let (Ok(input), Ok(output)) = (streams::input(input), streams::output(output))
            {
                carriage.carry(input, output, true).await;
            }
            // Its end is the joined process's.
            drop(connection);
        });
    }
}

/// Waits for the streams of a process.
async fn handed_over(connection: &UnixStream) -> io::Result<[OwnedFd; STREAMS]> {
    loop {
        connection.readable().await?;
        match connection.try_io(Interest::READABLE, || receive(connection)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

fn receive(connection: &UnixStream) -> io::Result<[OwnedFd; STREAMS]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        connection,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let streams: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(streams) => Some(streams),
            _ => None,
        })
        .flatten()
        .collect();
    streams
        .try_into()
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Hands a channel's input and output, pipes or sockets, to the session that is joined by this name, and
/// waits until it wants them no more.
///
/// # Errors
/// The system's; [`io::ErrorKind::ConnectionRefused`] when there is no such session.
pub fn join(name: u128, input: impl AsFd, output: impl AsFd) -> io::Result<()> {
    let mut connection = net::UnixStream::connect_addr(&address(name)?)?;
    let streams = [input.as_fd(), output.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&streams));
    sendmsg(
        &connection,
        &[IoSlice::new(&[0])],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    match connection.read(&mut [0]) {
        Ok(_) => Ok(()),
        // The session has ended so suddenly that it took what was sent back.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}

fn address(name: u128) -> io::Result<net::SocketAddr> {
    let name = format!("haul-{name:032x}");
    net::SocketAddr::from_abstract_name(name)
}
