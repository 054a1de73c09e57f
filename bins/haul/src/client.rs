//! The initiator's run: log in, then transfer.

use std::{
    future::Future,
    io,
    net::{IpAddr, ToSocketAddrs},
    time::Duration,
};

use haul_ssh::{Family, Options, Session, SshError};
use haul_transfer::{Event, Summary, Warning};
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
    memory::Memory,
    output::Output,
    signals,
};

/// Threads of the runtime: it carries a conversation, never the data.
const RUNTIME_THREADS: usize = 2;

/// Does the whole job.
pub(crate) fn run(job: Job, output: &mut Output) -> Result<Summary, Failure> {
    in_runtime(async {
        let cancel = signals::cancellation()?;
        let Job {
            target,
            login,
            remote_command,
            mut transfer,
            remembers,
        } = job;
        let family = login.family;
        let options = ssh_options(login);
        let connecting =
            spawn_blocking(move || haul_ssh::connect(&target, options, &remote_command));
        let session = tokio::select! {
            connected = connecting => connected.map_err(|_| Failure::Cancelled)??,
            () = signals::cancelled(cancel.clone()) => {
                ask::restore_terminal();
                return Err(Failure::Cancelled);
            }
        };
        let peer = peer_address(&session, family).await?;
        let memory = remembers
            .then(|| Memory::of(peer, transfer.direction))
            .flatten();
        transfer.options.remembered = memory.as_ref().and_then(|memory| {
            let (remembered, age) = memory.recall()?;
            output.detail(&format!(
                "beginning from {} remembered {} ago",
                human::rate(remembered.rate_bps as f64),
                human::duration(Duration::from_secs(age)),
            ));
            Some(remembered)
        });
        let options = transfer.options.clone();
        let result = converse(session, peer, transfer, output, cancel).await;
        if let (Some(memory), Ok(summary)) = (memory, &result) {
            memory.keep(summary, &options);
        }
        result
    })
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

/// Gives the conversation its stream and its events a place to go, and waits for the end of both
/// haul and the remote command.
async fn converse(
    session: Session,
    peer: IpAddr,
    transfer: haul_transfer::Job,
    output: &mut Output,
    cancel: watch::Receiver<bool>,
) -> Result<Summary, Failure> {
    let Session {
        stream,
        host_name,
        warnings,
        remote,
        ..
    } = session;
    for text in warnings {
        output.event(&Event::Warning(Warning {
            text,
            remote: false,
        }));
    }
    let control = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream))
        .map_err(Failure::system("the control stream"))?;
    let (events_in, mut events) = mpsc::unbounded_channel();
    let transfer = haul_transfer::initiate(transfer, control, peer, events_in, cancel.clone());
    tokio::pin!(transfer);
    let mut told_cancel = false;
    let result = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => output.event(&event),
            () = signals::cancelled(cancel.clone()), if !told_cancel => {
                told_cancel = true;
                output.note("cancelling; press Ctrl-C again to end at once");
            }
            result = &mut transfer => break result,
        }
    };
    while let Ok(event) = events.try_recv() {
        output.event(&event);
    }
    let cancelled = *cancel.borrow();
    let ending = spawn_blocking(move || ending::explain(result, cancelled, remote, &host_name));
    ending
        .await
        .unwrap_or(Err(Failure::Login(SshError::WorkerDied)))
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
