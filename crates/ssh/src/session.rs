//! What the caller holds of a session, and what it shares with the session's thread.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::connect;
use crate::error::{SshError, Stage};
use crate::escape::escaped;
use crate::pump::Wish;

/// Bytes kept of the remote command's stderr: the last ones, where the reason for its end stands.
const STDERR_BYTES_MAX: usize = 64 << 10;

/// How the remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteExit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal, named without `SIG` where the server names it.
    Signal(String),
    /// It had not ended when the session was closed.
    Abandoned,
}

/// A running remote command.
#[derive(Debug)]
pub struct Session {
    /// The remote command's stdin and stdout. Shutting down the writing half is end-of-file for the
    /// command; the command's end-of-file is the reader's. Dropping the stream asks the command to
    /// end.
    pub stream: UnixStream,
    /// The address connected to; `None` if an external program made the connection.
    pub peer: Option<IpAddr>,
    /// The host's name as the configuration resolves it, for finding its address where there is no
    /// [`Session::peer`].
    pub host_name: String,
    /// What was passed over in the configuration, for the user to know.
    pub warnings: Vec<String>,
    /// The command itself, for after [`Session::stream`] has been given away.
    pub remote: Remote,
    /// The way to further commands over the same connection; `None` if an external program made it.
    pub channels: Option<Channels>,
}

impl Session {
    /// See [`Remote::stderr`].
    pub fn stderr(&self) -> String {
        self.remote.stderr()
    }

    /// See [`Remote::exit_status`].
    ///
    /// # Errors
    /// As there.
    pub fn exit_status(&self, patience: Duration) -> Result<RemoteExit, SshError> {
        self.remote.exit_status(patience)
    }

    /// Drops the stream and closes the session: see [`Remote::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<RemoteExit, SshError> {
        drop(self.stream);
        self.remote.close()
    }
}

/// Starts further commands over a session's connection, each with a channel of its own, as long as the
/// session's own command runs.
#[derive(Debug, Clone)]
pub struct Channels {
    wishes: Sender<Wish>,
    /// Wakes the session's thread.
    bell: Arc<UnixStream>,
}

impl Channels {
    pub(crate) fn new() -> Result<(Self, (Receiver<Wish>, UnixStream)), SshError> {
        let (wishes, wished) = channel();
        let (bell, heard) = connect::pair()?;
        let bell = Arc::new(bell);
        Ok((Self { wishes, bell }, (wished, heard)))
    }

    /// Starts `command`; returns its stdin and stdout when it runs. It ends with the session, or when the
    /// stream is dropped and it ends by itself.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the session is over or the server refuses, and [`SshError::Timeout`] when
    /// it does not answer within `patience`.
    pub fn start(&self, command: &str, patience: Duration) -> Result<UnixStream, SshError> {
        let (stream, pipe) = connect::pair()?;
        let (granted, outcome) = sync_channel(1);
        let wish = Wish {
            command: command.to_owned(),
            pipe,
            granted,
        };
        let over = || SshError::lost("the session is over");
        self.wishes.send(wish).map_err(|_| over())?;
        (&*self.bell).write_all(&[0]).map_err(|_| over())?;
        match outcome.recv_timeout(patience) {
            Ok(granted) => granted
                .map(|()| stream)
                .map_err(|e| SshError::lost(e.message())),
            Err(RecvTimeoutError::Timeout) => Err(SshError::Timeout(Stage::Command)),
            Err(RecvTimeoutError::Disconnected) => Err(over()),
        }
    }
}

/// The remote command, apart from its stdin and stdout. Dropping it asks the command to end, and
/// cuts it off some seconds later, without waiting for that.
#[derive(Debug)]
pub struct Remote {
    shared: Arc<Shared>,
    /// Its other end tells the thread to close the session when this one is dropped.
    hold: Option<UnixStream>,
    worker: Option<JoinHandle<()>>,
}

impl Remote {
    pub(crate) fn new(shared: Arc<Shared>, hold: UnixStream, worker: JoinHandle<()>) -> Self {
        Self {
            shared,
            hold: Some(hold),
            worker: Some(worker),
        }
    }

    /// What the remote command has written to its stderr so far: at most the last 64 KiB, control
    /// characters as escapes.
    pub fn stderr(&self) -> String {
        escaped(&String::from_utf8_lossy(&self.shared.state().stderr))
    }

    /// Waits until the remote command has ended, and tells how.
    ///
    /// # Errors
    /// [`SshError::Timeout`] if it has not ended within `patience`; what broke the connection, if
    /// that is why there is no status.
    pub fn exit_status(&self, patience: Duration) -> Result<RemoteExit, SshError> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state();
        loop {
            if let Some(ended) = &state.ended {
                return ended.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SshError::Timeout(Stage::Exit));
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Closes the session in order: end-of-file for the command, a few seconds for it to end, then
    /// the channel, the connection and the thread. Output nobody has read is thrown away.
    ///
    /// # Errors
    /// What broke the connection, if it was broken.
    pub fn close(mut self) -> Result<RemoteExit, SshError> {
        self.hold = None;
        if let Some(worker) = self.worker.take() {
            worker.join().map_err(|_| SshError::WorkerDied)?;
        }
        self.exit_status(Duration::ZERO)
    }
}

/// What the session's thread tells the caller.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stderr: Vec<u8>,
    ended: Option<Result<RemoteExit, SshError>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in more of the command's stderr.
    pub(crate) fn push_stderr(&self, bytes: &[u8]) {
        let stderr = &mut self.state().stderr;
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_BYTES_MAX)..];
        let excess = (stderr.len() + bytes.len()).saturating_sub(STDERR_BYTES_MAX);
        stderr.drain(..excess);
        stderr.extend_from_slice(bytes);
    }

    fn end(&self, ended: Result<RemoteExit, SshError>) {
        self.state().ended.get_or_insert(ended);
        self.changed.notify_all();
    }
}

/// The thread's duty to say how the session ended, kept even when the thread panics.
pub(crate) struct Ending(Arc<Shared>);

impl Ending {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    pub(crate) fn tell(self, ended: Result<RemoteExit, SshError>) {
        self.0.end(ended);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(SshError::WorkerDied));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_keeps_its_end() {
        let shared = Shared::default();
        shared.push_stderr(&vec![b'a'; STDERR_BYTES_MAX]);
        shared.push_stderr(b"the end");
        let state = shared.state();
        assert_eq!(state.stderr.len(), STDERR_BYTES_MAX);
        assert!(state.stderr.ends_with(b"athe end"));
        drop(state);
        shared.push_stderr(&vec![b'b'; 3 * STDERR_BYTES_MAX]);
        assert!(shared.state().stderr.iter().all(|&b| b == b'b'));
    }

    #[test]
    fn a_thread_that_panics_still_ends_the_session() {
        let shared = Arc::new(Shared::default());
        let ending = Ending::new(&shared);
        let (hold, _held) = UnixStream::pair().unwrap();
        let worker = std::thread::spawn(move || {
            let _ending = ending;
            std::panic::resume_unwind(Box::new("defect"));
        });
        let remote = Remote::new(shared, hold, worker);
        let ended = remote.exit_status(Duration::from_secs(10));
        assert!(matches!(ended, Err(SshError::WorkerDied)), "{ended:?}");
        assert!(remote.close().is_err());
    }

    #[test]
    fn waiting_for_the_end_has_an_end() {
        let (hold, _held) = UnixStream::pair().unwrap();
        let shared = Arc::new(Shared::default());
        let remote = Remote::new(Arc::clone(&shared), hold, std::thread::spawn(|| {}));
        let early = remote.exit_status(Duration::from_millis(10));
        assert!(
            matches!(early, Err(SshError::Timeout(Stage::Exit))),
            "{early:?}"
        );
        Ending::new(&shared).tell(Ok(RemoteExit::Code(3)));
        assert_eq!(
            remote.exit_status(Duration::ZERO).unwrap(),
            RemoteExit::Code(3)
        );
    }
}
