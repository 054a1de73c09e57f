//! Keys on the terminal while a transfer runs.
//!
//! The terminal is in its "cbreak" mode only while data flows and haul is in the foreground: keys
//! come at once and are not echoed, and Ctrl-C and Ctrl-Z stay signals. It gets its settings back
//! at the end, before a stop, and before death by a signal; a haul in the background never
//! touches it.

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{getpgrp, getpid, getppid, getsid},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
    },
};
use signal_hook::low_level::emulate_default_handler;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::UnboundedSender,
    task::JoinHandle,
};

use crate::{signals, steer::Order};

/// Between two looks at whether haul is in the foreground (again) and still wanted.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 150_000_000,
};
/// What the keys do, for `?`.
pub(crate) const HELP: &str = "keys: + and - change the target rate by a step, 0 lifts it, p goes to \
                               the next policy, q cancels";

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// An order to the transfer.
    Order(Order),
    /// What keys there are.
    Help,
}

impl Key {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(Self::Order(match byte {
            b'+' | b'=' => Order::Faster,
            b'-' | b'_' => Order::Slower,
            b'0' | b'u' => Order::Rate(None),
            b'p' => Order::NextPolicy,
            b'q' => Order::Cancel,
            b'?' | b'h' => return Some(Self::Help),
            _ => return None,
        }))
    }
}

/// The terminal's settings from before, while they are changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Listens to keys until dropped.
#[derive(Debug)]
pub(crate) struct Keys {
    unwanted: Arc<AtomicBool>,
    signals: JoinHandle<()>,
}

impl Keys {
    /// Begins, if standard input is a terminal. Must be called within a runtime, and when nobody
    /// is going to be asked anything any more.
    pub(crate) fn listen(keys: UnboundedSender<Key>) -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let unwanted = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&unwanted);
        let listener = std::thread::Builder::new().name("haul-keys".to_owned());
        // Without a thread there are no keys; the transfer is more important.
        listener.spawn(move || read(&stop, &keys)).ok()?;
        Some(Self {
            unwanted,
            signals: tokio::spawn(heed_signals()),
        })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.signals.abort();
        self.unwanted.store(true, Relaxed);
        restore();
    }
}

/// Gives the terminal its settings back, if they were changed.
pub(crate) fn restore() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    put_back(&mut before);
}

fn put_back(before: &mut Option<Termios>) {
    // In the background the terminal is somebody else's, with settings of their own.
    if let Some(settings) = before.take()
        && is_foreground()
    {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }
}

/// Whether the terminal is this process group's now.
fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn read(unwanted: &AtomicBool, keys: &UnboundedSender<Key>) {
    // Between a look and a read haul may be put in the background; with these blocked the read
    // fails then, instead of stopping the whole process (termios(3), "job control").
    let mut job_control = SigSet::empty();
    job_control.add(Signal::SIGTTIN);
    job_control.add(Signal::SIGTTOU);
    let _ = job_control.thread_block();
    let stdin = io::stdin();
    while !unwanted.load(Relaxed) {
        if !take_over(unwanted) {
            std::thread::sleep(Duration::from_millis(150));
            continue;
        }
        let mut ready = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        if !matches!(poll(&mut ready, Some(&GLANCE)), Ok(1)) || !is_foreground() {
            continue;
        }
        let mut bytes = [0; 64];
        match rustix::io::read(&stdin, &mut bytes) {
            // The terminal has gone.
            Ok(0) => return,
            Ok(count) => {
                for key in bytes[..count].iter().copied().filter_map(Key::from_byte) {
                    // Nobody listens any more when the transfer is over.
                    let _ = keys.send(key);
                }
            }
            Err(rustix::io::Errno::IO | rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Makes keys come at once and unseen, in the foreground; in the background forgets that they did,
/// for the shell has given the terminal its own settings. Whether keys may be read now.
fn take_over(unwanted: &AtomicBool) -> bool {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_foreground() {
        *before = None;
        return false;
    }
    if unwanted.load(Relaxed) {
        return false;
    }
    if before.is_some() {
        return true;
    }
    let Ok(settings) = tcgetattr(io::stdin()) else {
        return false;
    };
    let mut changed = settings.clone();
    changed
        .local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    changed.special_codes[SpecialCodeIndex::VMIN] = 1;
    changed.special_codes[SpecialCodeIndex::VTIME] = 0;
    // Discards what was typed before: it was not meant for us.
    if tcsetattr(io::stdin(), OptionalActions::Flush, &changed).is_err() {
        return false;
    }
    *before = Some(settings);
    true
}

/// Puts the terminal right before the signals that would leave it wrong do what they always do.
async fn heed_signals() {
    let ignored = signals::ignored();
    let listen = |number: i32| {
        let wanted = ignored & (1_u64 << (number - 1)) == 0;
        wanted
            .then(|| signal(SignalKind::from_raw(number)).ok())
            .flatten()
    };
    let mut stop = listen(Signal::SIGTSTP as i32);
    let mut quit = listen(Signal::SIGQUIT as i32);
    loop {
        tokio::select! {
            () = signals::next(&mut stop) => suspend(),
            () = signals::next(&mut quit) => {
                restore();
                // Ends the process.
                let _ = emulate_default_handler(Signal::SIGQUIT as i32);
            }
        }
    }
}

/// Stops as Ctrl-Z wants it, with the terminal as it was. The lock keeps the listener from taking
/// it over again in between.
fn suspend() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    put_back(&mut before);
    if can_be_resumed() {
        let _ = emulate_default_handler(Signal::SIGTSTP as i32);
    }
}

/// Whether there is a shell that could resume this process: nobody stops who has none (POSIX.1,
/// "orphaned process group").
fn can_be_resumed() -> bool {
    let session = getsid(None).ok();
    let parents = getppid().and_then(|parent| getsid(Some(parent)).ok());
    session.is_some() && session != Some(getpid()) && session == parents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_keys_there_are() {
        for byte in HELP.bytes().filter(|byte| b"+-0".contains(byte)) {
            assert!(Key::from_byte(byte).is_some());
        }
        for (byte, order) in [
            (b'+', Order::Faster),
            (b'-', Order::Slower),
            (b'0', Order::Rate(None)),
            (b'p', Order::NextPolicy),
            (b'q', Order::Cancel),
        ] {
            assert_eq!(Key::from_byte(byte), Some(Key::Order(order)));
        }
        assert_eq!(Key::from_byte(b'?'), Some(Key::Help));
        assert_eq!(Key::from_byte(b'\n'), None);
        assert_eq!(Key::from_byte(0x1b), None);
    }
}
