use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use quinn_udp::{EcnCodepoint, Transmit, UdpSockRef, is_msg_size_err};
use rustix::event::PollFlags;

use crate::{Route, UdpError, UdpPath};

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
    /// Sends one datagram anywhere.
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken; what looks like loss is no error.
    pub fn send_to(&self, route: Route, datagram: &[u8]) -> Result<SendOutcome, UdpError> {
        self.transmit(&transmit(route, datagram, None, false))
    }

    /// Sends datagrams of `stride` bytes (the last may be shorter) to the peer, waiting for room in
    /// the socket buffer. `ecn`: marked ECT(0).
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken or has no peer.
    pub fn send(&self, bytes: &[u8], stride: usize, ecn: bool) -> Result<SendOutcome, UdpError> {
        let route = self
            .route()
            .ok_or_else(|| UdpError::because("send")(io::ErrorKind::NotConnected.into()))?;
        let unit = if self.segmentation_offload() {
            stride * self.state.max_gso_segments()
        } else {
            stride
        };
        for part in bytes.chunks(unit.max(1)) {
            let segment_size = (part.len() > stride).then_some(stride);
            let transmit = transmit(route, part, segment_size, ecn);
            if self.transmit(&transmit)? == SendOutcome::TooBig {
                return Ok(SendOutcome::TooBig);
            }
        }
        Ok(SendOutcome::Sent)
    }

    /// Sends what was to be one call in one call a datagram.
    fn send_one_by_one(
        &self,
        whole: &Transmit<'_>,
        stride: usize,
    ) -> Result<SendOutcome, UdpError> {
        let refused = self.refused();
        for contents in whole.contents.chunks(stride) {
            let single = Transmit {
                contents,
                segment_size: None,
                ..whole.clone()
            };
            if self.transmit(&single)? == SendOutcome::TooBig {
                // That was the matter, not the offload.
                return Ok(SendOutcome::TooBig);
            }
        }
        if self.refused() == refused {
            self.disable_segmentation_offload();
        }
        Ok(SendOutcome::Sent)
    }

    fn transmit(&self, transmit: &Transmit<'_>) -> Result<SendOutcome, UdpError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self
                .state
                .try_send(UdpSockRef::from(&self.socket), transmit)
            else {
                return Ok(SendOutcome::Sent);
            };
            match (error.kind(), transmit.segment_size) {
                _ if is_msg_size_err(&error) => return Ok(SendOutcome::TooBig),
                (io::ErrorKind::WouldBlock, _) if Instant::now() < deadline => {
                    self.wait(PollFlags::OUT, deadline - Instant::now())?;
                }
                // An unreachable notice for an earlier datagram; anybody can forge one. It was
                // reported instead of sending, so send again.
                (io::ErrorKind::ConnectionRefused, _) if Instant::now() < deadline => {}
                (io::ErrorKind::Interrupted, _) => {}
                (_, Some(stride)) if refuses_offload(&error) => {
                    return self.send_one_by_one(transmit, stride);
                }
                _ if is_like_loss(&error) => {
                    let stride = transmit.segment_size.unwrap_or(transmit.contents.len());
                    let count = transmit.contents.len().div_ceil(stride.max(1));
                    self.refused.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(SendOutcome::Sent);
                }
                _ => return Err(UdpError::because("send")(error)),
            }
        }
    }
}

fn transmit(route: Route, contents: &[u8], segment_size: Option<usize>, ecn: bool) -> Transmit<'_> {
    Transmit {
        destination: route.peer,
        ecn: ecn.then_some(EcnCodepoint::Ect0),
        contents,
        segment_size,
        src_ip: route.source,
    }
}

/// Kernels and drivers without segmentation offload answer with one of these.
fn refuses_offload(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::INVAL, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Local conditions that pass, among them an address that is gone (`INVAL`) until the host has got
/// another, or a firewall: the sender's own loss recovery and its silence timers judge them better
/// than an immediate end would.
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
        Errno::INVAL,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
