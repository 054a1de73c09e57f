use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn_udp::{UdpSockRef, UdpSocketState};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::OwnedFd,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::UdpError;

/// Socket buffer that is asked for, in each direction: 16 ms at 16 Gbit/s. The kernel grants at most
/// `net.core.rmem_max` and `wmem_max` unless the process may override them.
pub const BUFFER_BYTES_WANTED: usize = 32 << 20;

/// What the kernel granted, in bytes of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// Send buffer.
    pub send: usize,
    /// Receive buffer.
    pub recv: usize,
}

/// Where the peer is, and how to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The local address that the peer sends to, so that answers come from where it expects them
    /// on a host with several; `None` leaves it to the routing table, which may change its mind.
    pub source: Option<IpAddr>,
}

impl Route {
    /// To this peer, from wherever the routing table says.
    pub fn to(peer: SocketAddr) -> Self {
        Self { peer, source: None }
    }
}

/// One UDP socket and its peer. Threads may send and receive at the same time.
///
/// The socket is not connected: a peer whose address changes is still heard, and so is everybody
/// else. Who a datagram is from says [`crate::Arrival::from`].
pub struct UdpPath {
    pub(crate) socket: Socket,
    pub(crate) state: UdpSocketState,
    /// Read once a batch, written when the peer moves.
    route: RwLock<Option<Route>>,
    local: SocketAddr,
    buffers: BufferSizes,
    /// Readable once nobody should wait for datagrams any more.
    waker: OwnedFd,
    /// Set when the kernel or the user refused segmentation offload.
    pub(crate) one_by_one: AtomicBool,
    /// Datagrams that the local host dropped or refused to send.
    pub(crate) refused: AtomicU64,
}

impl UdpPath {
    /// Binds to the first free port of a range on `ip`; `0..=0` takes any port.
    ///
    /// # Errors
    /// [`UdpError::NoFreePort`], or [`UdpError::Socket`] when the kernel refuses for another reason.
    pub fn bind(ip: IpAddr, ports: RangeInclusive<u16>) -> Result<Self, UdpError> {
        for port in ports.clone() {
            match Self::bind_port(SocketAddr::new(ip, port)) {
                Err(UdpError::Socket { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Err(UdpError::NoFreePort { ip, ports })
    }

    fn bind_port(addr: SocketAddr) -> Result<Self, UdpError> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
            .map_err(UdpError::because("socket"))?;
        if addr.is_ipv6() {
            // A dual-stack socket would show IPv4 peers under two names.
            socket
                .set_only_v6(!addr.ip().is_unspecified())
                .map_err(UdpError::because("socket"))?;
        }
        socket
            .bind(&addr.into())
            .map_err(UdpError::because("bind"))?;
        let state =
            UdpSocketState::new(UdpSockRef::from(&socket)).map_err(UdpError::because("socket"))?;
        let buffers = enlarge_buffers(&socket);
        let local = socket
            .local_addr()
            .map_err(UdpError::because("address"))?
            .as_socket()
            .ok_or_else(|| UdpError::because("address")(io::ErrorKind::Unsupported.into()))?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| UdpError::because("waker")(errno.into()))?;
        Ok(Self {
            socket,
            state,
            route: RwLock::new(None),
            local,
            buffers,
            waker,
            one_by_one: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        })
    }

    /// The address this socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sets where the peer is from now on.
    pub fn set_route(&self, route: Route) {
        // Receive offload's stride, the kernel's time stamp, the mark and the local address are more
        // than the control messages of quinn-udp 0.6.3 have room for (96 bytes): the mark would be
        // left out. The local address is of no interest any more once the peer is known.
        use nix::sys::socket::{setsockopt, sockopt};
        let _ = setsockopt(&self.socket, sockopt::Ipv4PacketInfo, &false);
        let _ = setsockopt(&self.socket, sockopt::Ipv6RecvPacketInfo, &false);
        *self.route.write().unwrap_or_else(PoisonError::into_inner) = Some(route);
    }

    /// Where the peer is.
    pub fn route(&self) -> Option<Route> {
        *self.route.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.route().map(|route| route.peer)
    }

    /// What the kernel granted of the socket buffers asked for.
    pub fn buffers(&self) -> BufferSizes {
        self.buffers
    }

    /// Sends datagrams one at a time from now on, as where the kernel has no segmentation offload.
    pub fn disable_segmentation_offload(&self) {
        self.one_by_one.store(true, Relaxed);
    }

    /// Whether whole batches still go out in one system call.
    pub fn segmentation_offload(&self) -> bool {
        !self.one_by_one.load(Relaxed) && self.state.max_gso_segments() > 1
    }

    /// Datagrams that this host itself refused to send so far (firewall, no buffers).
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Datagrams that the kernel has dropped because the receive buffer was full; `None` where it
    /// does not tell (other systems than Linux, no `/proc`).
    pub fn overflowed(&self) -> Option<u64> {
        let table = if self.local.is_ipv6() {
            "/proc/net/udp6"
        } else {
            "/proc/net/udp"
        };
        let inode = rustix::fs::fstat(&self.socket).ok()?.st_ino;
        drops(&std::fs::read_to_string(table).ok()?, inode)
    }

    /// Ends all waiting, now and from now on: receiving returns at once with what is there.
    pub fn stop_waiting(&self) {
        // Full means that it has been called billions of times: it is readable all the same.
        let _ = rustix::io::write(&self.waker, &1u64.to_ne_bytes());
    }

    /// Waits until the socket is ready; `false` when `patience` ran out or nobody should wait.
    pub(crate) fn wait(&self, flags: PollFlags, patience: Duration) -> Result<bool, UdpError> {
        let timeout = Timespec {
            tv_sec: patience.as_secs().min(3600) as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        let mut fds = [
            PollFd::new(&self.socket, flags),
            PollFd::new(&self.waker, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(UdpError::because("poll")(errno.into())),
        }
    }
}

/// The last column of a socket's line in the kernel's table (proc_pid_net(5)).
fn drops(table: &str, inode: u64) -> Option<u64> {
    const INODE: usize = 9;
    let mut lines = table.lines().map(|line| line.split_ascii_whitespace());
    let mut columns = lines.find_map(|columns| {
        let of_socket = columns.clone().nth(INODE)?.parse() == Ok(inode);
        of_socket.then_some(columns)
    })?;
    columns.next_back()?.parse().ok()
}

/// Asks for large buffers, first the way only a privileged process may.
fn enlarge_buffers(socket: &Socket) -> BufferSizes {
    use rustix::net::sockopt;
    // The kernel doubles what it grants to make room for its own bookkeeping.
    let granted = |bytes: io::Result<usize>| bytes.unwrap_or(0) / 2;
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER_BYTES_WANTED).is_err() {
        // A refusal leaves the default in place, and the sizes below say so.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES_WANTED);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER_BYTES_WANTED).is_err() {
        let _ = socket.set_send_buffer_size(BUFFER_BYTES_WANTED);
    }
    BufferSizes {
        send: granted(socket.send_buffer_size()),
        recv: granted(socket.recv_buffer_size()),
    }
}

impl std::fmt::Debug for UdpPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpPath")
            .field("local", &self.local)
            .field("route", &self.route())
            .field("buffers", &self.buffers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_what_overflowed() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode ref pointer drops\n \
                     1: 0100007F:80E9 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                     0        0 4711 2 0000000000000000 0\n \
                     2: 0100007F:80EA 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                     0        0 4712 2 0000000000000000 93\n";
        assert_eq!(drops(table, 4712), Some(93));
        assert_eq!(drops(table, 4713), None);
        let path = UdpPath::bind([127, 0, 0, 1].into(), 0..=0).unwrap();
        assert_eq!(path.overflowed(), Some(0));
    }
}
