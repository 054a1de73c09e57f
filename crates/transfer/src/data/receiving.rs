use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use haul_disk::{
    Discard, DiskError, Had, Incoming, Landing, Outlet, ReceiveOptions, Received, Root, Sink,
    has_leftovers,
};
use haul_engine::{EngineEvent, ReceiveSetup, Snapshot};
use haul_flow::ReceiverConfig;
use haul_wire::{
    block_len,
    control::{
        self, CHANGES_MAX, Change, FAILURES_MAX, FileFault, Host, Message, PATH_LEN_MAX, Status,
        Text, Verdict,
    },
    segment_len,
};
use serde_bytes::ByteBuf;
use tokio::time::{Instant, timeout_at};

use super::{Account, SILENCE_MAX, Session, Setting, Wake, connect, unkept};
use crate::{ChangeRecord, Event, FileRecord, InForce, Phase, TransferError, control::Control};

/// How long the sender may take to say that it has seen the verdict. The data is safe by then.
const DONE_PATIENCE: Duration = Duration::from_secs(10);

/// What a receiver is to do.
pub(crate) struct ReceiveParameters {
    pub(crate) destination: Destination,
    /// Whether the sender is to hear what need not be sent.
    pub(crate) judges: bool,
    /// Whether the sender waits to hear of it, in any case.
    pub(crate) is_awaited: bool,
    pub(crate) receive_buffer_bytes: u64,
}

/// Where it puts what arrives.
pub(crate) enum Destination {
    Files {
        root: Root,
        landing: Landing,
        options: Box<ReceiveOptions>,
    },
    /// It writes one file here, in its order.
    Stream(Arc<File>),
    /// It only counts.
    Memory,
}

impl Destination {
    /// Whether something may be there that need not be sent.
    pub(crate) fn judges(&self) -> bool {
        match self {
            Self::Files {
                root,
                landing,
                options,
            } => {
                options.is_judged()
                    && (options.placing.dry_run || has_leftovers(root, landing, &options.placing))
            }
            // The sender is told how far it may go.
            Self::Stream(_) => true,
            Self::Memory => false,
        }
    }

    /// Whether what would become of names is to be told.
    fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Files { options, .. } if options.placing.dry_run)
    }

    fn sink(self, block_len: usize, judges: bool) -> Result<Box<dyn Sink>, DiskError> {
        Ok(match self {
            Self::Files {
                root,
                landing,
                mut options,
            } => {
                // They are counted even where nobody wants to hear of them.
                options.file_events = true;
                let mut incoming = Incoming::new(root, landing, *options, block_len)?;
                if judges {
                    incoming.tell_had();
                }
                Box::new(incoming)
            }
            Self::Stream(out) => Box::new(Outlet::new(out, block_len)),
            Self::Memory => Box::new(Discard::new(block_len)),
        })
    }
}

/// Receives until everything has arrived, and says so.
///
/// # Errors
/// Whatever ends the session; the engine has stopped then, and what has arrived is kept.
pub(super) async fn receive(
    control: &mut Control,
    setting: Setting,
    parameters: ReceiveParameters,
) -> Result<Account, TransferError> {
    let block_len = block_len(setting.path.datagram_len);
    let is_rehearsal = parameters.destination.is_rehearsal();
    let incoming = parameters.destination.sink(block_len, parameters.judges)?;
    let flow = ReceiverConfig {
        segment_len: segment_len(block_len),
        initial_rtt: setting.path.rtt,
        free_bytes_initial: parameters.receive_buffer_bytes,
    };
    let files = Arc::new(AtomicU64::new(0));
    let (count, file_events) = (Arc::clone(&files), setting.file_events);
    let tells_digests = setting.tells_digests;
    let (link, engine, setting) = connect(setting, move |event| match event {
        EngineEvent::File(file) => {
            count.fetch_add(u64::from(file.outcome.is_ok()), Relaxed);
            file_events || tells_digests || file.outcome.is_err()
        }
        EngineEvent::Change(_) => file_events || is_rehearsal,
        _ => true,
    });
    let running = haul_engine::receive(ReceiveSetup {
        link,
        incoming,
        flow,
    })?;
    let mut receiving = Receiving {
        session: Session::new(control, running, engine, setting),
        files,
        file_events,
        block_len: block_len as u64,
        there_bytes: 0,
        is_rehearsal,
        changes: Vec::new(),
    };
    if parameters.is_awaited && !parameters.judges {
        receiving.say_had(nothing_there())?;
    }
    let outcome = receiving.until_complete().await;
    let stopped = receiving.session.end(outcome.as_ref().err()).await;
    outcome?;
    let stopped = stopped.ok_or(TransferError::TaskFailed("write"))?;
    receiving.note(&stopped.snapshot);
    let received = stopped.received.ok_or(TransferError::TaskFailed("write"))?;
    if let Some(why) = received.undeleted {
        let is = if is_rehearsal { "would be" } else { "was" };
        let text = format!("nothing {is} deleted at the destination: {why}");
        receiving.session.warn_both(text)?;
    }
    let verdict = verdict(&received);
    receiving.session.warn_of_unkept(&verdict, false);
    let data_time = receiving.session.began.elapsed();
    let here = receiving.session.host.read(&stopped.snapshot);
    let control = &receiving.session.control;
    control.send(&Message::Status(receiving.status(here.clone())))?;
    control.send(&Message::Verdict(verdict.clone()))?;
    let status = receiving.until_done(&verdict).await?;
    Ok(Account {
        verdict,
        there: status.host.clone(),
        status,
        here,
        omitted: None,
        segment_len: segment_len(block_len),
        data_time,
    })
}

struct Receiving<'a> {
    session: Session<'a>,
    /// Files finished so far.
    files: Arc<AtomicU64>,
    file_events: bool,
    block_len: u64,
    /// Bytes of content that need not come.
    there_bytes: u64,
    /// Whether nothing is changed.
    is_rehearsal: bool,
    /// What the initiator has not been told yet.
    changes: Vec<Change>,
}

impl Receiving<'_> {
    async fn until_complete(&mut self) -> Result<(), TransferError> {
        if let Some(seated) = &self.session.seated {
            let ceiling = seated.ceiling();
            self.session.control.send(&Message::Ceiling(ceiling))?;
        }
        loop {
            match self.session.wake().await? {
                Wake::Message(Message::InForce(told)) => self.note_limits(&told)?,
                Wake::Message(other) => return Err(self.session.control.unexpected(&other)),
                Wake::Engine(EngineEvent::Complete) => return self.tell_changes().await,
                Wake::Engine(EngineEvent::Failed(error)) => return Err(error.into()),
                Wake::Engine(EngineEvent::Delivered | EngineEvent::Decided(_)) => {}
                Wake::Engine(EngineEvent::Had(had)) => self.say_had(had)?,
                Wake::Engine(EngineEvent::File(file)) => {
                    self.session.emit_digests(&file);
                    if self.file_events || file.outcome.is_err() {
                        self.session.emit(Event::File(FileRecord {
                            path: file.path,
                            bytes: file.size,
                            failure: file.outcome.err().map(|why| why.to_string()),
                        }));
                    }
                }
                Wake::Engine(EngineEvent::Change(change)) => self.note_change(change).await?,
                Wake::Limits(limits) => {
                    let wish = Message::Rate(limits.to_wire());
                    self.session.control.send(&wish)?;
                }
                Wake::Ceiling(ceiling) => {
                    self.session.control.send(&Message::Ceiling(ceiling))?;
                }
                Wake::Tick => {
                    self.tell_changes().await?;
                    let snapshot = self.session.snapshot();
                    self.note(&snapshot);
                    let status = self.status(Host::default());
                    self.session.tick(&snapshot, status)?;
                }
            }
        }
    }

    /// The initiator's user hears of it, wherever that is.
    async fn note_change(&mut self, change: Change) -> Result<(), TransferError> {
        if self.session.events.is_some() {
            let done = !self.is_rehearsal;
            self.session
                .emit(Event::Change(ChangeRecord::new(change, done)));
            return Ok(());
        }
        self.changes.push(change);
        if self.changes.len() == CHANGES_MAX {
            self.tell_changes().await?;
        }
        Ok(())
    }

    async fn tell_changes(&mut self) -> Result<(), TransferError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let changes = Message::Changes(std::mem::take(&mut self.changes));
        self.session
            .control
            .send_within(&changes, SILENCE_MAX)
            .await
    }

    fn say_had(&mut self, had: Had) -> Result<(), TransferError> {
        let blocks: u64 = had.ranges.iter().map(|(start, end)| end - start).sum();
        self.there_bytes += blocks * self.block_len;
        self.session.control.send(&Message::Had(had))
    }

    /// What the sender says that it keeps to.
    fn note_limits(&mut self, told: &control::InForce) -> Result<(), TransferError> {
        let in_force = InForce::from_wire(told)?;
        self.session.limits = in_force.asked;
        self.session.emit(Event::Limits(in_force));
        Ok(())
    }

    fn status(&self, host: Host) -> Status {
        Status {
            files: self.files.load(Relaxed),
            host,
            ..Status::default()
        }
    }

    fn note(&mut self, snapshot: &Snapshot) {
        let files = self.files.load(Relaxed);
        self.session
            .meter
            .note_receiving(snapshot.content_bytes, self.there_bytes, files);
    }

    /// The sender's last figures. Everything has arrived: that somebody cancels, or that the
    /// connection breaks, changes nothing any more; that the sender protests does.
    async fn until_done(&mut self, verdict: &Verdict) -> Result<Status, TransferError> {
        self.session.control.phase = Phase::Verdict;
        let began = Instant::now();
        let status = loop {
            // A sender that removes many sources says so now and then.
            let deadline = began.max(self.session.control.heard_at) + DONE_PATIENCE;
            let Ok(woken) = timeout_at(deadline, self.session.wake()).await else {
                break self.session.meter.sender();
            };
            match woken {
                Ok(Wake::Message(Message::Done(status))) => break status,
                Ok(Wake::Message(Message::InForce(told))) => self.note_limits(&told)?,
                Ok(Wake::Message(other)) => return Err(self.session.control.unexpected(&other)),
                Ok(Wake::Engine(_) | Wake::Limits(_) | Wake::Ceiling(_) | Wake::Tick) => {}
                Err(TransferError::ConnectionLost { .. } | TransferError::Cancelled { .. }) => {
                    break self.session.meter.sender();
                }
                Err(error) => return Err(error),
            }
        };
        self.session.meter.note_peer(status.clone());
        self.session.meter.note_verdict(verdict);
        self.session.report_progress();
        Ok(status)
    }
}

/// The destination is new: everything is to be sent.
fn nothing_there() -> Had {
    Had {
        ranges: Vec::new(),
        judged: u64::MAX,
    }
}

fn verdict(received: &Received) -> Verdict {
    // The sender, who left harmless ones out, warns of them.
    let failed = received
        .failed
        .iter()
        .filter(|failure| !failure.why.is_harmless());
    let failures = failed.take(FAILURES_MAX).map(|failure| {
        let path = &failure.path[..failure.path.len().min(PATH_LEN_MAX)];
        FileFault {
            path: ByteBuf::from(path),
            why: Text::new(failure.why.to_string()),
        }
    });
    Verdict {
        ok: received.failed_count == 0,
        files: received.files,
        bytes: received.bytes,
        there_files: received.there_files,
        there_bytes: received.there_bytes,
        kept: received.kept,
        deleted: received.deleted,
        failed: received.failed_count,
        corrupt: received.corrupt,
        failures: failures.collect(),
        unkept: unkept::to_wire(&received.unkept),
    }
}
