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
};

use haul_manifest::{DirId, LinkNo, Name};
use rustix::{
    fs::{Mode, OFlags, Stat, fstat, fsync, openat},
    io::Errno,
};

use super::{
    attributes::{Attributes, Miss, Subject},
    files::Listed,
    hardlinks::HardLink,
    links::Link,
    nameless,
    naming::Naming,
    partial::Partial,
    published::{Published, Stamp},
    worker::Worker,
};
use crate::{Digests, FailureKind, Proofs, digest, lru::descriptors};

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
    Partial(Listed, Partial, Arc<OwnedFd>),
    /// A file that has been written and has no name.
    Nameless(Listed, OwnedFd),
    /// A file without content: empty, or all hole.
    Hollow(Listed),
    /// A file that was there before, as it was found.
    There(Listed, Stat),
    /// A symbolic link.
    Link(Link),
    /// A further name of a file that is finished.
    HardLink(HardLink),
}

impl What {
    pub(super) fn into_finished(self) -> Finished {
        match self {
            Self::Partial(listed, ..) | Self::Nameless(listed, _) | Self::Hollow(listed) => {
                Finished::File(listed)
            }
            Self::There(listed, _) => Finished::There(listed),
            Self::Link(link) => Finished::Link(link),
            Self::HardLink(link) => Finished::HardLink(link),
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) what: Finished,
    /// How a file is now.
    pub(super) outcome: Result<Option<Stamp>, FailureKind>,
    /// What it comes to, where that had to be looked at here.
    pub(super) digests: Option<Result<Digests, Errno>>,
    /// What it could not be given, though it is there.
    pub(super) misses: Vec<Miss>,
}

#[derive(Debug)]
pub(super) enum Finished {
    File(Listed),
    There(Listed),
    Link(Link),
    HardLink(HardLink),
}

impl Finished {
    /// Its number, if it has further names.
    pub(super) fn link(&self) -> Option<LinkNo> {
        match self {
            Self::File(file) | Self::There(file) => file.extra.as_ref()?.link,
            Self::Link(link) => link.extra.as_ref()?.link,
            Self::HardLink(_) => None,
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> (DirId, &Name) {
        match self {
            Self::File(file) | Self::There(file) => (file.parent, &file.name),
            Self::Link(link) => (link.parent, &link.name),
            Self::HardLink(link) => (link.parent, &link.name),
        }
    }
}

/// The finishing thread. Dropping this waits until it has done all it was given.
#[derive(Debug)]
pub(super) struct Finishing {
    jobs: Option<Sender<Vec<Job>>>,
    done: Receiver<Vec<Done>>,
    thread: Worker<Published>,
    /// Not handed over yet: waking the thread for each would cost as much as the work.
    gathered: Vec<Job>,
    outstanding: usize,
    /// Done, and not told yet.
    untold: Vec<Done>,
    open_max: usize,
}

/// How files are finished.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) attributes: Attributes,
    /// Whether each file is on the disk before it has its name.
    pub(super) syncs: bool,
    pub(super) proofs: Proofs,
    pub(super) naming: Naming,
}

impl Finishing {
    pub(super) fn start(options: Options) -> io::Result<Self> {
        let (jobs, jobs_in) = channel::<Vec<Job>>();
        let (done_out, done) = channel();
        let thread = Worker::start("haul-finish", move || {
            let mut finisher = Finisher {
                attributes: options.attributes,
                syncs: options.syncs,
                proofs: options.proofs,
                published: Published::new(options.naming),
                misses: Vec::new(),
            };
            for jobs in jobs_in {
                let done: Vec<Done> = jobs.into_iter().map(|job| finisher.finish(job)).collect();
                // Whoever has given up wants it done all the same.
                let _ = done_out.send(done);
            }
            finisher.published
        })?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread,
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

    /// Ends the thread, which has done everything: what has been given names.
    pub(super) fn end(&mut self) -> Published {
        self.jobs = None;
        self.outstanding = 0;
        self.thread.join().unwrap_or_default()
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
    proofs: Proofs,
    published: Published,
    /// What the one that is being finished cannot be given.
    misses: Vec<Miss>,
}

impl Finisher {
    fn finish(&mut self, Job { dir, mut what }: Job) -> Done {
        let digests = self.digests(&dir, &what);
        let outcome = match &mut what {
            What::Partial(listed, partial, fd) => self.publish(&dir, listed, partial, fd),
            What::Nameless(listed, fd) => self.link(&dir, listed, fd),
            What::Hollow(listed) => self.create_hollow(&dir, listed),
            What::There(listed, stat) => self.keep(&dir, listed, stat),
            What::Link(link) => {
                let (published, misses) = (&mut self.published, &mut self.misses);
                let made = link.create(&dir, &self.attributes, published, misses);
                made.map(Some)
            }
            What::HardLink(link) => link.create(&dir, &mut self.published).map(|()| None),
        };
        Done {
            what: what.into_finished(),
            outcome,
            digests,
            misses: take(&mut self.misses),
        }
    }

    /// What a file comes to that nobody else reads back: one without a name, and where all are to be
    /// told of, one that was there and one without content.
    fn digests(&self, dir: &OwnedFd, what: &What) -> Option<Result<Digests, Errno>> {
        let Proofs {
            wanted,
            all,
            digests,
        } = self.proofs;
        match what {
            What::Nameless(listed, fd) if wanted => Some(digest::of_file(digests, fd, listed.size)),
            What::Hollow(listed) if all => Some(Ok(digest::of_zeros(digests, listed.size))),
            What::There(listed, stat) if all => {
                let fd = digest::open(dir, listed.name.as_bytes(), stat);
                Some(fd.and_then(|fd| digest::of_file(digests, fd, listed.size)))
            }
            _ => None,
        }
    }

    fn create_hollow(
        &mut self,
        dir: &OwnedFd,
        listed: &Listed,
    ) -> Result<Option<Stamp>, FailureKind> {
        if listed.size == 0 && !self.attributes.is_strict() {
            // Nothing can be seen half written of an empty file: no detour by a partial name.
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(self.attributes.mode_when_made(&listed.meta));
            match openat(dir, listed.name.as_bytes(), flags, mode) {
                Ok(fd) => {
                    let stamp = self.apply(&fd, listed, &fstat(&fd)?, true)?;
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
        let stat = fstat(fd).map_err(FailureKind::from);
        let stamp = stat.and_then(|stat| self.apply(fd, listed, &stat, true));
        let done = stamp.and_then(|stamp| {
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
        let stamp = self.apply(fd, listed, &fstat(fd)?, true)?;
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
        let extra = listed.extra.as_deref();
        if self.attributes.would_change(&listed.meta, extra, found) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = openat(dir, listed.name.as_bytes(), flags, Mode::empty())?;
            let stat = fstat(&fd)?;
            if Stamp::of(&stat) != stamp {
                return Err(FailureKind::Busy);
            }
            stamp = self.apply(&fd, listed, &stat, false)?;
        }
        self.published.insert(stamp.file);
        Ok(Some(stamp))
    }

    /// Gives something its attributes, and has it written back if that was asked for; how it is then.
    fn apply(
        &mut self,
        fd: &OwnedFd,
        listed: &Listed,
        now: &Stat,
        is_new: bool,
    ) -> Result<Stamp, FailureKind> {
        let subject = Subject {
            meta: &listed.meta,
            extra: listed.extra.as_deref(),
            now,
            is_new,
        };
        self.attributes.apply(fd, &subject, &mut self.misses)?;
        if self.syncs {
            fsync(fd)?;
        }
        if self.attributes.keeps_times() {
            return Ok(Stamp::of(&fstat(fd)?));
        }
        Ok(Stamp::of(now))
    }
}
