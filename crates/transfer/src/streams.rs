//! A process's standard streams, as the runtime reads and writes sockets and pipes: without a thread that
//! waits for each piece.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{FileType, fstat};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixStream, unix::pipe},
};

/// Something to read from.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Something to write to.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Reads from a pipe or a UNIX socket. It does not block any more, for whoever else has it too.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] for anything else, and the system's.
pub fn input(fd: OwnedFd) -> io::Result<Input> {
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Fifo => Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?)),
        FileType::Socket => Ok(Box::new(socket(fd)?)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Writes to a pipe or a UNIX socket. It does not block any more, for whoever else has it too.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] for anything else, and the system's.
pub fn output(fd: OwnedFd) -> io::Result<Output> {
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Fifo => Ok(Box::new(pipe::Sender::from_owned_fd(fd)?)),
        FileType::Socket => Ok(Box::new(socket(fd)?)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(fd);
    // What is another kind of socket has no such address.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
