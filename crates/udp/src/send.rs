use std::{
    io,
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use quinn_udp::{Transmit, UdpSockRef, is_msg_size_err};
use rustix::event::PollFlags;

use crate::{UdpError, UdpPath};

/// Longest wait for room in the socket buffer before datagrams count as refused: recovery from loss
/// takes over then.
const PATIENCE: Duration = Duration::from_millis(500);

/// What became of datagrams that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// The kernel took them (or dropped some of them itself, which looks like loss).
    Sent,
    /// They exceed what the interface or a known path can carry.
    TooBig,
}

impl UdpPath {
    /// Sends one datagram to any address.
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken; what looks like loss is no error.
    pub fn send_to(&self, peer: SocketAddr, datagram: &[u8]) -> Result<SendOutcome, UdpError> {
        self.transmit(peer, datagram, None)
    }

    /// Sends datagrams of `stride` bytes (the last may be shorter) to the fixed peer, waiting for
    /// room in the socket buffer.
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken or has no peer.
    pub fn send(&self, bytes: &[u8], stride: usize) -> Result<SendOutcome, UdpError> {
        let peer = self
            .peer()
            .ok_or_else(|| UdpError::because("send")(io::ErrorKind::NotConnected.into()))?;
        if self.segmentation_offload() {
            let unit = stride * self.state.max_gso_segments();
            for part in bytes.chunks(unit) {
                if self.transmit(peer, part, Some(stride))? == SendOutcome::TooBig {
                    return Ok(SendOutcome::TooBig);
                }
            }
            return Ok(SendOutcome::Sent);
        }
        self.send_one_by_one(peer, bytes, stride)
    }

    fn send_one_by_one(
        &self,
        peer: SocketAddr,
        bytes: &[u8],
        stride: usize,
    ) -> Result<SendOutcome, UdpError> {
        for datagram in bytes.chunks(stride) {
            if self.transmit(peer, datagram, None)? == SendOutcome::TooBig {
                return Ok(SendOutcome::TooBig);
            }
        }
        Ok(SendOutcome::Sent)
    }

    fn transmit(
        &self,
        peer: SocketAddr,
        contents: &[u8],
        stride: Option<usize>,
    ) -> Result<SendOutcome, UdpError> {
        let transmit = Transmit {
            destination: peer,
            ecn: None,
            contents,
            segment_size: stride,
            src_ip: None,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self
                .state
                .try_send(UdpSockRef::from(&self.socket), &transmit)
            else {
                return Ok(SendOutcome::Sent);
            };
            match (error.kind(), stride) {
                _ if is_msg_size_err(&error) => return Ok(SendOutcome::TooBig),
                (io::ErrorKind::WouldBlock, _) if Instant::now() < deadline => {
                    self.wait(PollFlags::OUT, deadline - Instant::now())?;
                }
                // An unreachable notice for an earlier datagram; anybody can forge one. It was
                // reported instead of sending, so send again.
                (io::ErrorKind::ConnectionRefused, _) if Instant::now() < deadline => {}
                (io::ErrorKind::Interrupted, _) => {}
                (_, Some(stride)) if contents.len() > stride && refuses_offload(&error) => {
                    self.disable_segmentation_offload();
                    return self.send_one_by_one(peer, contents, stride);
                }
                _ if is_like_loss(&error) => {
                    let count = contents
                        .len()
                        .div_ceil(stride.unwrap_or(contents.len()).max(1));
                    self.refused.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(SendOutcome::Sent);
                }
                _ => return Err(UdpError::because("send")(error)),
            }
        }
    }
}

/// Kernels and drivers without segmentation offload answer with one of these.
fn refuses_offload(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::INVAL, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Local conditions that pass, or a firewall: the sender's own loss recovery and its silence
/// timers judge them better than an immediate end would.
fn is_like_loss(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [
        Errno::WOULDBLOCK,
        Errno::NOBUFS,
        Errno::PERM,
        Errno::ACCESS,
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::CONNREFUSED,
        Errno::ADDRNOTAVAIL,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
