//! What the thread of a session does: turns the conduits, opens further ones, keeps the connection
//! alive.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::clock::timespec;
use crate::conduit::Conduit;
use crate::error::SshError;
use crate::host_key::HostKey;
use crate::link::{Link, would_block};
use crate::session::{RemoteExit, Shared};

/// How often something is sent on an idle connection, so that nobody in between forgets it.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A wish for another channel with a command of its own.
pub(crate) struct Wish {
    pub(crate) command: String,
    /// The thread's end of the caller's pipe, non-blocking.
    pub(crate) pipe: UnixStream,
    /// Told once, when the command has been started or was refused.
    pub(crate) granted: SyncSender<Result<(), ssh2::Error>>,
}

/// A channel on its way.
struct Opening {
    wish: Wish,
    channel: Option<ssh2::Channel>,
}

/// An authenticated connection and what runs over it.
pub(crate) struct Pump {
    link: Link,
    host_key: HostKey,
    /// The command that the session is for: its end is the session's.
    main: Conduit,
    /// Further ones. Those that have ended stay until the session does: they are few, and cost nothing.
    further: Vec<Conduit>,
    /// Those that broke. Freeing their channels would have to send something.
    broken: Vec<Conduit>,
    opening: Option<Opening>,
    wishes: Receiver<Wish>,
    /// Readable when there are wishes, until there can be none any more.
    bell: Option<UnixStream>,
    hold: UnixStream,
    shared: Arc<Shared>,
    keepalive_due: Instant,
}

impl Pump {
    /// Takes over a connection on which a command has been started. The session is closed when the
    /// other end of `hold` is.
    pub(crate) fn new(
        link: Link,
        host_key: HostKey,
        main: Conduit,
        (wishes, bell): (Receiver<Wish>, UnixStream),
        hold: UnixStream,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            link,
            host_key,
            main,
            further: Vec::new(),
            broken: Vec::new(),
            opening: None,
            wishes,
            bell: Some(bell),
            hold,
            shared,
            keepalive_due: Instant::now() + KEEPALIVE,
        }
    }

    /// Runs until the command has ended and the caller has its output, or the caller is gone.
    pub(crate) fn run(mut self) -> Result<RemoteExit, SshError> {
        let result = self.serve();
        if let Ok(RemoteExit::Abandoned) = result {
            self.main.close(&self.link);
        }
        self.link.hang_up();
        self.main.hang_up();
        self.further.iter().for_each(Conduit::hang_up);
        result
    }

    fn serve(&mut self) -> Result<RemoteExit, SshError> {
        self.link
            .session
            .set_keepalive(false, KEEPALIVE.as_secs() as u32);
        loop {
            let mut moved = self.main.turn(&self.link, &self.shared)?;
            moved |= self.turn_further();
            if !self.link.still_shows(&self.host_key) {
                return Err(SshError::HostKeyReplaced);
            }
            moved |= self.main.give_to_caller();
            for conduit in &mut self.further {
                moved |= conduit.give_to_caller();
            }
            moved |= self.open_further();
            if moved {
                continue;
            }
            if self.main.has_ended()? {
                return Ok(self.main.exit());
            }
            if self.main.cut_off().is_some_and(|at| Instant::now() >= at) {
                return Ok(RemoteExit::Abandoned);
            }
            self.keep_alive()?;
            self.wait()?;
        }
    }

    /// A further one that breaks is the end of what goes over it and of nothing else.
    fn turn_further(&mut self) -> bool {
        let mut moved = false;
        let (link, shared) = (&self.link, &self.shared);
        let broken = self.further.extract_if(.., |conduit| {
            let turned = conduit.turn(link, shared);
            moved |= turned.as_ref().is_ok_and(|moved| *moved);
            turned.is_err()
        });
        self.broken.extend(broken.inspect(Conduit::hang_up));
        moved
    }

    /// Goes on with opening a channel; whether there is one more, or one wish less.
    fn open_further(&mut self) -> bool {
        let wished = || self.wishes.try_recv().ok();
        let Some(mut opening) = self.opening.take().or_else(|| {
            wished().map(|wish| Opening {
                wish,
                channel: None,
            })
        }) else {
            return false;
        };
        match open(&self.link, &mut opening) {
            Ok(Some(channel)) => {
                let Wish { pipe, granted, .. } = opening.wish;
                let _ = granted.send(Ok(()));
                self.further.push(Conduit::new(channel, pipe));
                true
            }
            Ok(None) => {
                self.opening = Some(opening);
                false
            }
            Err(error) => {
                let _ = opening.wish.granted.send(Err(error));
                true
            }
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
        let conduits = || std::iter::once(&self.main).chain(&self.further);
        let awaited = conduits().fold(PollFlags::empty(), |all, one| all | one.awaited_of_remote());
        let awaited = match self.opening {
            Some(_) => awaited | PollFlags::IN,
            None => awaited,
        };
        let ssh = self.link.wanted(awaited);
        let until =
            (self.main.cut_off()).map_or(self.keepalive_due, |at| at.min(self.keepalive_due));
        let patience = timespec(until.saturating_duration_since(Instant::now()));

        // A descriptor whose other end is gone is always ready, so none is waited for that could
        // not be acted upon.
        let none = PollFlags::empty();
        let mut fds = Vec::with_capacity(4 + self.further.len());
        let is_here = self.main.awaited_of_caller().is_some();
        if is_here {
            fds.push(PollFd::new(&self.hold, none));
        }
        let bell_at = fds.len();
        fds.extend(
            self.bell
                .iter()
                .map(|bell| PollFd::new(bell, PollFlags::IN)),
        );
        let callers_at = fds.len();
        let callers = conduits().filter_map(Conduit::awaited_of_caller);
        fds.extend(callers.map(|(pipe, flags)| PollFd::new(pipe, flags)));
        if !ssh.is_empty() {
            fds.push(PollFd::new(self.link.socket(), ssh));
        }
        match poll(&mut fds, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(SshError::system("poll", e)),
        }
        let is_closed = is_here && fds[0].revents().contains(PollFlags::HUP);
        let has_rung = self.bell.is_some() && !fds[bell_at].revents().is_empty();
        let mut gone: Vec<bool> = conduits()
            .map(|one| one.awaited_of_caller().is_some())
            .collect();
        let here = gone.iter_mut().filter(|gone| **gone);
        for (gone, fd) in here.zip(&fds[callers_at..]) {
            *gone = fd.revents().contains(PollFlags::HUP);
        }
        drop(fds);
        // What cannot ring again need not be listened to.
        self.bell
            .take_if(|bell| has_rung && matches!(bell.read(&mut [0; 16]), Ok(0)));
        gone[0] |= is_closed;
        let conduits = std::iter::once(&mut self.main).chain(&mut self.further);
        for (conduit, _) in conduits.zip(gone).filter(|(_, gone)| *gone) {
            conduit.caller_is_gone();
        }
        Ok(())
    }
}

/// One step towards a channel on which the command runs; `None` while libssh2 has to wait.
fn open(link: &Link, opening: &mut Opening) -> Result<Option<ssh2::Channel>, ssh2::Error> {
    let waits = |e: ssh2::Error| if would_block(&e) { Ok(None) } else { Err(e) };
    let mut channel = match opening.channel.take() {
        Some(channel) => channel,
        None => match link.session.channel_session() {
            Ok(channel) => channel,
            Err(e) => return waits(e),
        },
    };
    match channel.exec(&opening.wish.command) {
        Ok(()) => Ok(Some(channel)),
        Err(e) => {
            opening.channel = Some(channel);
            waits(e)
        }
    }
}
