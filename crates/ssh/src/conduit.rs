//! Moves bytes between the caller's pipe and one SSH channel until both are done.
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
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::error::SshError;
use crate::link::{Link, would_block};
use crate::session::{RemoteExit, Shared};

/// Bytes on the way in each direction, besides what kernel and channel window hold.
const BUFFER_BYTES: usize = 128 << 10;
/// Bytes taken from the channel at once, as much of each of its streams: libssh2 works out from this how
/// far to open the channel's window. If it could not send that at once, it works it out again with what
/// it is asked for by then, and believes that: were that less, the server's data beyond it would be
/// thrown away.
const CHUNK: usize = 32 << 10;
/// How long the remote command may take to end once the caller is gone.
const GRACE: Duration = Duration::from_secs(5);

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

    fn has_room_for(&self, count: usize) -> bool {
        self.bytes.len() - self.end >= count
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
pub(crate) struct Conduit {
    channel: ssh2::Channel,
    pipe: UnixStream,
    to_remote: Buffer,
    to_caller: Buffer,
    caller: Caller,
    /// We have told the remote command that no more input comes.
    eof_sent: bool,
    /// We have told the caller that no more output comes.
    eof_passed: bool,
    /// When a command whose caller is gone is cut off.
    cut_off: Option<Instant>,
}

impl Conduit {
    /// Takes over a channel on which a command has been started, and this end of the caller's pipe.
    pub(crate) fn new(channel: ssh2::Channel, pipe: UnixStream) -> Self {
        Self {
            channel,
            pipe,
            to_remote: Buffer::new(),
            to_caller: Buffer::new(),
            caller: Caller::Writing,
            eof_sent: false,
            eof_passed: false,
            cut_off: None,
        }
    }

    /// Moves what can be moved now, all but what has come for the caller; whether anything could.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the channel is.
    pub(crate) fn turn(&mut self, link: &Link, shared: &Shared) -> Result<bool, SshError> {
        let mut moved = self.take_from_caller()?;
        moved |= self.give_to_remote(link)?;
        moved |= self.take_from_remote(shared)?;
        Ok(moved)
    }

    fn take_from_caller(&mut self) -> Result<bool, SshError> {
        if self.eof_sent || !self.to_remote.has_room_for(1) {
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

    fn give_to_remote(&mut self, link: &Link) -> Result<bool, SshError> {
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
        if self.caller == Caller::Writing || self.eof_sent || !link.is_writable() {
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

    fn take_from_remote(&mut self, shared: &Shared) -> Result<bool, SshError> {
        if !self.to_caller.has_room_for(CHUNK) {
            return Ok(false);
        }
        let chunk = &mut self.to_caller.room()[..CHUNK];
        let stderr = unless_temporary(self.channel.stderr().read(chunk))?;
        shared.push_stderr(&chunk[..stderr]);
        let stdout = unless_temporary(self.channel.read(chunk))?;
        self.to_caller.add(stdout);
        Ok(stderr + stdout > 0)
    }

    /// Hands over what has come; whether the caller took any of it.
    pub(crate) fn give_to_caller(&mut self) -> bool {
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
    pub(crate) fn caller_is_gone(&mut self) {
        self.caller = Caller::Gone;
        self.cut_off.get_or_insert_with(|| Instant::now() + GRACE);
    }

    /// When a command is cut off whose caller is gone.
    pub(crate) fn cut_off(&self) -> Option<Instant> {
        self.cut_off
    }

    /// Whether the remote command has ended and the caller has all of its output.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the channel is.
    pub(crate) fn has_ended(&mut self) -> Result<bool, SshError> {
        Ok(self.to_caller.is_empty() && self.remote_has_ended()?)
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

    /// How the remote command ended.
    pub(crate) fn exit(&self) -> RemoteExit {
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

    /// Closes the channel, if that fits into the socket now.
    pub(crate) fn close(&mut self, link: &Link) {
        if link.is_writable() {
            let _ = self.channel.close();
        }
    }

    /// Tells the caller that nothing comes any more, either way.
    pub(crate) fn hang_up(&self) {
        let _ = self.pipe.shutdown(Shutdown::Both);
    }

    /// The caller's pipe, and what to wait for there; `None` when the caller is gone, for it would
    /// always be ready.
    pub(crate) fn awaited_of_caller(&self) -> Option<(&UnixStream, PollFlags)> {
        let mut flags = PollFlags::empty();
        if self.caller == Caller::Writing && self.to_remote.has_room_for(1) && !self.eof_sent {
            flags |= PollFlags::IN;
        }
        if !self.to_caller.is_empty() {
            flags |= PollFlags::OUT;
        }
        (self.caller != Caller::Gone).then_some((&self.pipe, flags))
    }

    /// What to wait for at the SSH connection.
    pub(crate) fn awaited_of_remote(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if self.to_caller.has_room_for(CHUNK) || !self.to_remote.is_empty() {
            flags |= PollFlags::IN;
        }
        if self.caller != Caller::Writing && !self.eof_sent && self.to_remote.is_empty() {
            flags |= PollFlags::OUT;
        }
        flags
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Nothing, if there is nothing yet.
fn unless_temporary(read: io::Result<usize>) -> Result<usize, SshError> {
    match read {
        Err(e) if is_temporary(&e) => Ok(0),
        read => read.map_err(|e| lost(&e)),
    }
}

fn lost(error: &io::Error) -> SshError {
    SshError::lost(error.to_string())
}
