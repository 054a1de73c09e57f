use std::{fs::File, sync::Arc, time::Duration};

use super::{Account, Session, Setting, Wake, connect, meter, unkept};
use crate::{
    Cause, ChangeRecord, Direction, Event, InForce, Limits, Misbehaviour, Omitted, Phase,
    TransferError, UdpDirection, control::Control, detour::window_bytes,
};
use haul_batch::{MAX_BATCH_BYTES, MAX_SEGMENTS};
use haul_disk::{
    DiskError, FailureKind, Outgoing, Portion, Single, Supply, Synthetic, Until, Wanted,
};
use haul_engine::{EngineError, EngineEvent, SendSetup, Snapshot};
use haul_flow::{FlowError, SenderConfig};
use haul_manifest::{Name, SkipKind};
use haul_wire::{
    block_len,
    control::{Measure, Message, Remembered, Status, Verdict},
    segment_len,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

/// Most special files that are named one by one; the others are only counted.
const WARNINGS_MAX: usize = 20;
/// Time without any of what is in flight arriving, after which UDP counts as closed. The line
/// itself waits longer: the whole network may be away for a while.
const UDP_SILENCE_MAX: Duration = Duration::from_secs(10);
/// The control channel, on which something is said every 5 s at least, lives when it was heard since.
const CONTROL_FRESH: Duration = Duration::from_secs(7);
/// Most that a receiver's word about its buffer counts for.
const PEER_BUFFER_MAX: u64 = 1 << 30;
/// How often the receiver hears of a sender that removes or moves its sources.
const CLEANING_TICK: Duration = Duration::from_secs(1);

/// What a sender is to do.
pub(crate) struct SendParameters {
    pub(crate) origins: Origins,
    pub(crate) hints: Hints,
}

/// What a sender knows beforehand.
pub(crate) struct Hints {
    /// What the path carried before.
    pub(crate) remembered: Option<Remembered>,
    /// Whether to mark packets for ECN.
    pub(crate) ecn: bool,
    /// Whether the receiver will say what it has already.
    pub(crate) waits: bool,
    /// Whether the receiver will say what would become of names.
    pub(crate) rehearses: bool,
}

/// Where it takes what it sends.
pub(crate) enum Origins {
    Files(Box<Wanted>),
    /// What comes out of this, by this name.
    Pipe(Arc<File>, Name),
    /// Noise, without a disk.
    Memory(Measure),
}

impl Origins {
    /// How many sources there are.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Files(wanted) => wanted.sources.len() as u64,
            Self::Memory(_) | Self::Pipe(..) => 1,
        }
    }

    fn cleans_up(&self) -> bool {
        matches!(self, Self::Files(wanted) if wanted.clean_up.is_some())
    }

    fn supply(self, block_len: usize) -> Result<Arc<dyn Supply>, DiskError> {
        let until = match self {
            Self::Files(wanted) if wanted.portion == Portion::All => {
                return Ok(Outgoing::new(block_len, *wanted));
            }
            Self::Files(wanted) => {
                let (path, name) = wanted.single()?;
                let (portion, times) = (&wanted.portion, wanted.options.times);
                return Ok(Single::of_file(block_len, path, name, portion, times)?);
            }
            Self::Pipe(file, name) => return Ok(Single::pipe(block_len, file, name)),
            Self::Memory(Measure::Millis(millis)) => {
                Until::Elapsed(Duration::from_millis(millis.into()))
            }
            Self::Memory(Measure::Bytes(bytes)) => Until::Bytes(bytes),
        };
        Ok(Synthetic::new(block_len, until))
    }
}

/// Limits of the sending rate that no request can raise, in bits per second.
struct Ceiling {
    /// The responder's for every session.
    fixed: Option<u64>,
    /// This session's share of what several have in common.
    share: Option<u64>,
}

impl Ceiling {
    fn bps(&self) -> Option<u64> {
        [self.fixed, self.share].into_iter().flatten().min()
    }
}

/// Sends until the receiver has given its verdict.
///
/// # Errors
/// Whatever ends the session; the engine has stopped then.
pub(super) async fn send(
    control: &mut Control,
    setting: Setting,
    parameters: SendParameters,
) -> Result<Account, TransferError> {
    let block_len = block_len(setting.path.datagram_len);
    let hints = parameters.hints;
    let cleans_up = parameters.origins.cleans_up();
    let outgoing = parameters.origins.supply(block_len)?;
    let ceiling = Ceiling {
        fixed: setting.rate_max_bps,
        share: setting.share_bps,
    };
    let limits = setting.limits.under(ceiling.bps());
    let flow = flow(&setting, segment_len(block_len), limits, &hints)?;
    let direction = setting.direction;
    let (link, engine, setting) = connect(setting, |_| true);
    let setup = SendSetup {
        link,
        outgoing: Arc::clone(&outgoing),
        flow,
    };
    let running = haul_engine::send(setup)?;
    let mut sending = Sending {
        session: Session::new(control, running, engine, setting),
        outgoing,
        ceiling,
        applied: limits,
        direction,
        arrived: (Instant::now(), 0),
        hears_changes: hints.rehearses && direction == Direction::Upload,
        cleans_up,
    };
    let outcome = sending.until_verdict().await;
    let data_time = sending.session.began.elapsed();
    let stopped = sending.session.end(outcome.as_ref().err()).await;
    sending.tell_the_rest();
    let verdict = outcome?;
    let snapshot = stopped.map(|stopped| stopped.snapshot).unwrap_or_default();
    let here = sending.session.host.read(&snapshot);
    let status = Status {
        host: here.clone(),
        ..sending.note(&snapshot)
    };
    sending.session.meter.note_verdict(&verdict);
    sending.warn_of_skipped()?;
    sending.warn_of_unread()?;
    sending.session.warn_of_unkept(&verdict, true);
    sending.warn_of_unlisted()?;
    sending.clean_up(&verdict, &status).await?;
    sending
        .session
        .control
        .send(&Message::Done(status.clone()))?;
    sending.session.report_progress();
    Ok(Account {
        verdict,
        status,
        here,
        there: sending.session.meter.there(),
        omitted: Some(sending.omitted()),
        segment_len: segment_len(block_len),
        data_time,
    })
}

fn flow(
    setting: &Setting,
    segment_len: usize,
    limits: Limits,
    hints: &Hints,
) -> Result<SenderConfig, TransferError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    Ok(SenderConfig {
        segment_len,
        segments_per_batch_max: (MAX_BATCH_BYTES / segment_len).clamp(1, MAX_SEGMENTS),
        policy: limits.policy,
        rate_target_bps: limits.target_bps,
        rate_min_bps: limits.min_bps,
        initial_rtt: setting.path.rtt,
        remembered: hints.remembered.map(|path| haul_flow::Remembered {
            rate_bps: path.rate_bps as f64,
            min_rtt: Duration::from_micros(path.min_rtt_us.into()),
        }),
        free_bytes_initial: setting
            .agreed
            .limits
            .receive_buffer_bytes
            .min(PEER_BUFFER_MAX),
        ecn: hints.ecn,
        carried_bytes: (setting.path.is_detour).then(|| window_bytes(setting.path.rtt)),
        waits_for_judgement: hints.waits,
        seed: u64::from_ne_bytes(seed),
    })
}

fn allowed(limits: Limits) -> Result<Limits, TransferError> {
    limits.check()?;
    Ok(limits)
}

struct Sending<'a> {
    session: Session<'a>,
    outgoing: Arc<dyn Supply>,
    ceiling: Ceiling,
    /// What the engine was told last.
    applied: Limits,
    direction: Direction,
    /// When blocks last arrived, or none was in flight, and how many had.
    arrived: (Instant, u64),
    /// Whether the receiver tells what would become of names.
    hears_changes: bool,
    /// Whether sources are to be removed or moved in the end.
    cleans_up: bool,
}

impl Sending<'_> {
    async fn until_verdict(&mut self) -> Result<Verdict, TransferError> {
        self.say_limits(Cause::Start)?;
        loop {
            match self.session.wake().await? {
                Wake::Message(Message::Verdict(verdict)) => return self.check(verdict),
                Wake::Message(Message::Rate(wish)) => {
                    let limits = Limits::from_wire(&wish.policy, wish.rate);
                    self.change(limits.and_then(allowed))?;
                }
                Wake::Limits(limits) => self.change(allowed(limits))?,
                Wake::Message(Message::Had(had)) => {
                    if let Some(running) = &self.session.running {
                        running.set_had(had);
                    }
                }
                Wake::Message(Message::Changes(changes)) if self.hears_changes => {
                    for change in changes {
                        let record = ChangeRecord::new(change, false);
                        self.session.emit(Event::Change(record));
                    }
                }
                // Only a responder has anything to forbid.
                Wake::Message(Message::Ceiling(share)) if self.direction == Direction::Upload => {
                    self.move_ceiling(share)?;
                }
                Wake::Ceiling(share) => self.move_ceiling(share)?,
                Wake::Message(other) => return Err(self.session.control.unexpected(&other)),
                Wake::Engine(EngineEvent::Delivered) => {
                    self.session.control.phase = Phase::Verdict;
                }
                // Nothing is left to send: a receiver busy finishing its files may well be silent.
                Wake::Engine(EngineEvent::Failed(_))
                    if self.session.control.phase == Phase::Verdict => {}
                Wake::Engine(EngineEvent::Failed(error)) => return Err(self.explain(error)),
                Wake::Engine(EngineEvent::Decided(decision)) => {
                    self.session.emit(Event::Decision(decision));
                }
                Wake::Engine(EngineEvent::File(file)) => self.session.emit_digests(&file),
                Wake::Engine(
                    EngineEvent::Complete | EngineEvent::Change(_) | EngineEvent::Had(_),
                ) => {}
                Wake::Tick => {
                    let snapshot = self.session.snapshot();
                    let status = self.note(&snapshot);
                    self.session.tick(&snapshot, status)?;
                    self.watch_path(&snapshot)?;
                }
            }
        }
    }

    /// The verdict may be quicker than what the engine had still to tell.
    fn tell_the_rest(&mut self) {
        while let Ok(event) = self.session.engine.try_recv() {
            if let EngineEvent::File(file) = event {
                self.session.emit_digests(&file);
            }
        }
        while let Some(file) = self.outgoing.poll_event() {
            self.session.emit_digests(&file);
        }
    }

    /// Where the other end is heard on the control channel and nothing of what is in flight arrives,
    /// datagrams do not get through any more: whoever connects again finds out the same at once, and
    /// another way.
    fn watch_path(&mut self, snapshot: &Snapshot) -> Result<(), TransferError> {
        let now = Instant::now();
        let Some(sender) = &snapshot.sender else {
            return Ok(());
        };
        if sender.in_flight_bytes == 0 || sender.delivered_blocks != self.arrived.1 {
            self.arrived = (now, sender.delivered_blocks);
        }
        let session = &self.session;
        let silence = now - self.arrived.0;
        if silence <= UDP_SILENCE_MAX || now - session.control.heard_at > CONTROL_FRESH {
            return Ok(());
        }
        let cause = if now - session.udp_heard.0 > CONTROL_FRESH {
            FlowError::PeerSilent(silence)
        } else {
            FlowError::PathBlocked(silence)
        };
        Err(self.explain(EngineError::Flow(cause)))
    }

    /// Names the direction that went dead: that of the data when the other end is still heard, that
    /// of its reports when it is not.
    fn explain(&self, error: EngineError) -> TransferError {
        let (of_data, waited) = match error {
            EngineError::Flow(FlowError::PathBlocked(waited)) => (true, waited),
            EngineError::Flow(FlowError::PeerSilent(waited)) => (false, waited),
            other => return other.into(),
        };
        let direction = if of_data == (self.direction == Direction::Upload) {
            UdpDirection::ToServer
        } else {
            UdpDirection::ToClient
        };
        TransferError::PathSilent { direction, waited }
    }

    /// A receiver cannot have everything before the list has been sent to its end.
    fn check(&self, verdict: Verdict) -> Result<Verdict, TransferError> {
        if self.outgoing.totals().scanned {
            Ok(verdict)
        } else {
            Err(Misbehaviour::Range("verdict").into())
        }
    }

    /// Takes over what was asked for; a wish that cannot be met changes nothing.
    fn change(&mut self, wish: Result<Limits, TransferError>) -> Result<(), TransferError> {
        match wish {
            Ok(limits) => self.session.limits = limits,
            Err(error) => self.session.warn_both(format!("limits stay: {error}"))?,
        }
        self.apply();
        self.say_limits(Cause::Asked)
    }

    fn move_ceiling(&mut self, share: Option<u64>) -> Result<(), TransferError> {
        self.ceiling.share = share;
        self.apply();
        self.say_limits(Cause::Ceiling)
    }

    fn apply(&mut self) {
        let limits = self.session.limits.under(self.ceiling.bps());
        if let Some(running) = &self.session.running {
            running.set_rate(limits.target_bps, limits.min_bps);
            if limits.policy != self.applied.policy {
                running.set_policy(limits.policy);
                // "No target" is nothing that the fixed policy could have kept to.
                running.set_rate(limits.target_bps, limits.min_bps);
            }
        }
        self.applied = limits;
    }

    /// Tells both ends what is kept to.
    fn say_limits(&self, cause: Cause) -> Result<(), TransferError> {
        let in_force = InForce {
            asked: self.session.limits,
            ceiling_bps: self.ceiling.bps(),
            cause,
        };
        let message = Message::InForce(in_force.to_wire());
        self.session.control.send(&message)?;
        self.session.emit(Event::Limits(in_force));
        Ok(())
    }

    /// Special files and the like are no failures, but nobody should miss them unawares.
    fn warn_of_skipped(&self) -> Result<(), TransferError> {
        let mut unnamed = self.outgoing.totals().skipped;
        let failures = self.outgoing.failures();
        for file in failures
            .iter()
            .filter(|file| file.why.is_harmless())
            .take(WARNINGS_MAX)
        {
            unnamed -= 1;
            self.session.warn_both(file.to_string())?;
        }
        if unnamed > 0 {
            self.session
                .warn_both(format!("{unnamed} more special files were skipped"))?;
        }
        Ok(())
    }

    /// What could not be read beside contents is missed by whoever asked for it.
    fn warn_of_unread(&self) -> Result<(), TransferError> {
        for unread in &unkept::to_wire(&self.outgoing.unkept()) {
            self.session.warn_both(unkept::told(unread, "read"))?;
        }
        Ok(())
    }

    /// What could not be listed the receiver only counts.
    fn warn_of_unlisted(&self) -> Result<(), TransferError> {
        let is_unlisted = |why| {
            let too_deep = FailureKind::Skipped(SkipKind::TooDeep);
            matches!(why, FailureKind::Os(_)) || why == too_deep
        };
        let failures = self.outgoing.failures();
        let unlisted = failures.iter().filter(|file| is_unlisted(file.why));
        for file in unlisted.take(WARNINGS_MAX) {
            self.session.warn_both(file.to_string())?;
        }
        Ok(())
    }

    fn omitted(&self) -> Omitted {
        let totals = self.outgoing.totals();
        Omitted {
            left_out: totals.left_out,
            special: totals.skipped,
        }
    }

    /// Removes or moves the sources, where that was asked for and nothing of them is missing there. The
    /// receiver hears from here meanwhile.
    async fn clean_up(&mut self, verdict: &Verdict, status: &Status) -> Result<(), TransferError> {
        if !self.cleans_up {
            return Ok(());
        }
        if !verdict.ok || verdict.kept > 0 {
            let text = "sources stay where they are: not everything of them is there now";
            return self.session.warn_both(text.to_owned());
        }
        let outgoing = Arc::clone(&self.outgoing);
        let mut cleaning = spawn_blocking(move || outgoing.clean_up());
        let cleaned = loop {
            match timeout(CLEANING_TICK, &mut cleaning).await {
                Ok(cleaned) => break cleaned.map_err(|_| TransferError::TaskFailed("clean-up"))?,
                Err(_) => (self.session.control).send(&Message::Status(status.clone()))?,
            }
        };
        for failure in cleaned.failures.iter().take(WARNINGS_MAX) {
            self.session.warn_both(failure.to_string())?;
        }
        match cleaned.left {
            0 => Ok(()),
            left => Err(TransferError::SourcesLeft(left)),
        }
    }

    /// Takes the engine's figures to the meter and returns what the other end is to hear.
    fn note(&mut self, snapshot: &Snapshot) -> Status {
        let totals = self.outgoing.totals();
        let status = Status {
            bytes_total: totals.content_bytes,
            files_total: totals.files,
            scanned: totals.scanned,
            ..meter::status(snapshot)
        };
        let (delivered, there) = snapshot
            .sender
            .as_ref()
            .map_or((0, 0), |sender| (sender.delivered_bytes, sender.had_bytes));
        self.session
            .meter
            .note_sending(status.clone(), delivered, there);
        status
    }
}
