//! The initiator's run: log in, then transfer.

use std::{
    future::Future,
    io,
    net::{IpAddr, ToSocketAddrs},
    time::Duration,
};

use haul_ssh::{Family, Options, Session, SshError};
use haul_transfer::{Channels, Event, Summary, TransferError, Warning};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    task::spawn_blocking,
};

use crate::{
    ask, ending,
    failure::Failure,
    human,
    job::{Job, Login},
    keys::{self, Key, Keys},
    memory::Memory,
    output::Output,
    retry::Course,
    signals,
    socket::Socket,
    steer::Helm,
};

/// Threads of the runtime: it carries a conversation, never the data.
const RUNTIME_THREADS: usize = 2;
/// Time for the server to give another channel.
const CHANNEL_PATIENCE: Duration = Duration::from_secs(20);
/// When to look again whether UDP gets through, after it did not any more.
const KNOCK_AFTER_LOSS: Duration = Duration::from_secs(60);

/// What a person may do who cannot wait.
const CANCELLING: &str = "cancelling; press Ctrl-C again to end at once";

/// Does the whole job: what goes before, the transfer, what comes after. All that is told of it but the
/// last word, which is the caller's.
pub(crate) fn run(job: Job, output: &mut Output) -> Result<(), Failure> {
    output.begin(&job);
    in_runtime(async {
        let cancelling = signals::cancellation()?;
        let cancel = cancelling.subscribe();
        let hooks = job.hooks.clone();
        let result = match hooks.before(cancel.clone()).await {
            Ok(()) => transfer(job, cancelling, output).await,
            Err(failure) => Err(failure),
        };
        output.account(&result);
        let after = hooks.after(&result, output.report(), cancel).await;
        if let (Err(_), Err(second)) = (&result, &after) {
            output.warn(second.cause());
        }
        result.and(after)
    })
}

/// Moves everything, over as many connections as it takes.
async fn transfer(
    job: Job,
    cancelling: watch::Sender<bool>,
    output: &mut Output,
) -> Result<Summary, Failure> {
    let mut socket = job.control.as_deref().map(Socket::bind).transpose()?;
    let cancel = cancelling.subscribe();
    let helm = Helm::new(job.transfer.options.limits(), cancelling);
    if let Some(socket) = &mut socket {
        let served = socket.serve(helm.clone());
        served.map_err(Failure::system("the control socket"))?;
    }
    let mut run = Run {
        course: Course::new(job.retry_for),
        job,
        helm,
        cancel,
        output,
    };
    loop {
        let failure = match run.attempt().await {
            Ok(summary) => return Ok(summary),
            Err(failure) => failure,
        };
        if let Failure::Transfer(TransferError::PathSilent { .. }) = failure {
            // What let some datagrams through and no more would do so again.
            run.job.transfer.options.knock_after = KNOCK_AFTER_LOSS;
        }
        if *run.cancel.borrow() {
            return Err(failure);
        }
        let Some(wait) = run.course.next_wait(&failure) else {
            return Err(failure);
        };
        run.output.retrying(&failure, wait, run.course.left());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = signals::cancelled(run.cancel.clone()) => return Err(Failure::Cancelled),
        }
    }
}

/// A job under way.
struct Run<'a> {
    job: Job,
    helm: Helm,
    cancel: watch::Receiver<bool>,
    course: Course,
    output: &'a mut Output,
}

impl Run<'_> {
    /// Logs in, and moves what has not arrived.
    async fn attempt(&mut self) -> Result<Summary, Failure> {
        let family = self.job.login.family;
        let options = ssh_options(self.job.login.clone());
        let (target, command) = (self.job.target.clone(), self.job.remote_command.clone());
        let connecting = spawn_blocking(move || haul_ssh::connect(&target, options, &command));
        let session = tokio::select! {
            connected = connecting => connected.map_err(|_| Failure::Cancelled)??,
            () = signals::cancelled(self.cancel.clone()) => {
                ask::restore_terminal();
                return Err(Failure::Cancelled);
            }
        };
        let peer = peer_address(&session, family).await?;
        let mut transfer = self.job.transfer.clone();
        let memory = (self.job.remembers)
            .then(|| Memory::of(peer, transfer.direction))
            .flatten();
        transfer.options.remembered = memory.as_ref().and_then(|memory| {
            let (remembered, age) = memory.recall()?;
            self.output.detail(&format!(
                "beginning from {} remembered {} ago",
                human::rate(remembered.rate_bps as f64),
                human::duration(Duration::from_secs(age)),
            ));
            Some(remembered)
        });
        transfer.options.channels = session.channels.clone().map(|channels| {
            let command = self.job.remote_command.clone();
            Channels::new(move |name| {
                let command = format!("{command} --join {name:032x}");
                let started = channels.start(&command, CHANNEL_PATIENCE);
                started.map_err(io::Error::other)
            })
        });
        let steered = self.helm.limits();
        transfer.options.set_limits(*steered.borrow());
        transfer.options.limit_changes = Some(steered.clone());
        let options = transfer.options.clone();
        let result = self.converse(session, peer, transfer).await;
        // What a path carries shows only where the limits were the same all the time.
        if let (Some(memory), Ok(summary), Ok(false)) = (memory, &result, steered.has_changed()) {
            memory.keep(summary, &options);
        }
        result
    }

    /// Gives the conversation its stream and its events a place to go, and waits for the end of both
    /// haul and the remote command.
    async fn converse(
        &mut self,
        session: Session,
        peer: IpAddr,
        transfer: haul_transfer::Job,
    ) -> Result<Summary, Failure> {
        let Session {
            stream,
            host_name,
            warnings,
            remote,
            ..
        } = session;
        for text in warnings {
            let remote = false;
            self.output.event(&Event::Warning(Warning { text, remote }));
        }
        let control = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream))
            .map_err(Failure::system("the control stream"))?;
        let (events_in, mut events) = mpsc::unbounded_channel();
        let cancel = self.cancel.clone();
        let transfer = haul_transfer::initiate(transfer, control, peer, events_in, cancel.clone());
        tokio::pin!(transfer);
        let mut told_cancel = false;
        let (keys_in, mut pressed) = mpsc::unbounded_channel();
        let mut keys = None;
        let result = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => {
                    self.note(&event);
                    // From here on nobody is asked anything on the terminal any more.
                    if matches!(event, Event::Session(_))
                        && self.output.is_live()
                        && self.job.takes_keys
                    {
                        keys = Keys::listen(keys_in.clone());
                    }
                }
                Some(key) = pressed.recv() => press(key, &self.helm, self.output),
                () = signals::cancelled(cancel.clone()), if !told_cancel => {
                    told_cancel = true;
                    self.output.note(CANCELLING);
                }
                result = &mut transfer => break result,
            }
        };
        drop(keys);
        while let Ok(event) = events.try_recv() {
            self.note(&event);
        }
        let cancelled = *cancel.borrow();
        // The transfer may have heard of it first; the other program may still take its time.
        if cancelled && !told_cancel {
            self.output.note(CANCELLING);
        }
        let ending = spawn_blocking(move || ending::explain(result, cancelled, remote, &host_name));
        ending
            .await
            .unwrap_or(Err(Failure::Login(SshError::WorkerDied)))
    }

    fn note(&mut self, event: &Event) {
        self.course.note(event);
        self.helm.note(event);
        self.output.event(event);
    }
}

/// Runs a future to its end, leaving behind threads that only the other end could release.
pub(crate) fn in_runtime<T>(
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(Failure::system("starting threads"))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

fn ssh_options(login: Login) -> Options {
    let mut options = Options::new();
    options.identities = login.identities;
    options.config_file = login.config_file;
    options.known_hosts = login.known_hosts.into_iter().collect();
    options.host_key_pin = login.host_key_pin;
    options.accept_new = login.accept_new;
    options.connect_timeout = login.connect_timeout;
    options.family = login.family;
    // An external ssh would have to ask while the other end's greeting is already awaited.
    options.interactive = login.ssh_program.is_none() && ask::is_possible();
    options.ssh_program = login.ssh_program;
    options.ask = Box::new(|prompt| ask::answer(&prompt));
    options
}

fn press(key: Key, helm: &Helm, output: &Output) {
    match key {
        Key::Help => output.note(keys::HELP),
        // What comes of it is an event.
        Key::Order(order) => {
            if let Err(error) = helm.give(order) {
                output.note(&error.to_string());
            }
        }
    }
}

/// Where to send UDP: the address SSH is connected to, or what the host's name means here when an
/// external program keeps that to itself.
async fn peer_address(session: &Session, family: Family) -> Result<IpAddr, Failure> {
    if let Some(peer) = session.peer {
        return Ok(peer);
    }
    let host = session.host_name.clone();
    let lookup = (host.clone(), 0);
    let lookup = move || {
        let mut found = lookup.to_socket_addrs()?.map(|address| address.ip());
        found
            .find(|address| family.has(*address))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let found = spawn_blocking(lookup).await;
    found
        .unwrap_or_else(|lost| Err(lost.into()))
        .map_err(|source| Failure::NoAddress { host, source })
}
