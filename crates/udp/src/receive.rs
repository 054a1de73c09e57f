use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arrayvec::ArrayVec;
use haul_batch::{Batch, CAPACITY};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef};
use rustix::event::PollFlags;

use crate::{UdpError, UdpPath};

/// Most batches one receive call fills.
pub const RECEIVE_SLOTS: usize = 16;

/// A kernel receive time further back than this is a clock step, not a delay.
const AGE_MAX: Duration = Duration::from_secs(1);

/// One datagram that was received by itself.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Its length, as far as there was room.
    pub len: usize,
    /// Who sent it, or claims to.
    pub from: SocketAddr,
    /// The local address it was sent to, where the kernel tells.
    pub to: Option<IpAddr>,
}

/// What one slot received.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who sent it, or claims to.
    pub from: SocketAddr,
    /// The local address it was sent to, where the kernel tells.
    pub to: Option<IpAddr>,
    /// How long ago the kernel received it: what the host added is not the network's delay.
    pub age: Duration,
    /// Whether it carries an ECN mark (RFC 3168), and which.
    pub ecn: Option<Ecn>,
}

/// An ECN mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(0) or ECT(1): the sender can take marks of congestion.
    Able,
    /// CE: congestion experienced.
    Congestion,
}

impl Ecn {
    fn of(meta: &RecvMeta) -> Option<Self> {
        meta.ecn.map(|mark| match mark {
            EcnCodepoint::Ce => Self::Congestion,
            EcnCodepoint::Ect0 | EcnCodepoint::Ect1 => Self::Able,
        })
    }
}

impl UdpPath {
    /// Receives one datagram from anybody, waiting up to `patience`.
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken.
    pub fn recv_one(
        &self,
        buffer: &mut [u8],
        patience: Duration,
    ) -> Result<Option<Received>, UdpError> {
        let mut metas = [RecvMeta::default()];
        // With receive offload on, one call may return several datagrams.
        let mut scratch = vec![0; CAPACITY];
        let mut slots = [IoSliceMut::new(&mut scratch)];
        if self.receive(&mut slots, &mut metas, patience)?.0 == 0 {
            return Ok(None);
        }
        let len = metas[0].len.min(metas[0].stride).min(buffer.len());
        buffer[..len].copy_from_slice(&scratch[..len]);
        Ok(Some(Received {
            len,
            from: metas[0].addr,
            to: metas[0].dst_ip,
        }))
    }

    /// Receives into as many of `slots` as there are datagrams waiting, waiting up to `patience` for
    /// the first. Each filled slot, from the first on, has its shape set; `arrivals` says when.
    /// Returns how long it waited.
    ///
    /// # Errors
    /// [`UdpError::Socket`] when the socket is broken.
    pub fn recv(
        &self,
        slots: &mut [Batch],
        arrivals: &mut ArrayVec<Arrival, RECEIVE_SLOTS>,
        patience: Duration,
    ) -> Result<Duration, UdpError> {
        arrivals.clear();
        let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
        let mut io_slots: ArrayVec<IoSliceMut<'_>, RECEIVE_SLOTS> = slots
            .iter_mut()
            .take(RECEIVE_SLOTS)
            .map(|batch| IoSliceMut::new(batch.spare()))
            .collect();
        let (filled, waited) = self.receive(&mut io_slots, &mut metas, patience)?;
        drop(io_slots);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        for (batch, meta) in slots.iter_mut().zip(&metas[..filled]) {
            // An empty datagram has no stride; it is too short for anything and dropped later.
            batch.fill(meta.len, meta.stride.max(1));
            let age = meta
                .timestamp
                .map_or(Duration::ZERO, |at| now.saturating_sub(at));
            arrivals.push(Arrival {
                from: meta.addr,
                to: meta.dst_ip,
                age: if age > AGE_MAX { Duration::ZERO } else { age },
                ecn: Ecn::of(meta),
            });
        }
        Ok(waited)
    }

    fn receive(
        &self,
        slots: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        patience: Duration,
    ) -> Result<(usize, Duration), UdpError> {
        let mut waited = Duration::ZERO;
        loop {
            match self
                .state
                .recv(UdpSockRef::from(&self.socket), slots, metas)
            {
                Ok(count) => return Ok((count, waited)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let start = Instant::now();
                    let ready = waited.is_zero() && self.wait(PollFlags::IN, patience)?;
                    waited += start.elapsed();
                    if !ready {
                        return Ok((0, waited));
                    }
                }
                // Unreachable notices can be forged: silence timers decide, not they.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::Interrupted
                            | io::ErrorKind::HostUnreachable
                            | io::ErrorKind::NetworkUnreachable
                    ) => {}
                Err(error) => return Err(UdpError::because("receive")(error)),
            }
        }
    }
}
