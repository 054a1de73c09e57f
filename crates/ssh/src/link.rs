//! libssh2 without blocking: each operation is repeated as the socket allows, up to a deadline.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use ssh2::{BlockDirections, ErrorCode, MethodType};

use crate::clock::timespec;
use crate::error::{SshError, Stage};
use crate::host_key::HostKey;

const _: () = assert!(
    option_env!("LIBSSH2_SYS_USE_PKG_CONFIG").is_none(),
    "the system's libssh2 must not be linked: it may lack security fixes the bundled one has"
);

/// `LIBSSH2_ERROR_EAGAIN`.
const EAGAIN: ErrorCode = ErrorCode::Session(-37);
/// `SSH_DISCONNECT_BY_APPLICATION` in words.
const FAREWELL: &str = "done";

/// Ciphers, best first. GCM leads: it is fast and was never open to prefix truncation (Terrapin),
/// whatever the server does about that. CBC is left out.
const CIPHERS: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
    chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
/// MACs for the ciphers that need one, encrypt-then-MAC first.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
    hmac-sha2-256,hmac-sha2-512";

/// An SSH session and the socket it runs over.
pub(crate) struct Link {
    pub(crate) session: ssh2::Session,
    socket: Arc<TcpStream>,
}

impl Link {
    /// Takes over a connected socket. `host_keys` are the host key algorithms to ask for.
    ///
    /// # Errors
    /// [`SshError::Lost`] when libssh2 refuses, which for these constants would be its defect.
    pub(crate) fn new(socket: TcpStream, host_keys: &str) -> Result<Self, SshError> {
        socket
            .set_nonblocking(true)
            .map_err(|e| SshError::system("socket", e))?;
        let socket = Arc::new(socket);
        let prepare = || -> Result<ssh2::Session, ssh2::Error> {
            let mut session = ssh2::Session::new()?;
            session.set_blocking(false);
            session.method_pref(MethodType::HostKey, host_keys)?;
            for (method, names) in [
                (MethodType::CryptCs, CIPHERS),
                (MethodType::CryptSc, CIPHERS),
                (MethodType::MacCs, MACS),
                (MethodType::MacSc, MACS),
            ] {
                session.method_pref(method, names)?;
            }
            session.set_tcp_stream(Arc::clone(&socket));
            Ok(session)
        };
        let session = prepare().map_err(|e| SshError::lost(e.message()))?;
        Ok(Self { session, socket })
    }

    /// Repeats `operation` until it neither succeeds nor wants to wait; what libssh2 says about it
    /// is the inner result. Only waiting counts against `patience`: time a user takes to answer a
    /// question within the operation does not.
    ///
    /// # Errors
    /// [`SshError::Timeout`] naming `stage`.
    pub(crate) fn drive<T>(
        &self,
        patience: Duration,
        stage: Stage,
        mut operation: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>, SshError> {
        let mut left = patience;
        loop {
            match operation() {
                Err(e) if e.code() == EAGAIN => {}
                result => return Ok(result),
            }
            if left.is_zero() {
                return Err(SshError::Timeout(stage));
            }
            self.acknowledge();
            let began = Instant::now();
            let mut fds = [PollFd::new(&self.socket, self.wanted(PollFlags::IN))];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(SshError::system("poll", e)),
            }
            left = left.saturating_sub(began.elapsed());
        }
    }

    /// Tells the server at once what has arrived. Servers that leave Nagle's algorithm on while they
    /// log a user in hold back a message until the one before it is acknowledged, which this host
    /// would otherwise put off for some 40 ms.
    fn acknowledge(&self) {
        // Without it the login only takes longer.
        let _ = sockopt::set_tcp_quickack(&*self.socket, true);
    }

    /// The socket, for poll(2).
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// `read` and, if libssh2 waits to send, also the flag for that.
    pub(crate) fn wanted(&self, read: PollFlags) -> PollFlags {
        match self.session.block_directions() {
            BlockDirections::Outbound | BlockDirections::Both => read | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => read,
        }
    }

    /// Whether a small packet surely fits into the socket's buffer now.
    ///
    /// libssh2 keeps the address of a packet it could send only a part of, and for end-of-file and
    /// keep-alive messages that address is on its stack. So these are sent only when they fit.
    pub(crate) fn is_writable(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        let found = poll(&mut fds, Some(&timespec(Duration::ZERO)));
        found.is_ok() && self.wanted(PollFlags::empty()).is_empty() && {
            fds[0].revents().contains(PollFlags::OUT)
        }
    }

    /// The key the server last proved to hold.
    pub(crate) fn host_key(&self) -> Option<HostKey> {
        self.session.host_key().map(|(blob, _)| HostKey::new(blob))
    }

    /// Whether the server still is who it was: a rekeying may not bring another key.
    pub(crate) fn still_shows(&self, key: &HostKey) -> bool {
        self.session
            .host_key()
            .is_some_and(|(blob, _)| blob == key.blob())
    }

    /// Says goodbye if there is room to, and hangs up.
    pub(crate) fn hang_up(&self) {
        if self.is_writable() {
            let _ = self.session.disconnect(None, FAREWELL, None);
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Whether `error` only says that libssh2 would have to wait.
pub(crate) fn would_block(error: &ssh2::Error) -> bool {
    error.code() == EAGAIN
}
