//! The session while data flows: one loop that hears the other end, the engine, the clock and the
//! user, until the receiver's verdict stands.

mod host;
mod line;
mod meter;
mod receiving;
mod seated;
mod sending;
mod unkept;

use std::{sync::Arc, time::Duration};

use haul_disk::FileEvent;
use haul_engine::{EngineEvent, Link, OnEvent, Running, Snapshot, Stopped};
use haul_wire::control::{Host, Message, Status, Text, Verdict};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};

use crate::{
    DigestRecord, Direction, Event, Limits, Omitted, PathFacts, Phase, Seat, TransferError,
    Unauthorized, Warning, control::Control, handshake::Agreed, path::OpenedPath,
};
use host::HostMeter;
use line::Line;
use meter::Meter;
use seated::Seated;

pub(crate) use receiving::{Destination, ReceiveParameters};
pub(crate) use sending::{Hints, Origins, SendParameters};

/// How often the other end hears where this one is.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// How often the other end is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Silence, on the control channel and on UDP, after which the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long the engine's threads may take to end; a hung disk can hold them.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What the two kinds of session have in common when data begins to flow.
pub(crate) struct Setting {
    /// Which way data flows, seen from the initiator.
    pub(crate) direction: Direction,
    pub(crate) agreed: Agreed,
    pub(crate) path: OpenedPath,
    /// What was asked of the sending rate.
    pub(crate) limits: Limits,
    /// The most the responder allows whatever is asked for.
    pub(crate) rate_max_bps: Option<u64>,
    /// What of a cap that sessions share this one may begin with.
    pub(crate) share_bps: Option<u64>,
    /// Where this session shares a cap with others.
    pub(crate) seat: Option<Seat>,
    /// Where events go, if anybody listens.
    pub(crate) events: Option<mpsc::UnboundedSender<Event>>,
    pub(crate) file_events: bool,
    /// Whether it is told what each file comes to.
    pub(crate) tells_digests: bool,
    pub(crate) progress_interval: Duration,
    pub(crate) cancel: watch::Receiver<bool>,
    /// Told when the session must end because what allowed it is taken back.
    pub(crate) withdrawn: Option<watch::Receiver<Option<Unauthorized>>>,
    /// Limits to change to.
    pub(crate) limit_changes: Option<watch::Receiver<Limits>>,
}

/// This end's part of the data.
pub(crate) enum Part {
    Send(SendParameters),
    Receive(ReceiveParameters),
}

/// Moves the data, and ends with the receiver's verdict.
///
/// # Errors
/// Whatever ends the session; the engine has stopped then, and what has arrived is kept.
pub(crate) async fn run(
    control: &mut Control,
    setting: Setting,
    part: Part,
) -> Result<Account, TransferError> {
    match part {
        Part::Send(parameters) => sending::send(control, setting, parameters).await,
        Part::Receive(parameters) => receiving::receive(control, setting, parameters).await,
    }
}

/// What is known when a session has ended well.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) verdict: Verdict,
    /// The sender's last figures.
    pub(crate) status: Status,
    /// What it cost this end, and the other one as far as it told.
    pub(crate) here: Host,
    pub(crate) there: Host,
    /// What this end did not send, if it sent.
    pub(crate) omitted: Option<Omitted>,
    /// Bytes of UDP payload in a full datagram.
    pub(crate) segment_len: usize,
    /// From the opening of the path to the verdict.
    pub(crate) data_time: Duration,
}

/// What woke the session.
enum Wake {
    Message(Message),
    Engine(EngineEvent),
    /// The user wants these from now on.
    Limits(Limits),
    /// The share of a common cap has changed.
    Ceiling(Option<u64>),
    Tick,
}

/// The running session, whichever way data goes.
struct Session<'a> {
    control: &'a mut Control,
    /// `None` once stopped.
    running: Option<Running>,
    engine: mpsc::UnboundedReceiver<EngineEvent>,
    events: Option<mpsc::UnboundedSender<Event>>,
    cancel: watch::Receiver<bool>,
    withdrawn: Option<watch::Receiver<Option<Unauthorized>>>,
    limits: Limits,
    limit_changes: Option<watch::Receiver<Limits>>,
    tells_digests: bool,
    seated: Option<Seated>,
    meter: Meter,
    line: Line,
    /// The path as it was told last.
    path: Option<PathFacts>,
    host: HostMeter,
    ticks: Interval,
    began: Instant,
    next_status: Instant,
    next_ping: Instant,
    /// When anything last came over UDP, and the count that shows it.
    udp_heard: (Instant, u64),
}

impl<'a> Session<'a> {
    fn new(
        control: &'a mut Control,
        running: Running,
        engine: mpsc::UnboundedReceiver<EngineEvent>,
        setting: SessionSetting,
    ) -> Self {
        control.phase = Phase::Data;
        let now = Instant::now();
        let mut ticks = interval(setting.progress_interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            control,
            running: Some(running),
            engine,
            events: setting.events,
            cancel: setting.cancel,
            withdrawn: setting.withdrawn,
            limits: setting.limits,
            limit_changes: setting.limit_changes,
            tells_digests: setting.tells_digests,
            seated: setting.seat.map(|seat| Seated::new(seat, now)),
            meter: Meter::new(now),
            host: HostMeter::start(Arc::clone(&setting.line.path)),
            line: setting.line,
            path: None,
            ticks,
            began: now,
            next_status: now + STATUS_INTERVAL,
            next_ping: now + PING_INTERVAL,
            udp_heard: (now, 0),
        }
    }

    /// Waits for the next thing that concerns this session in particular; what any session answers
    /// alike is answered here.
    ///
    /// # Errors
    /// Whatever ends the session.
    async fn wake(&mut self) -> Result<Wake, TransferError> {
        loop {
            tokio::select! {
                message = self.control.receive() => {
                    if let Some(message) = self.answer(message?)? {
                        return Ok(Wake::Message(message));
                    }
                }
                Some(event) = self.engine.recv() => return Ok(Wake::Engine(event)),
                () = cancelled(&mut self.cancel) => {
                    return Err(TransferError::Cancelled { by_peer: false });
                }
                why = withdrawn(&mut self.withdrawn) => return Err(why.into()),
                limits = changed(&mut self.limit_changes) => return Ok(Wake::Limits(limits)),
                ceiling = moved(&mut self.seated) => return Ok(Wake::Ceiling(ceiling)),
                _ = self.ticks.tick() => return Ok(Wake::Tick),
            }
        }
    }

    fn answer(&mut self, message: Message) -> Result<Option<Message>, TransferError> {
        match message {
            Message::Ping => self.control.send(&Message::Pong)?,
            Message::Pong | Message::HelloSeen => {}
            Message::Status(status) => self.meter.note_peer(status),
            Message::Warning(text) => self.warn(text.to_string(), true),
            Message::Cancel => return Err(TransferError::Cancelled { by_peer: true }),
            Message::Error(fault) => return Err(TransferError::remote(fault)),
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// What is due by the clock: the user's progress, the peer's status and ping, the watch over
    /// silence. `ours` has its `host` filled in here.
    fn tick(&mut self, snapshot: &Snapshot, ours: Status) -> Result<(), TransferError> {
        let now = Instant::now();
        let heard = udp_count(snapshot);
        if heard != self.udp_heard.1 {
            self.udp_heard = (now, heard);
        }
        if now - self.control.heard_at.max(self.udp_heard.0) > SILENCE_MAX {
            return Err(TransferError::ConnectionLost {
                during: self.control.phase,
                cause: format!("nothing was heard for {} s", SILENCE_MAX.as_secs()),
            });
        }
        if now >= self.next_ping {
            self.next_ping = now + PING_INTERVAL;
            self.control.send(&Message::Ping)?;
        }
        if now >= self.next_status {
            self.next_status = now + STATUS_INTERVAL;
            let host = self.host.read(snapshot);
            self.control
                .send(&Message::Status(Status { host, ..ours }))?;
        }
        self.report_path(snapshot);
        if let Some(seated) = &mut self.seated {
            seated.note(self.limits, udp_bytes(snapshot), now)?;
        }
        self.report_progress();
        Ok(())
    }

    fn report_path(&mut self, snapshot: &Snapshot) {
        if self.line.is_direct_now(snapshot) {
            self.warn(
                "UDP gets through now: data goes its own way".to_owned(),
                false,
            );
        }
        let now = self.line.path(snapshot);
        if now.is_none() || now == self.path {
            return;
        }
        // How it is at first says the session's own event.
        let before = std::mem::replace(&mut self.path, now);
        if let (Some(_), Some(facts)) = (before, now) {
            self.emit(Event::Path(facts));
        }
    }

    fn report_progress(&mut self) {
        if self.events.is_some() {
            let progress = self.meter.progress(Instant::now());
            self.emit(Event::Progress(progress));
        }
    }

    fn emit(&self, event: Event) {
        if let Some(events) = &self.events {
            // An owner that listens no more still gets the summary.
            let _ = events.send(event);
        }
    }

    /// Tells what a file comes to, if that is known and wanted.
    fn emit_digests(&self, file: &FileEvent) {
        if let Some(digests) = file.digests.filter(|_| self.tells_digests) {
            self.emit(Event::Digest(DigestRecord {
                path: file.path.clone(),
                bytes: file.size,
                digests,
            }));
        }
    }

    fn warn(&self, text: String, remote: bool) {
        self.emit(Event::Warning(Warning { text, remote }));
    }

    /// Tells both the user and the other end.
    fn warn_both(&self, text: String) -> Result<(), TransferError> {
        self.control.send(&Message::Warning(Text::new(&text)))?;
        self.warn(text, false);
        Ok(())
    }

    /// Tells the user what the receiver could not keep.
    fn warn_of_unkept(&self, verdict: &Verdict, remote: bool) {
        for unkept in &verdict.unkept {
            self.warn(unkept::told(unkept, "kept"), remote);
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.running
            .as_ref()
            .map(Running::snapshot)
            .unwrap_or_default()
    }

    /// Stops the engine without blocking the conversation's thread. The other end hears of an
    /// error before that: a hung disk must not keep it waiting.
    async fn end(&mut self, error: Option<&TransferError>) -> Option<Stopped> {
        if let Some(error) = error {
            self.control.say_why(error);
        }
        let running = self.running.take()?;
        let stopped = timeout(STOP_PATIENCE, spawn_blocking(move || running.stop()))
            .await
            .ok()?
            .ok()?;
        self.emit(Event::Line(self.line.facts(&stopped.snapshot)));
        Some(stopped)
    }
}

/// The part of a [`Setting`] that the loop needs.
struct SessionSetting {
    events: Option<mpsc::UnboundedSender<Event>>,
    progress_interval: Duration,
    cancel: watch::Receiver<bool>,
    withdrawn: Option<watch::Receiver<Option<Unauthorized>>>,
    limits: Limits,
    limit_changes: Option<watch::Receiver<Limits>>,
    seat: Option<Seat>,
    tells_digests: bool,
    line: Line,
}

/// Splits a setting into the engine's link and what the loop needs. Engine events arrive in the
/// receiver; `look` sees each of them first and says whether to pass it on.
fn connect(
    setting: Setting,
    mut look: impl FnMut(&EngineEvent) -> bool + Send + 'static,
) -> (Link, mpsc::UnboundedReceiver<EngineEvent>, SessionSetting) {
    let (events_out, events_in) = mpsc::unbounded_channel();
    let on_event: OnEvent = Box::new(move |event| {
        if look(&event) {
            // A session that has ended wants no more events.
            let _ = events_out.send(event);
        }
    });
    let line = Line {
        path: Arc::clone(&setting.path.path),
        datagram_len: setting.path.datagram_len,
        direct: setting.path.knock.map(|knock| knock.at),
    };
    let link = Link {
        path: setting.path.path,
        sealer: Arc::clone(&setting.agreed.sealer),
        opener: Arc::clone(&setting.agreed.opener),
        path_counter: setting.path.counter,
        opening: setting.path.opening,
        knock: setting.path.knock,
        on_event,
    };
    let session = SessionSetting {
        events: setting.events,
        progress_interval: setting.progress_interval,
        cancel: setting.cancel,
        withdrawn: setting.withdrawn,
        limits: setting.limits,
        limit_changes: setting.limit_changes,
        seat: setting.seat,
        tells_digests: setting.tells_digests,
        line,
    };
    (link, events_in, session)
}

/// Resolves when the user wants no more; never when nobody can want that any more.
pub(crate) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves when what allowed the session is taken back; never when nobody can do that any more.
async fn withdrawn(withdrawn: &mut Option<watch::Receiver<Option<Unauthorized>>>) -> Unauthorized {
    if let Some(withdrawn) = withdrawn
        && let Ok(why) = withdrawn.wait_for(Option::is_some).await
        && let Some(why) = &*why
    {
        return why.clone();
    }
    std::future::pending().await
}

/// The next limits to change to; never resolves when none can come any more.
async fn changed(limits: &mut Option<watch::Receiver<Limits>>) -> Limits {
    if let Some(limits) = limits
        && limits.changed().await.is_ok()
    {
        return *limits.borrow_and_update();
    }
    std::future::pending().await
}

/// The next share of a common cap; never resolves without one.
async fn moved(seated: &mut Option<Seated>) -> Option<u64> {
    match seated {
        Some(seated) => seated.moved().await,
        None => std::future::pending().await,
    }
}

/// UDP payload that was sent, or that has arrived.
fn udp_bytes(snapshot: &Snapshot) -> u64 {
    let sent = snapshot
        .sender
        .as_ref()
        .map_or(0, |sender| sender.sent_bytes);
    let received = snapshot
        .receiver
        .as_ref()
        .map_or(0, |receiver| receiver.received_bytes);
    sent + received
}

/// Grows whenever the other end is heard over UDP.
fn udp_count(snapshot: &Snapshot) -> u64 {
    let reports = snapshot.sender.as_ref().map_or(0, |sender| sender.reports);
    let packets = snapshot
        .receiver
        .as_ref()
        .map_or(0, |receiver| receiver.received_packets);
    reports + packets
}
