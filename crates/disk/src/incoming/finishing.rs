//! What has all its content gets its attributes and its final name: on a thread of its own, so that a
//! million small files are not finished by the one thread that makes and fills them.

use std::{
    io,
    mem::take,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use rustix::{
    fs::{Mode, OFlags, Stat, fstat, fsync, openat},
    io::Errno,
};

use super::{
    attributes::Attributes,
    files::Listed,
    links::Link,
    nameless,
    naming::Naming,
    partial::Partial,
    published::{Published, Stamp},
};
use crate::{FailureKind, lru::descriptors};

/// Most that are being finished at a time: each holds a descriptor.
const OPEN_MAX: usize = 128;

/// Something to be finished, and the directory that it goes into.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A file that has been written under a partial name.
    Partial(Listed, Partial, OwnedFd),
    /// A file that has been written and has no name.
    Nameless(Listed, OwnedFd),
    /// A file without content: empty, or all hole.
    Hollow(Listed),
    /// A file that was there before, as it was found.
    There(Listed, Stat),
    /// A symbolic link.
    Link(Link),
}

impl What {
    pub(super) fn into_finished(self) -> Finished {
        match self {
            Self::Partial(listed, ..) | Self::Nameless(listed, _) | Self::Hollow(listed) => {
                Finished::File(listed)
            }
            Self::There(listed, _) => Finished::There(listed),
            Self::Link(link) => Finished::Link(link),
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) what: Finished,
    /// How a file is now.
    pub(super) outcome: Result<Option<Stamp>, FailureKind>,
}

#[derive(Debug)]
pub(super) enum Finished {
    File(Listed),
    There(Listed),
    Link(Link),
}

/// The finishing thread. Dropping this waits until it has done all it was given.
#[derive(Debug)]
pub(super) struct Finishing {
    jobs: Option<Sender<Vec<Job>>>,
    done: Receiver<Vec<Done>>,
    thread: Option<JoinHandle<Published>>,
    /// Not handed over yet: waking the thread for each would cost as much as the work.
    gathered: Vec<Job>,
    outstanding: usize,
    /// Done, and not told yet.
    untold: Vec<Done>,
    open_max: usize,
}

impl Finishing {
    /// `syncs`: each file is on the disk before it has its name.
    pub(super) fn start(attributes: Attributes, syncs: bool, naming: Naming) -> io::Result<Self> {
        let (jobs, jobs_in) = channel::<Vec<Job>>();
        let (done_out, done) = channel();
        let thread = std::thread::Builder::new()
            .name("haul-finish".to_owned())
            .spawn(move || {
                let mut finisher = Finisher {
                    attributes,
                    syncs,
                    published: Published::new(naming),
                };
                for jobs in jobs_in {
                    let done: Vec<Done> =
                        jobs.into_iter().map(|job| finisher.finish(job)).collect();
                    // Whoever has given up wants it done all the same.
                    let _ = done_out.send(done);
                }
                finisher.published
            })?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            gathered: Vec::new(),
            outstanding: 0,
            untold: Vec::new(),
            open_max: descriptors(OPEN_MAX),
        })
    }

    pub(super) fn add(&mut self, job: Job) {
        self.gathered.push(job);
        if self.gathered.len() >= self.open_max {
            self.hand_over();
        }
    }

    /// Lets what has been gathered be done.
    pub(super) fn hand_over(&mut self) {
        let jobs = take(&mut self.gathered);
        let Some(queue) = self.jobs.as_ref().filter(|_| !jobs.is_empty()) else {
            return;
        };
        let count = jobs.len();
        // A thread that has gone has panicked: that is told where its results are awaited.
        let _ = queue.send(jobs);
        self.outstanding += count;
        while self.outstanding > self.open_max {
            self.await_some();
        }
    }

    /// Waits until all is done.
    pub(super) fn wait(&mut self) {
        self.hand_over();
        while self.outstanding > 0 {
            self.await_some();
        }
    }

    /// Whether everything is done and told.
    pub(super) fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.outstanding == 0 && self.untold.is_empty()
    }

    /// What has been done since the last call.
    pub(super) fn take_done(&mut self) -> Vec<Done> {
        while let Ok(done) = self.done.try_recv() {
            self.note(done);
        }
        take(&mut self.untold)
    }

    fn await_some(&mut self) {
        match self.done.recv() {
            Ok(done) => self.note(done),
            Err(_) => drop(self.end()),
        }
    }

    fn note(&mut self, done: Vec<Done>) {
        self.outstanding -= done.len();
        self.untold.extend(done);
    }

    /// Ends the thread, which has done everything: what has been given names. A panic over there is one
    /// here.
    pub(super) fn end(&mut self) -> Published {
        self.jobs = None;
        self.outstanding = 0;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(published)) => published,
            Some(Err(panic)) if !std::thread::panicking() => std::panic::resume_unwind(panic),
            _ => Published::default(),
        }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        self.hand_over();
        self.end();
    }
}

/// The thread's own: it alone gives names, so it alone knows which are this transfer's.
struct Finisher {
    attributes: Attributes,
    syncs: bool,
    published: Published,
}

impl Finisher {
    fn finish(&mut self, Job { dir, what }: Job) -> Done {
        let outcome = match &what {
            What::Partial(listed, partial, fd) => self.publish(&dir, listed, partial, fd),
            What::Nameless(listed, fd) => self.link(&dir, listed, fd),
            What::Hollow(listed) => self.create_hollow(&dir, listed),
            What::There(listed, stat) => self.keep(&dir, listed, stat),
            What::Link(link) => {
                let made = link.create(&dir, &self.attributes, &mut self.published);
                made.map(|()| None)
            }
        };
        let what = what.into_finished();
        Done { what, outcome }
    }

    fn create_hollow(
        &mut self,
        dir: &OwnedFd,
        listed: &Listed,
    ) -> Result<Option<Stamp>, FailureKind> {
        if listed.size == 0 {
            // Nothing can be seen half written of an empty file: no detour by a partial name.
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(self.attributes.mode(&listed.meta));
            match openat(dir, listed.name.as_bytes(), flags, mode) {
                Ok(fd) => {
                    let stamp = self.apply(&fd, listed, &fstat(&fd)?)?;
                    self.published.insert(stamp.file);
                    return Ok(Some(stamp));
                }
                Err(Errno::EXIST) => {
                    self.published
                        .check_replaceable(dir, listed.name.as_bytes())?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let (partial, fd) =
            Partial::create(&self.published.naming, dir, &listed.name, Some(listed.size))?;
        self.publish(dir, listed, &partial, &fd)
    }

    /// Gives a partial file its attributes and its name; one that cannot have them goes, unless
    /// nothing would fare better here.
    fn publish(
        &mut self,
        dir: &OwnedFd,
        listed: &Listed,
        partial: &Partial,
        fd: &OwnedFd,
    ) -> Result<Option<Stamp>, FailureKind> {
        let stamp = fstat(fd).and_then(|stat| self.apply(fd, listed, &stat));
        let done = stamp.map_err(FailureKind::from).and_then(|stamp| {
            partial.publish(dir, &listed.name, &mut self.published)?;
            Ok(Some(stamp))
        });
        if done.is_err_and(|why| !why.is_storage()) {
            partial.discard(dir);
        }
        done
    }

    /// Gives a file that has none its attributes and its name. What has that name can only be replaced
    /// by renaming.
    fn link(
        &mut self,
        dir: &OwnedFd,
        listed: &Listed,
        fd: &OwnedFd,
    ) -> Result<Option<Stamp>, FailureKind> {
        let stamp = self.apply(fd, listed, &fstat(fd)?)?;
        match nameless::link(fd, dir, listed.name.as_bytes()) {
            Ok(()) => self.published.insert(stamp.file),
            Err(Errno::EXIST) => {
                let name = listed.name.as_bytes();
                self.published.check_replaceable(dir, name)?;
                let partial = Partial::name(&self.published.naming, dir, &listed.name, fd)?;
                if let Err(why) = partial.publish(dir, &listed.name, &mut self.published) {
                    partial.discard(dir);
                    return Err(why);
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(Some(stamp))
    }

    /// Leaves a file as it was found, but for its attributes where they are to be kept.
    fn keep(
        &mut self,
        dir: &OwnedFd,
        listed: &Listed,
        found: &Stat,
    ) -> Result<Option<Stamp>, FailureKind> {
        let mut stamp = Stamp::of(found);
        if self.attributes.would_change(&listed.meta, found) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = openat(dir, listed.name.as_bytes(), flags, Mode::empty())?;
            let stat = fstat(&fd)?;
            if Stamp::of(&stat) != stamp {
                return Err(FailureKind::Busy);
            }
            stamp = self.apply(&fd, listed, &stat)?;
        }
        self.published.insert(stamp.file);
        Ok(Some(stamp))
    }

    /// Gives something its attributes, and has it written back if that was asked for; how it is then.
    fn apply(&self, fd: &OwnedFd, listed: &Listed, now: &Stat) -> Result<Stamp, Errno> {
        self.attributes.apply(fd, &listed.meta, now.st_mode)?;
        if self.syncs {
            fsync(fd)?;
        }
        if self.attributes.keeps_times() {
            return Ok(Stamp::of(&fstat(fd)?));
        }
        Ok(Stamp::of(now))
    }
}
