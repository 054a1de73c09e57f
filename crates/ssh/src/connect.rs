//! From a target to a running remote command.

use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::auth::{self, Login};
use crate::conduit::Conduit;
use crate::config::{self, HostConfig, Sources};
use crate::error::{ConfigFault, SshError, Stage};
use crate::host_key::{self, HostKey};
use crate::known_hosts::{HostName, KnownHosts};
use crate::link::Link;
use crate::options::Options;
use crate::pump::Pump;
use crate::session::{Channels, Ending, Remote, Session, Shared};
use crate::target::{Target, check_host, check_user};
use crate::trust::{self, Expectation};
use crate::{external, tcp};

/// Time for the TCP connection when nobody says otherwise.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Time for the server to greet us, agree on algorithms and prove its key.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Time for the server to start the command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(20);
/// Time for everything when no user is there to be asked. Only an agent that does not answer a
/// request to sign can take that long, as libssh2 waits for it without a limit.
const UNATTENDED_PATIENCE: Duration = Duration::from_secs(180);
/// SSH's own port.
const DEFAULT_PORT: u16 = 22;
/// The system's configuration.
const SYSTEM_CONFIG: &str = "/etc/ssh/ssh_config";

/// Connects to `target`, authenticates host and user, and starts `command` there.
///
/// Returns when the command is running; [`Session::stream`] is its stdin and stdout from then on.
/// Every step has a time limit, save those in which a user is asked something.
///
/// # Errors
/// See [`SshError`]; nothing keeps running then.
pub fn connect(target: &Target, options: Options, command: &str) -> Result<Session, SshError> {
    let target = target.checked()?;
    let local_user = local_user();
    let read_config = || {
        let sources = Sources {
            home: options.home.as_deref(),
            instead: options.config_file.as_deref(),
            system: Path::new(SYSTEM_CONFIG),
            local_user: local_user.as_deref(),
        };
        config::load(&sources, &target.host, target.user.as_deref(), target.port)
    };
    if let Some(program) = &options.ssh_program {
        // The program reads the configuration itself, and better; only the host's real name is
        // wanted here, and the name as given will do.
        let host_name = read_config().map_or_else(|_| target.host.clone(), |c| c.host_name);
        return external::start(program, &target, &options, command, host_name);
    }
    let config = read_config()?;
    let route = Route::new(&target, &config, &options)?;
    let warnings = config.warnings.clone();
    spawn(route, config, options, command.to_owned(), warnings)
}

/// Where to connect and as whom.
struct Route {
    host: String,
    port: u16,
    user: String,
    name: HostName,
    patience: Duration,
}

impl Route {
    fn new(target: &Target, config: &HostConfig, options: &Options) -> Result<Self, SshError> {
        if let Some((option, origin)) = &config.proxy {
            let file = origin.file.to_path_buf();
            return Err(SshError::NeedsSshProgram {
                option,
                file,
                line: origin.line,
            });
        }
        let user = config.user.clone().ok_or(SshError::NoUser)?;
        // The configuration may have brought in another name than the one that was checked.
        check_host(&config.host_name)?;
        check_user(&user)?;
        let port = target.port.or(config.port).unwrap_or(DEFAULT_PORT);
        let name = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.host_name, port),
        };
        let patience = options
            .connect_timeout
            .or(config.connect_timeout)
            .unwrap_or(CONNECT_PATIENCE);
        Ok(Self {
            host: config.host_name.clone(),
            port,
            user,
            name,
            patience,
        })
    }
}

/// What the thread reports once the command runs.
struct Ready {
    pipe: UnixStream,
    peer: Option<IpAddr>,
}

/// Starts the thread that owns the SSH session, and waits until the command runs.
fn spawn(
    route: Route,
    config: HostConfig,
    mut options: Options,
    command: String,
    warnings: Vec<String>,
) -> Result<Session, SshError> {
    let host_name = route.host.clone();
    let shared = Arc::new(Shared::default());
    let ending = Ending::new(&shared);
    let output = Arc::clone(&shared);
    let (hold, held) = UnixStream::pair().map_err(|e| SshError::system("socket pair", e))?;
    let (channels, wishes) = Channels::new()?;
    let (report, reported) = mpsc::sync_channel(1);
    let unattended = !options.interactive;
    let work = move || {
        let started = start(&route, &config, &mut options, &command);
        let (started, ready) = match started {
            Ok(parts) => parts,
            Err(e) => {
                let _ = report.send(Err(e));
                return;
            }
        };
        if report.send(Ok(ready)).is_err() {
            return;
        }
        let Started {
            link,
            main,
            host_key,
        } = started;
        let pump = Pump::new(link, host_key, main, wishes, held, output);
        ending.tell(pump.run());
    };
    let worker = thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(work)
        .map_err(|e| SshError::system("thread", e))?;
    let outcome = if unattended {
        reported.recv_timeout(UNATTENDED_PATIENCE)
    } else {
        reported.recv().map_err(Into::into)
    };
    match outcome {
        Ok(Ok(Ready { pipe, peer })) => {
            let remote = Remote::new(shared, hold, worker);
            Ok(Session {
                stream: pipe,
                peer,
                host_name,
                warnings,
                remote,
                channels: Some(channels),
            })
        }
        Ok(Err(e)) => {
            let _ = worker.join();
            Err(e)
        }
        // The thread ends by itself once its agent lets go of it: nobody takes its report.
        Err(mpsc::RecvTimeoutError::Timeout) => Err(SshError::Timeout(Stage::Authentication)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(SshError::WorkerDied),
    }
}

/// A command that runs.
struct Started {
    link: Link,
    main: Conduit,
    host_key: HostKey,
}

fn start(
    route: &Route,
    config: &HostConfig,
    options: &mut Options,
    command: &str,
) -> Result<(Started, Ready), SshError> {
    let expectation = expectation(route, config, options)?;
    let configured = config.host_key_algorithms.as_ref();
    let host_keys = host_key::preference(configured.map(|(list, _)| list.as_str()), |key_type| {
        expectation
            .known()
            .is_some_and(|known| known.has_type(key_type))
    });
    let host_keys = match (host_keys, configured) {
        (Some(list), _) => list,
        (None, Some((_, origin))) => return Err(origin.fault(ConfigFault::NoHostKeyAlgorithm)),
        (None, None) => return Err(SshError::WorkerDied),
    };
    let socket = tcp::connect(&route.host, route.port, options.family, route.patience)?;
    let peer = socket
        .peer_addr()
        .ok()
        .map(|address| address.ip().to_canonical());
    let link = handshake(socket, route, &host_keys)?;
    let shown = link
        .host_key()
        .ok_or_else(|| SshError::lost("the server showed no host key"))?;
    trust::check(&shown, &expectation, &route.name, options)?;
    let login = Login {
        user: route.user.clone(),
        host: route.host.clone(),
        identity_files: config.identity_files.clone(),
        identities_only: config.identities_only,
    };
    auth::authenticate(&link, &login, options)?;
    let channel = execute(&link, route, command)?;
    let (pipe, ours) = pair()?;
    Ok((
        Started {
            link,
            main: Conduit::new(channel, ours),
            host_key: shown,
        },
        Ready { pipe, peer },
    ))
}

/// A pipe's two ends; the thread's, the second, does not block.
pub(crate) fn pair() -> Result<(UnixStream, UnixStream), SshError> {
    let pair = || -> std::io::Result<(UnixStream, UnixStream)> {
        let (pipe, ours) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((pipe, ours))
    };
    pair().map_err(|e| SshError::system("socket pair", e))
}

/// What key the host has to show: the pinned one, or what known hosts say.
fn expectation(
    route: &Route,
    config: &HostConfig,
    options: &Options,
) -> Result<Expectation, SshError> {
    if let Some(pin) = &options.host_key_pin {
        return Expectation::pinned(pin);
    }
    let usual = || -> Vec<PathBuf> {
        let directory = options.home.as_ref().map(|home| home.join(".ssh"));
        let names = ["known_hosts", "known_hosts2"];
        directory
            .iter()
            .flat_map(|d| names.map(|name| d.join(name)))
            .collect()
    };
    let user_files = if options.known_hosts.is_empty() {
        config.user_known_hosts.clone().unwrap_or_else(usual)
    } else {
        options.known_hosts.clone()
    };
    let files = user_files.iter().chain(&options.system_known_hosts);
    let known = KnownHosts::load(files, &route.name)?;
    Ok(Expectation::remembered(known, user_files, config.strict))
}

fn handshake(socket: TcpStream, route: &Route, host_keys: &str) -> Result<Link, SshError> {
    let mut link = Link::new(socket, host_keys)?;
    let mut session = link.session.clone();
    link.drive(HANDSHAKE_PATIENCE, Stage::Handshake, || session.handshake())?
        .map_err(|e| SshError::Handshake {
            host: route.host.clone(),
            message: e.message().to_owned(),
        })?;
    link.session = session;
    Ok(link)
}

/// Opens a channel and starts the command on it.
fn execute(link: &Link, route: &Route, command: &str) -> Result<ssh2::Channel, SshError> {
    let refused = |e: ssh2::Error| SshError::RemoteCommandRefused {
        host: route.host.clone(),
        message: e.message().to_owned(),
    };
    let mut channel = link
        .drive(COMMAND_PATIENCE, Stage::Command, || {
            link.session.channel_session()
        })?
        .map_err(refused)?;
    link.drive(COMMAND_PATIENCE, Stage::Command, || channel.exec(command))?
        .map_err(refused)?;
    Ok(channel)
}

/// The name of the account this process runs as: what the system calls it, else what the
/// environment claims.
fn local_user() -> Option<String> {
    let own = rustix::process::getuid().as_raw().to_string();
    let named = std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|accounts| {
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)? == own).then(|| name.to_owned())
            })
        });
    let claimed = || {
        ["LOGNAME", "USER"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
    };
    named.or_else(claimed).filter(|name| !name.is_empty())
}
