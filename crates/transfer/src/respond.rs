use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use haul_disk::{Asked, Bounds, DiskError, Proofs, ReceiveOptions, ScanOptions};
use haul_udp::UdpPath;
use haul_wire::{
    SuiteId, block_len,
    control::{Accepted, After, Joinable, Message, Request, UdpEndpoint, Verify},
    segment_len,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::{
    Asking, Direction, Event, Leave, Limits, Phase, RequestFacts, RespondSetup, Seat, Seats,
    SessionFacts, Summary, TransferError, Unauthorized,
    control::{Control, HELLO_PATIENCE, SETUP_PATIENCE},
    data::{
        self, Account, Destination, Hints, Origins, Part, ReceiveParameters, SendParameters,
        Setting, cancelled,
    },
    detour::this_machine,
    handshake::{Agreed, ServerPolicy, answer, hear},
    path::{self, Detoured, OpenedPath, Origin, Stop},
    place::{Ground, in_background},
    summary::{Terms, conclude},
    take::{Wishes, left_out},
};

/// Where no further channel can join.
const NOT_JOINABLE: Joinable = Joinable { name: 0, most: 0 };
/// Between two looks at a session that nobody watches.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at one that shares a cap with others.
const SHARING_TICK: Duration = Duration::from_millis(100);

/// Serves one job over the other end of a control channel: the standard streams of `haul --remote`,
/// or a channel of hauld.
///
/// # Errors
/// Everything that keeps the transfer from succeeding; the initiator has been told. What has
/// arrived is kept.
pub async fn respond<R, W>(
    reader: R,
    writer: W,
    setup: RespondSetup,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut control = Control::responder(reader, writer);
    // Dropping the other half would read as a wish to stop that can never come.
    let (_never, no_cancel) = watch::channel(false);
    let cancel = setup.cancel.clone().unwrap_or(no_cancel);
    let responder = Responder { setup, cancel };
    let outcome = responder.run(&mut control).await;
    if let Err(error) = &outcome {
        control.say_why(error);
    }
    control.finish().await;
    outcome
}

struct Responder {
    setup: RespondSetup,
    cancel: watch::Receiver<bool>,
}

/// Both ends are sure of each other and the path is open.
struct Ready {
    agreed: Agreed,
    path: OpenedPath,
    request: Request,
    limits: Limits,
    part: Part,
    rate_max_bps: Option<u64>,
    withdrawn: Option<watch::Receiver<Option<Unauthorized>>>,
    seat: Option<Seat>,
}

impl Responder {
    async fn run(self, control: &mut Control) -> Result<Summary, TransferError> {
        let began = Instant::now();
        let mut cancel = self.cancel.clone();
        let ready = tokio::select! {
            ready = self.set_up(control, began + SETUP_PATIENCE) => ready?,
            () = cancelled(&mut cancel) => {
                return Err(TransferError::Cancelled { by_peer: false });
            }
        };
        let (direction, suite, policy) = (
            ready.request.direction,
            ready.agreed.suite,
            ready.limits.policy,
        );
        let is_measurement = ready.request.measure.is_some();
        let is_rehearsal = ready.request.placing.dry_run;
        self.emit(|| Event::Session(facts(&ready)));
        let account = self.move_data(control, ready).await?;
        let control_bytes = control.bytes();
        conclude(
            account,
            Terms {
                direction,
                is_measurement,
                is_rehearsal,
                suite,
                policy,
                time: began.elapsed(),
                control_bytes,
            },
        )
    }

    async fn set_up(
        &self,
        control: &mut Control,
        deadline: Instant,
    ) -> Result<Ready, TransferError> {
        let setup = &self.setup;
        let policy = ServerPolicy::new(&setup.suites, setup.allow_none, setup.receive_buffer_bytes);
        let heard = hear(control, &policy, Instant::now() + HELLO_PATIENCE).await?;
        let socket = Arc::new(self.bind(heard.hello.ipv6, heard.hello.udp_ports)?);
        let endpoint = UdpEndpoint {
            ip: setup.advertise,
            port: socket.local_addr().port(),
        };
        let agreed = answer(control, &policy, &heard, vec![endpoint], deadline).await?;
        let port = socket.local_addr();
        let detoured = Detoured::default();
        let (stop, opening) =
            self.begin_opening(control, socket, &agreed, detoured.clone(), deadline);

        control.phase = Phase::Request;
        let request = match control.expect(deadline, "request").await?.message {
            Message::Request(request) => *request,
            other => return Err(control.unexpected(&other)),
        };
        self.emit(|| Event::Request(asked_for(&request)));
        let leave = self.ask_leave(&request, agreed.suite).await?;
        let (limits, part) = self.consider(&request, &leave).await?;
        let ceilings = [setup.rate_max_bps, leave.rate_max_bps];
        let rate_max_bps = ceilings.into_iter().flatten().min();
        let source_count = match &part {
            Part::Send(parameters) => parameters.origins.count(),
            Part::Receive(_) => request.source_count,
        };
        let judges = matches!(&part, Part::Receive(parameters) if parameters.judges);
        let seat = self.seat(request.direction).or_else(|| {
            // What this end sends it holds to the ceiling itself.
            let given = leave.rate_max_bps;
            let given = given.filter(|_| request.direction == Direction::Upload);
            given.map(Seat::alone)
        });
        control.send(&Message::Accepted(Accepted {
            source_count,
            rate_max_bps,
            share_bps: seat.as_ref().and_then(Seat::share),
            judges,
        }))?;
        control.phase = Phase::Path;
        let path = self
            .await_path(control, opening, (port, detoured), deadline)
            .await?;
        drop(stop);
        Ok(Ready {
            agreed,
            path,
            request,
            limits,
            part,
            rate_max_bps,
            withdrawn: leave.withdrawn,
            seat,
        })
    }

    fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.setup.events {
            // A transfer goes on without listeners.
            let _ = events.send(event());
        }
    }

    /// A socket of the family that the initiator names, on a port that both ends want.
    fn bind(&self, ipv6: bool, wished: Option<(u16, u16)>) -> Result<UdpPath, TransferError> {
        let any = if ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        // "Any address" means any of the family that datagrams will come over.
        let wanted = self.setup.bind.filter(|ip| !ip.is_unspecified());
        let ip: IpAddr = wanted.unwrap_or(any);
        let ports = common_ports(self.setup.udp_ports.clone(), wished)?;
        Ok(UdpPath::bind(ip, ports)?)
    }

    /// Starts the thread that awaits the initiator's datagrams; dropping the first value stops it.
    fn begin_opening(
        &self,
        control: &Control,
        socket: Arc<UdpPath>,
        agreed: &Agreed,
        detoured: Detoured,
        deadline: Instant,
    ) -> (Stop, JoinHandle<Result<OpenedPath, TransferError>>) {
        let origin = match self.setup.ssh_peer {
            Some(ip) if !self.setup.any_source => Origin::Only(ip, detoured),
            _ => Origin::Anywhere,
        };
        let seals = (Arc::clone(&agreed.sealer), Arc::clone(&agreed.opener));
        let patience = deadline.saturating_duration_since(Instant::now());
        let tell = control.messenger();
        let stop = Stop::default();
        let stopped = stop.watch();
        let opening = spawn_blocking(move || {
            let heard = || tell(&Message::HelloSeen);
            path::await_opening(socket, origin, seals, patience, &stopped, heard)
        });
        (stop, opening)
    }

    /// Waits for the open path; the initiator may give up meanwhile.
    async fn await_path(
        &self,
        control: &mut Control,
        mut opening: JoinHandle<Result<OpenedPath, TransferError>>,
        (engine, detoured): (SocketAddr, Detoured),
        deadline: Instant,
    ) -> Result<OpenedPath, TransferError> {
        loop {
            tokio::select! {
                opened = &mut opening => {
                    let opened = opened.map_err(|_| TransferError::TaskFailed("path"))??;
                    return Ok(OpenedPath {
                        is_detour: detoured.is_set(),
                        ..opened
                    });
                }
                message = control.expect(deadline, "UDP path") => match message?.message {
                    Message::Ping => control.send(&Message::Pong)?,
                    Message::Pong | Message::Status(_) => {}
                    Message::Detour => {
                        detoured.set();
                        let engine = on_this_machine(engine);
                        control.open_detour(this_machine(engine.ip()), Some(engine))?;
                        let joinable = (self.setup.joinable).then(|| control.let_join()).flatten();
                        control.send(&Message::Joinable(joinable.unwrap_or(NOT_JOINABLE)))?;
                    }
                    early @ (Message::Rate(_) | Message::InForce(_) | Message::Had(_)) => {
                        control.postpone(early);
                    }
                    other => return Err(control.unexpected(&other)),
                }
            }
        }
    }

    /// Asks whoever decides, before anything is looked at.
    async fn ask_leave(&self, request: &Request, suite: SuiteId) -> Result<Leave, TransferError> {
        let Some(gate) = self.setup.gate.clone() else {
            // Whoever shows one counts on its being looked at.
            return match &request.token {
                Some(_) => Err(TransferError::NotPermitted(
                    "tokens: nobody here can read them",
                )),
                None => Ok(Leave::default()),
            };
        };
        let asking = Asking {
            request: request.clone(),
            suite,
        };
        in_background("request", move || Ok(gate.decide(asking)?)).await
    }

    /// Whether the request can and may be served, and what it means on this machine.
    async fn consider(
        &self,
        request: &Request,
        leave: &Leave,
    ) -> Result<(Limits, Part), TransferError> {
        let RespondSetup {
            allow_upload,
            allow_download,
            allow_measure,
            allow_privileged,
            ..
        } = self.setup;
        match request.direction {
            Direction::Upload if !allow_upload => {
                return Err(TransferError::NotPermitted("uploads"));
            }
            Direction::Download if !allow_download => {
                return Err(TransferError::NotPermitted("downloads"));
            }
            _ if request.measure.is_some() && !allow_measure => {
                return Err(TransferError::NotPermitted("measurements"));
            }
            Direction::Upload if request.preserve.privileged && !allow_privileged => {
                return Err(TransferError::NotPermitted(
                    "privileged attributes, without --allow-privileged at the server",
                ));
            }
            Direction::Download if !allow_upload && request.taking.after != After::Keep => {
                return Err(TransferError::NotPermitted("changing what is served"));
            }
            Direction::Download if request.sources.is_empty() && request.measure.is_none() => {
                return Err(TransferError::Usage("nothing to transfer"));
            }
            _ => {}
        }
        let limits = Limits::from_wire(&request.policy, request.rate)?;
        let ground = Ground::new(self.setup.home.clone(), self.setup.jail.clone());
        if request.direction == Direction::Download {
            limits.check()?;
        }
        let (request, leave) = (request.clone(), leave.clone());
        let receive_buffer_bytes = self.setup.receive_buffer_bytes;
        let look = move || match request.direction {
            Direction::Download => Ok(Part::Send(SendParameters {
                origins: origins(&ground, &request, leave.bounds)?,
                hints: Hints {
                    remembered: request.remembered,
                    ecn: request.ecn,
                    waits: request.is_judged(),
                    rehearses: request.placing.dry_run,
                },
            })),
            Direction::Upload => {
                let destination = destination(&ground, &request, leave)?;
                Ok(Part::Receive(ReceiveParameters {
                    judges: destination.judges(),
                    is_awaited: false,
                    destination,
                    receive_buffer_bytes,
                }))
            }
        };
        Ok((limits, in_background("request", look).await?))
    }

    /// A place under the cap of this direction, if there is one.
    fn seat(&self, direction: Direction) -> Option<Seat> {
        let seats = match direction {
            Direction::Upload => &self.setup.upload_seats,
            Direction::Download => &self.setup.download_seats,
        };
        seats.as_ref().map(Seats::take)
    }

    async fn move_data(
        &self,
        control: &mut Control,
        ready: Ready,
    ) -> Result<Account, TransferError> {
        let direction = ready.request.direction;
        let tick = if ready.seat.is_some() {
            SHARING_TICK
        } else {
            TICK
        };
        let setting = Setting {
            direction,
            agreed: ready.agreed,
            path: ready.path,
            limits: ready.limits,
            rate_max_bps: ready.rate_max_bps,
            share_bps: ready.seat.as_ref().and_then(Seat::share),
            seat: ready.seat,
            events: self.setup.events.clone(),
            file_events: false,
            tells_digests: false,
            progress_interval: tick,
            cancel: self.cancel.clone(),
            withdrawn: ready.withdrawn,
            limit_changes: None,
        };
        data::run(control, setting, ready.part).await
    }
}

fn asked_for(request: &Request) -> RequestFacts {
    let paths = match request.direction {
        _ if request.measure.is_some() => Vec::new(),
        Direction::Upload => vec![request.destination.to_vec()],
        Direction::Download => request.sources.iter().map(|path| path.to_vec()).collect(),
    };
    RequestFacts {
        direction: request.direction,
        paths,
    }
}

fn facts(ready: &Ready) -> SessionFacts {
    SessionFacts {
        direction: ready.request.direction,
        suite: ready.agreed.suite,
        policy: ready.limits.policy,
        peer: ready.path.peer,
        segment_len: segment_len(block_len(ready.path.datagram_len)),
        rtt: ready.path.rtt,
        agent: ready.agreed.agent.to_string(),
    }
}

fn origins(ground: &Ground, request: &Request, bounds: Bounds) -> Result<Origins, TransferError> {
    if let Some(measure) = request.measure {
        return Ok(Origins::Memory(measure));
    }
    let scan = ScanOptions {
        times: request.preserve.times || request.is_judged(),
        compare: request.resume,
        proofs: proofs(request),
        preserve: request.preserve,
        ..ScanOptions::default()
    };
    let wishes = Wishes::new(&request.taking, &request.placing, scan);
    let wanted = wishes.served(ground, &request.sources, bounds)?;
    Ok(Origins::Files(Box::new(wanted)))
}

fn destination(
    ground: &Ground,
    request: &Request,
    leave: Leave,
) -> Result<Destination, TransferError> {
    if request.measure.is_some() {
        return Ok(Destination::Memory);
    }
    let (root, landing) = ground.landing(&request.destination, asked(request), &request.placing)?;
    let mut options = ReceiveOptions::new(request.preserve);
    options.resume = request.resume;
    options.placing = request.placing.clone();
    options.proofs = proofs(request);
    options.awaits_proofs = request.verify == Verify::All;
    options.left_out = left_out(&request.taking)?;
    options.umask = leave.umask.unwrap_or(options.umask);
    options.bounds = leave.bounds;
    if let Some(rule) = options.bounds.names.take() {
        let failed = |cause| DiskError::Destination {
            path: PathBuf::new(),
            cause,
        };
        let place = root.place().map_err(failed)?;
        options.bounds.names = Some(rule.below(ground.inside(&place)?));
    }
    Ok(Destination::Files {
        root,
        landing,
        options: Box::new(options),
    })
}

fn asked(request: &Request) -> Asked {
    Asked {
        count: usize::try_from(request.source_count).unwrap_or(usize::MAX),
        contents: request.source_contents,
    }
}

fn proofs(request: &Request) -> Proofs {
    match request.verify {
        Verify::None => Proofs::NONE,
        Verify::Sent | Verify::All => Proofs::SENT,
    }
}

/// The allowed ports among those wished for.
fn common_ports(
    allowed: RangeInclusive<u16>,
    wished: Option<(u16, u16)>,
) -> Result<RangeInclusive<u16>, TransferError> {
    let Some((first, last)) = wished else {
        return Ok(allowed);
    };
    let ports = if allowed == crate::ANY_UDP_PORT {
        first..=last
    } else {
        first.max(*allowed.start())..=last.min(*allowed.end())
    };
    if ports.is_empty() || *ports.start() == 0 {
        return Err(TransferError::NotPermitted("the UDP ports asked for"));
    }
    Ok(ports)
}

/// How a socket of this machine is reached from here.
fn on_this_machine(socket: SocketAddr) -> SocketAddr {
    match socket.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(this_machine(ip), socket.port()),
        _ => socket,
    }
}
