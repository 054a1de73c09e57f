//! Moves bytes between the caller's pipe and the SSH channel until both are done.
//!
//! ```text
//!  caller ──► pipe ──► to_remote ──► channel (stdin)
//!  caller ◄── pipe ◄── to_caller ◄── channel (stdout)      channel (stderr) ──► Shared
//! ```
//!
//! Both buffers are bounded. While `to_caller` is full the channel is not read, so its window runs
//! out and the remote command has to wait; while `to_remote` is full the pipe is not read.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::clock::timespec;
use crate::error::SshError;
use crate::host_key::HostKey;
use crate::link::{Link, would_block};
use crate::session::{RemoteExit, Shared};

/// Bytes on the way in each direction, besides what kernel and channel window hold.
const BUFFER_BYTES: usize = 128 << 10;
/// Bytes of stderr taken at once.
const STDERR_CHUNK: usize = 4 << 10;
/// How long the remote command may take to end once the caller is gone.
const GRACE: Duration = Duration::from_secs(5);
/// How often something is sent on an idle connection, so that nobody in between forgets it.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Bytes on their way, first in, first out.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn has_room(&self) -> bool {
        self.end < self.bytes.len()
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    fn add(&mut self, count: usize) {
        self.end += count;
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}

/// How far the caller's side of the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    /// May still write.
    Writing,
    /// Has shut down its writing half.
    Finished,
    /// Is gone: nobody reads either.
    Gone,
}

/// A channel with a running command, and the caller's pipe to it.
pub(crate) struct Pump {
    link: Link,
    channel: ssh2::Channel,
    host_key: HostKey,
    pipe: UnixStream,
    hold: UnixStream,
    shared: Arc<Shared>,
    to_remote: Buffer,
    to_caller: Buffer,
    caller: Caller,
    /// We have told the remote command that no more input comes.
    eof_sent: bool,
    /// We have told the caller that no more output comes.
    eof_passed: bool,
    /// When a command whose caller is gone is cut off.
    cut_off: Option<Instant>,
    keepalive_due: Instant,
}

impl Pump {
    /// Takes over a channel on which a command has been started. The session is closed when the
    /// other end of `hold` is.
    pub(crate) fn new(
        link: Link,
        channel: ssh2::Channel,
        host_key: HostKey,
        pipe: UnixStream,
        hold: UnixStream,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            link,
            channel,
            host_key,
            pipe,
            hold,
            shared,
            to_remote: Buffer::new(),
            to_caller: Buffer::new(),
            caller: Caller::Writing,
            eof_sent: false,
            eof_passed: false,
            cut_off: None,
            keepalive_due: Instant::now() + KEEPALIVE,
        }
    }

    /// Runs until the command has ended and the caller has its output, or the caller is gone.
    pub(crate) fn run(mut self) -> Result<RemoteExit, SshError> {
        let result = self.serve();
        if let Ok(RemoteExit::Abandoned) = result
            && self.link.is_writable()
        {
            let _ = self.channel.close();
        }
        self.link.hang_up();
        let _ = self.pipe.shutdown(Shutdown::Both);
        result
    }

    fn serve(&mut self) -> Result<RemoteExit, SshError> {
        self.link
            .session
            .set_keepalive(false, KEEPALIVE.as_secs() as u32);
        loop {
            let mut moved = self.take_from_caller()?;
            moved |= self.give_to_remote()?;
            moved |= self.take_from_remote()?;
            moved |= self.give_to_caller();
            if moved {
                continue;
            }
            if self.to_caller.is_empty() && self.remote_has_ended()? {
                return Ok(self.exit());
            }
            if self.cut_off.is_some_and(|at| Instant::now() >= at) {
                return Ok(RemoteExit::Abandoned);
            }
            self.keep_alive()?;
            self.wait()?;
        }
    }

    fn take_from_caller(&mut self) -> Result<bool, SshError> {
        if self.eof_sent || !self.to_remote.has_room() {
            return Ok(false);
        }
        match self.pipe.read(self.to_remote.room()) {
            Ok(0) => {
                let news = self.caller == Caller::Writing;
                self.caller = self.caller.max(Caller::Finished);
                Ok(news)
            }
            Ok(count) => {
                self.to_remote.add(count);
                Ok(true)
            }
            Err(e) if is_temporary(&e) => Ok(false),
            // A reset: the caller is gone without having read everything.
            Err(_) => {
                self.caller_is_gone();
                Ok(false)
            }
        }
    }

    fn give_to_remote(&mut self) -> Result<bool, SshError> {
        if !self.to_remote.is_empty() {
            return match self.channel.write(self.to_remote.filled()) {
                Ok(count) => {
                    self.to_remote.take(count);
                    Ok(count > 0)
                }
                Err(e) if is_temporary(&e) => Ok(false),
                // The command has closed its input: nothing that is left can be delivered.
                Err(_) if self.channel.eof() => {
                    self.to_remote = Buffer::new();
                    self.eof_sent = true;
                    Ok(true)
                }
                Err(e) => Err(lost(&e)),
            };
        }
        if self.caller == Caller::Writing || self.eof_sent || !self.link.is_writable() {
            return Ok(false);
        }
        match self.channel.send_eof() {
            Ok(()) => {
                self.eof_sent = true;
                Ok(true)
            }
            Err(e) if would_block(&e) => Ok(false),
            Err(_) if self.channel.eof() => {
                self.eof_sent = true;
                Ok(true)
            }
            Err(e) => Err(SshError::lost(e.message())),
        }
    }

    fn take_from_remote(&mut self) -> Result<bool, SshError> {
        if !self.to_caller.has_room() {
            return Ok(false);
        }
        let mut chunk = [0; STDERR_CHUNK];
        let stderr = match self.channel.stderr().read(&mut chunk) {
            Ok(count) => count,
            Err(e) if is_temporary(&e) => 0,
            Err(e) => return Err(lost(&e)),
        };
        self.shared.push_stderr(&chunk[..stderr]);
        let stdout = match self.channel.read(self.to_caller.room()) {
            Ok(count) => count,
            Err(e) if is_temporary(&e) => 0,
            Err(e) => return Err(lost(&e)),
        };
        self.to_caller.add(stdout);
        if !self.link.still_shows(&self.host_key) {
            return Err(SshError::HostKeyReplaced);
        }
        Ok(stderr + stdout > 0)
    }

    fn give_to_caller(&mut self) -> bool {
        if self.caller == Caller::Gone {
            self.to_caller = Buffer::new();
        }
        if self.to_caller.is_empty() {
            if !self.eof_passed && self.channel.eof() {
                let _ = self.pipe.shutdown(Shutdown::Write);
                self.eof_passed = true;
            }
            return false;
        }
        match self.pipe.write(self.to_caller.filled()) {
            Ok(count) => {
                self.to_caller.take(count);
                count > 0
            }
            Err(e) if is_temporary(&e) => false,
            Err(_) => {
                self.caller_is_gone();
                true
            }
        }
    }

    /// What the caller wrote before it went is still delivered; what comes back is thrown away.
    fn caller_is_gone(&mut self) {
        self.caller = Caller::Gone;
        self.cut_off.get_or_insert_with(|| Instant::now() + GRACE);
    }

    /// Whether the server has closed the channel, which it does after the command's status.
    fn remote_has_ended(&mut self) -> Result<bool, SshError> {
        if !self.channel.eof() {
            return Ok(false);
        }
        match self.channel.wait_close() {
            Ok(()) => Ok(true),
            Err(e) if would_block(&e) => Ok(false),
            Err(e) => Err(SshError::lost(e.message())),
        }
    }

    fn exit(&self) -> RemoteExit {
        let signal = self
            .channel
            .exit_signal()
            .ok()
            .and_then(|signal| signal.exit_signal);
        match signal {
            Some(signal) => RemoteExit::Signal(crate::escape::escaped(&signal)),
            None => RemoteExit::Code(self.channel.exit_status().unwrap_or(0)),
        }
    }

    fn keep_alive(&mut self) -> Result<(), SshError> {
        if Instant::now() < self.keepalive_due {
            return Ok(());
        }
        self.keepalive_due = Instant::now() + KEEPALIVE;
        if self.link.is_writable() {
            self.link
                .session
                .keepalive_send()
                .map_err(|e| SshError::lost(e.message()))?;
        }
        Ok(())
    }

    /// Waits until something can move.
    fn wait(&mut self) -> Result<(), SshError> {
        let read_ssh = self.to_caller.has_room() || !self.to_remote.is_empty();
        let read_ssh = if read_ssh {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut ssh = self.link.wanted(read_ssh);
        if self.caller != Caller::Writing && !self.eof_sent && self.to_remote.is_empty() {
            ssh |= PollFlags::OUT;
        }
        let mut pipe = PollFlags::empty();
        if self.caller == Caller::Writing && self.to_remote.has_room() && !self.eof_sent {
            pipe |= PollFlags::IN;
        }
        if !self.to_caller.is_empty() {
            pipe |= PollFlags::OUT;
        }
        let until = self
            .cut_off
            .map_or(self.keepalive_due, |at| at.min(self.keepalive_due));
        let patience = timespec(until.saturating_duration_since(Instant::now()));

        // A descriptor whose other end is gone is always ready, so none is waited for that could
        // not be acted upon.
        let gone = self.caller == Caller::Gone;
        let none = PollFlags::empty();
        let mut fds = Vec::with_capacity(3);
        if !gone {
            fds.push(PollFd::new(&self.pipe, pipe));
            fds.push(PollFd::new(&self.hold, none));
        }
        if !ssh.is_empty() {
            fds.push(PollFd::new(self.link.socket(), ssh));
        }
        match poll(&mut fds, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(SshError::system("poll", e)),
        }
        let hung_up = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::HUP);
        if !gone && fds[..2].iter().any(hung_up) {
            self.caller_is_gone();
        }
        Ok(())
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn lost(error: &io::Error) -> SshError {
    SshError::lost(error.to_string())
}
