use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use haul_disk::{Asked, DiskError, Expected, ReceiveOptions, ScanOptions, Wanted};
use haul_engine::Knock;
use haul_manifest::Name;
use haul_udp::UdpPath;
use haul_wire::{
    PacketCounter, block_len,
    control::{Accepted, After, Joinable, Message, Request, Taking, UdpEndpoint, Verify, escaped},
    segment_len,
};
use serde_bytes::ByteBuf;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::{
    Direction, Event, Job, JobOptions, Phase, Proofs, Resume, SessionFacts, Summary, TransferError,
    UdpDirection, Warning,
    control::{Control, HELLO_PATIENCE, SETUP_PATIENCE},
    data::{
        self, Account, Destination, Hints, Origins, Part, ReceiveParameters, SendParameters,
        Setting, cancelled,
    },
    detour::{self, this_machine},
    handshake::{ClientOffer, Greeted, greet},
    path::{self, Opened, OpenedPath, Origin, Stop},
    place::{in_background, landing},
    summary::{Terms, conclude},
    take::{Wishes, left_out},
};

/// Until UDP counts as blocked.
const UDP_PATIENCE: Duration = Duration::from_secs(8);
/// The same at most where there is another way,
const UDP_PATIENCE_SHORT: Duration = Duration::from_secs(5);
/// and at least: two rounds of hellos, of many datagrams each. Who gave up too early moves back soon.
const UDP_PATIENCE_MIN: Duration = Duration::from_millis(400);
/// In between, so many times what the first answer on the control channel took: a round trip, and what a
/// machine needs that is busy.
const UDP_PATIENCE_ANSWERS: u32 = 3;

/// Runs a job over an established control channel to `haul --remote` or hauld.
///
/// `peer` is the address that SSH reached: datagrams go there. `events` hears how it goes; turning
/// `cancel` true ends it in order.
///
/// # Errors
/// [`TransferError::Partial`] when the receiver misses some names, and everything else that keeps a
/// transfer from succeeding. What has arrived is kept.
pub async fn initiate<C>(
    job: Job,
    control: C,
    peer: IpAddr,
    events: mpsc::UnboundedSender<Event>,
    cancel: watch::Receiver<bool>,
) -> Result<Summary, TransferError>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, writer) = tokio::io::split(control);
    let mut control = Control::initiator(reader, writer);
    let initiator = Initiator {
        job: job.harmless(),
        peer: peer.to_canonical(),
        events,
        cancel,
    };
    let outcome = initiator.run(&mut control).await;
    if let Err(error) = &outcome {
        control.say_why(error);
    }
    control.finish().await;
    outcome
}

struct Initiator {
    job: Job,
    peer: IpAddr,
    events: mpsc::UnboundedSender<Event>,
    cancel: watch::Receiver<bool>,
}

/// Both ends are sure of each other and the path is open.
struct Ready {
    greeted: Greeted,
    path: OpenedPath,
    part: Part,
    accepted: Accepted,
}

impl Initiator {
    async fn run(self, control: &mut Control) -> Result<Summary, TransferError> {
        let began = Instant::now();
        let mut cancel = self.cancel.clone();
        let ready = tokio::select! {
            ready = self.set_up(control, began) => ready?,
            () = cancelled(&mut cancel) => {
                return Err(TransferError::Cancelled { by_peer: false });
            }
        };
        self.emit(Event::Session(self.facts(&ready)));
        let suite = ready.greeted.agreed.suite;
        let account = self.move_data(control, ready).await?;
        let terms = Terms {
            direction: self.job.direction,
            is_measurement: self.job.measure.is_some(),
            is_rehearsal: self.job.options.placing.dry_run,
            suite,
            policy: self.job.options.policy,
            time: began.elapsed(),
            control_bytes: control.bytes(),
        };
        conclude(account, terms)
    }

    async fn set_up(&self, control: &mut Control, began: Instant) -> Result<Ready, TransferError> {
        let wanted = self.wanted().await?;
        let asked = Instant::now();
        let greeted = self.greet(control).await?;
        let patience = self.udp_patience(asked.elapsed());
        control.send(&Message::Request(Box::new(self.request())))?;
        control.phase = Phase::Request;
        let deadline = began + SETUP_PATIENCE;
        let (path, accepted) = self
            .await_both(control, &greeted, patience, deadline)
            .await?;
        let part = self.part(wanted, accepted).await?;
        Ok(Ready {
            greeted,
            path,
            part,
            accepted,
        })
    }

    /// Looks at what is to be sent before the other end is troubled.
    async fn wanted(&self) -> Result<Wanted, TransferError> {
        let Job {
            direction, sources, ..
        } = &self.job;
        let is_measuring = self.job.measure.is_some();
        let JobOptions {
            placing, taking, ..
        } = &self.job.options;
        if placing.check().is_err() {
            return Err(TransferError::Usage("a suffix is no part of a name"));
        }
        // Directories that are only on the way to where something lands were not looked through.
        if placing.delete && (!taking.targets.is_empty() || taking.src_base.is_some()) {
            return Err(TransferError::Usage(
                "what the source does not have cannot be told where sources land in places of choice",
            ));
        }
        if self.job.options.is_in_order() && placing.dry_run {
            return Err(TransferError::Usage(
                "what becomes of a stream, a growing file or a part of one is not foreseen: do without --dry-run",
            ));
        }
        if self.job.options.is_in_order() && self.job.options.proofs.wanted {
            return Err(TransferError::Usage(
                "a stream, a growing file or a part of a file is not proved: do without --verify",
            ));
        }
        if let Some(refusal) = self.job.unprotectable() {
            return Err(TransferError::Usage(refusal));
        }
        if sources.is_empty() != is_measuring {
            return Err(TransferError::Usage("nothing to transfer"));
        }
        if *direction == Direction::Download {
            return Ok(Wanted::default());
        }
        let options = &self.job.options;
        options.limits().check()?;
        if is_measuring || options.input.is_some() {
            return Ok(Wanted::default());
        }
        let scan = ScanOptions {
            times: options.preserve.times || options.is_judged(),
            compare: options.asked_resume(),
            proofs: options.asked_proofs(),
            preserve: options.preserve,
            ..ScanOptions::default()
        };
        let wishes = Wishes::new(&options.taking, &options.placing, scan);
        let sources = sources.clone();
        let wanted = in_background("sources", move || wishes.local(&sources)).await?;
        let protection = options.protection.clone();
        Ok(Wanted {
            protection,
            ..wanted
        })
    }

    /// This end's part of the data, now that the responder has said what there is.
    async fn part(&self, wanted: Wanted, accepted: Accepted) -> Result<Part, TransferError> {
        let Job {
            direction,
            sources: specs,
            destination,
            measure,
            options,
        } = self.job.clone();
        if direction == Direction::Upload {
            return Ok(Part::Send(SendParameters {
                origins: match (measure, options.input) {
                    (Some(measure), _) => Origins::Memory(measure),
                    (None, Some(input)) => Origins::Pipe(input, pipe_name(&specs)?),
                    (None, None) => Origins::Files(Box::new(wanted)),
                },
                hints: Hints {
                    remembered: self.job.options.remembered,
                    ecn: self.job.options.ecn,
                    waits: accepted.judges,
                    rehearses: options.placing.dry_run,
                },
            }));
        }
        let receive_buffer_bytes = options.receive_buffer_bytes;
        if measure.is_some() {
            return Ok(Part::Receive(ReceiveParameters {
                destination: Destination::Memory,
                judges: false,
                is_awaited: false,
                receive_buffer_bytes,
            }));
        }
        if let Some(output) = options.output {
            if accepted.source_count != 1 {
                return Err(DiskError::NotOne.into());
            }
            return Ok(Part::Receive(ReceiveParameters {
                destination: Destination::Stream(output),
                judges: true,
                is_awaited: true,
                receive_buffer_bytes,
            }));
        }
        let count = usize::try_from(accepted.source_count).unwrap_or(usize::MAX);
        let asked = Asked {
            count,
            ..Asked::of(&specs)
        };
        let create_dir = options.placing.create_dir;
        let resolve = landing(&options.placing);
        let resolve = move || resolve(Path::new("."), &destination, asked, create_dir);
        let (root, landing) = in_background("destination", move || Ok(resolve()?)).await?;
        let mut receive = ReceiveOptions::new(options.preserve);
        receive.expected = Some(expected(&specs, &options.taking)?);
        receive.resume = options.asked_resume();
        receive.placing = options.placing.clone();
        receive.proofs = options.asked_proofs();
        receive.left_out = left_out(&options.taking)?;
        let destination = Destination::Files {
            root,
            landing,
            options: Box::new(receive),
        };
        Ok(Part::Receive(ReceiveParameters {
            judges: destination.judges(),
            is_awaited: options.is_judged(),
            destination,
            receive_buffer_bytes,
        }))
    }

    async fn greet(&self, control: &mut Control) -> Result<Greeted, TransferError> {
        let options = &self.job.options;
        let ports = options.udp_ports.clone();
        let offer = ClientOffer {
            ipv6: self.peer.is_ipv6(),
            udp_ports: (*ports.end() > 0).then(|| (*ports.start(), *ports.end())),
            ..ClientOffer::new(&options.suites, options.receive_buffer_bytes)
        };
        let greeted = greet(control, &offer, Instant::now() + HELLO_PATIENCE).await?;
        if !greeted.noise.is_empty() {
            self.emit(Event::Noise(escaped(&greeted.noise)));
        }
        Ok(greeted)
    }

    fn request(&self) -> Request {
        let Job {
            direction,
            sources,
            destination,
            measure,
            options,
        } = &self.job;
        let (asked_for, target) = match direction {
            Direction::Upload => (Vec::new(), destination.clone()),
            Direction::Download => (sources.clone(), Vec::new()),
        };
        let asked = Asked::of(sources);
        let wish = options.limits().to_wire();
        // Nothing of files has a meaning where there are none.
        let none = JobOptions::default();
        let of_files = measure.map_or(options, |_| &none);
        Request {
            direction: *direction,
            sources: asked_for.into_iter().map(ByteBuf::from).collect(),
            destination: ByteBuf::from(target),
            source_count: asked.count as u64,
            source_contents: asked.contents,
            taking: match direction {
                Direction::Download => of_files.taking.clone(),
                // Where sources are and what they are called there concerns nobody else.
                Direction::Upload => Taking {
                    targets: Vec::new(),
                    src_base: None,
                    after: After::Keep,
                    ..of_files.taking.clone()
                },
            },
            placing: of_files.placing.clone(),
            preserve: of_files.preserve,
            resume: measure.map_or(options.asked_resume(), |_| Resume::Never),
            verify: self.verify(),
            policy: wish.policy,
            rate: wish.rate,
            remembered: options.remembered,
            ecn: options.ecn,
            measure: *measure,
            token: options.token.clone(),
        }
    }

    fn verify(&self) -> Verify {
        let Proofs { wanted, all, .. } = self.job.options.asked_proofs();
        match self.job.direction {
            _ if !wanted || self.job.measure.is_some() => Verify::None,
            Direction::Upload if all => Verify::All,
            _ => Verify::Sent,
        }
    }

    /// How long to wait for a datagram, when the first answer on the control channel took so long.
    fn udp_patience(&self, answer: Duration) -> Duration {
        if !self.job.options.fallback {
            return UDP_PATIENCE;
        }
        (UDP_PATIENCE_MIN + answer * UDP_PATIENCE_ANSWERS).min(UDP_PATIENCE_SHORT)
    }

    /// Where the responder receives datagrams.
    fn server(&self, greeted: &Greeted) -> Result<SocketAddr, TransferError> {
        // The handshake refuses an empty list.
        let UdpEndpoint { ip, port } = *greeted
            .udp
            .first()
            .ok_or(TransferError::Usage("no UDP address"))?;
        Ok(SocketAddr::new(
            ip.unwrap_or(self.peer).to_canonical(),
            port,
        ))
    }

    /// Starts the thread that opens the path; dropping the first value stops it.
    fn begin_opening(
        &self,
        greeted: &Greeted,
        server: SocketAddr,
        counter: PacketCounter,
        patience: Duration,
    ) -> Result<(Stop, Opening), TransferError> {
        let any = match server.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // The way to a detour begins on this machine.
        let is_detour = server.ip().is_loopback();
        let local = self.job.options.bind.filter(|_| !is_detour).unwrap_or(any);
        let socket = Arc::new(UdpPath::bind(local, crate::ANY_UDP_PORT)?);
        let origin = if self.job.options.any_source {
            Origin::Anywhere
        } else {
            Origin::only(server.ip())
        };
        let seals = (
            Arc::clone(&greeted.agreed.sealer),
            Arc::clone(&greeted.agreed.opener),
            counter,
        );
        let stop = Stop::default();
        let stopped = stop.watch();
        let opening =
            spawn_blocking(move || path::open(socket, server, origin, seals, patience, &stopped));
        Ok((stop, opening))
    }

    /// Opens as many further channels as a detour with this round trip may need, without waiting for them.
    fn open_channels(&self, control: &Control, joinable: Joinable, rtt: Duration) {
        let Some(channels) = &self.job.options.channels else {
            return;
        };
        let further = detour::channels(rtt) - 1;
        for _ in 0..further.min(joinable.most.into()) {
            let (channels, carriage) = (channels.clone(), control.carriage());
            tokio::spawn(async move {
                let opened = spawn_blocking(move || channels.open(joinable.name)).await;
                // Without it the others carry everything.
                if let Ok(Ok(stream)) = opened
                    && let Ok(stream) = UnixStream::from_std(stream)
                {
                    let (reader, writer) = stream.into_split();
                    carriage.carry(reader, writer, false).await;
                }
            });
        }
    }

    /// Where UDP may open some day. From one address alone that cannot be found out by a socket that also
    /// reaches the detour.
    fn knock(&self, server: SocketAddr) -> Option<Knock> {
        let options = &self.job.options;
        options.bind.is_none().then_some(Knock {
            at: server,
            after: options.knock_after,
        })
    }

    /// Waits for the open path and for the responder's word, in whatever order they come.
    async fn await_both(
        &self,
        control: &mut Control,
        greeted: &Greeted,
        patience: Duration,
        deadline: Instant,
    ) -> Result<(OpenedPath, Accepted), TransferError> {
        let server = self.server(greeted)?;
        let (mut stop, mut opening) =
            self.begin_opening(greeted, server, PacketCounter::new(), patience)?;
        let mut is_detour = false;
        let mut joinable = None;
        let mut path = None;
        let mut accepted = None;
        let mut hello_seen = false;
        loop {
            if accepted.is_some() {
                control.phase = Phase::Path;
            }
            tokio::select! {
                opened = &mut opening, if path.is_none() => {
                    match opened.map_err(|_| TransferError::TaskFailed("path"))?? {
                        Opened::Path(opened) => {
                            path = Some(OpenedPath {
                                is_detour,
                                knock: self.knock(server).filter(|_| is_detour),
                                ..opened
                            });
                        }
                        Opened::Silence(counter) => {
                            let closed = closed(hello_seen, patience);
                            if is_detour || !self.job.options.fallback {
                                return Err(closed);
                            }
                            is_detour = true;
                            self.emit(Event::Warning(Warning {
                                text: format!("{closed}; going on over SSH, which is slower"),
                                remote: false,
                            }));
                            control.send(&Message::Detour)?;
                            let bridge = control.open_detour(this_machine(server.ip()), None)?;
                            (stop, opening) =
                                self.begin_opening(greeted, bridge, counter, UDP_PATIENCE)?;
                        }
                    }
                }
                message = control.expect(deadline, "answer to the request") => {
                    match message?.message {
                        Message::Accepted(word) if accepted.is_none() => accepted = Some(word),
                        Message::HelloSeen => hello_seen = true,
                        Message::Joinable(word) if is_detour => joinable = Some(word),
                        Message::Warning(text) => self.warn(text.to_string()),
                        Message::Ping => control.send(&Message::Pong)?,
                        Message::Pong | Message::Status(_) => {}
                        early @ (Message::InForce(_) | Message::Ceiling(_)) => {
                            control.postpone(early);
                        }
                        other => return Err(control.unexpected(&other)),
                    }
                }
            }
            match (path, accepted) {
                (Some(path), Some(accepted)) if !is_detour || joinable.is_some() => {
                    drop(stop);
                    if let Some(joinable) = joinable {
                        self.open_channels(control, joinable, path.rtt);
                    }
                    return Ok((path, accepted));
                }
                (opened, _) => path = opened,
            }
        }
    }

    async fn move_data(
        &self,
        control: &mut Control,
        ready: Ready,
    ) -> Result<Account, TransferError> {
        let options = &self.job.options;
        let setting = Setting {
            direction: self.job.direction,
            agreed: ready.greeted.agreed,
            path: ready.path,
            limits: options.limits(),
            rate_max_bps: ready.accepted.rate_max_bps,
            share_bps: ready.accepted.share_bps,
            seat: None,
            events: Some(self.events.clone()),
            file_events: options.file_events,
            tells_digests: options.proofs.all,
            progress_interval: options.progress_interval,
            cancel: self.cancel.clone(),
            withdrawn: None,
            limit_changes: options.limit_changes.clone(),
        };
        data::run(control, setting, ready.part).await
    }

    fn facts(&self, ready: &Ready) -> SessionFacts {
        SessionFacts {
            direction: self.job.direction,
            suite: ready.greeted.agreed.suite,
            policy: self.job.options.policy,
            peer: ready.path.peer,
            segment_len: segment_len(block_len(ready.path.datagram_len)),
            rtt: ready.path.rtt,
            agent: ready.greeted.agreed.agent.to_string(),
        }
    }

    fn warn(&self, text: String) {
        self.emit(Event::Warning(Warning { text, remote: true }));
    }

    fn emit(&self, event: Event) {
        // An owner that listens no more still gets the summary.
        let _ = self.events.send(event);
    }
}

/// What a stream is called where its destination is a directory.
fn pipe_name(specs: &[Vec<u8>]) -> Result<Name, TransferError> {
    match specs {
        [name] => Name::new(name).map_err(|_| TransferError::Usage("a stream needs a name")),
        _ => Err(DiskError::NotOne.into()),
    }
}

/// What may come of a download.
fn expected(specs: &[Vec<u8>], taking: &Taking) -> Result<Expected, TransferError> {
    Ok(match &taking.src_base {
        Some(base) => Expected::below(specs, base)?,
        None if !taking.targets.is_empty() => Expected::at(&taking.targets)?,
        None => Expected::new(specs),
    })
}

type Opening = JoinHandle<Result<Opened, TransferError>>;

fn closed(hello_seen: bool, waited: Duration) -> TransferError {
    let direction = if hello_seen {
        UdpDirection::ToClient
    } else {
        UdpDirection::ToServer
    };
    TransferError::UdpClosed { direction, waited }
}
