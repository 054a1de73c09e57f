//! A thread beside the one that makes and fills files.

use std::{io, panic, thread};

/// Runs until nobody can give it work any more, and leaves something.
#[derive(Debug)]
pub(super) struct Worker<T>(Option<thread::JoinHandle<T>>);

impl<T: Send + 'static> Worker<T> {
    pub(super) fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let thread = thread::Builder::new().name(name.to_owned());
        Ok(Self(Some(thread.spawn(work)?)))
    }

    /// Waits for its end: what it has left, unless that was taken before. A panic over there is one here.
    pub(super) fn join(&mut self) -> Option<T> {
        match self.0.take()?.join() {
            Ok(left) => Some(left),
            Err(panic) if !thread::panicking() => panic::resume_unwind(panic),
            Err(_) => None,
        }
    }
}
