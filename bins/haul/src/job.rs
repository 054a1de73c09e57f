//! What the command line means: who talks to whom, what moves which way, and how.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    time::Duration,
};

use haul_ssh::{Family, Target};
use haul_transfer::{
    DigestOptions, Direction, ErrorCode, Fsync, JobOptions, Limits, Overwrite, Placing, Policy,
    Proofs, Resume, SuiteId, Taking, escaped,
};
use haul_wire::control::PREAMBLE;

use crate::{
    args::{
        Args, Cipher, FsyncName, MeasuringArgs, OutputArgs, OverwriteName, PolicyName, ProofArgs,
        RateArgs, SecurityArgs, SshArgs, TransferArgs, VerifyName,
    },
    hooks::Hooks,
    lists::Lists,
    place::{Place, PlaceError, RemotePlace},
    select::{self, PatternFileError},
    streams::Streamed,
    taking,
    token::{self, TokenError},
    version,
    words::{self, WordsError},
};

/// Framing of the conversation, told to the other end on its command line.
pub(crate) const FRAMING: u8 = PREAMBLE[5];

/// Everything needed to begin.
#[derive(Debug)]
pub(crate) struct Job {
    /// Where to log in.
    pub(crate) target: Target,
    /// How to log in.
    pub(crate) login: Login,
    /// What to run there, quoted for its shell.
    pub(crate) remote_command: String,
    /// What to run before and after.
    pub(crate) hooks: Hooks,
    /// The options as given, for a log.
    pub(crate) given: String,
    /// Where to take commands.
    pub(crate) control: Option<PathBuf>,
    /// What to move.
    pub(crate) transfer: haul_transfer::Job,
    /// For how long without progress to go on after the connection was lost.
    pub(crate) retry_for: Duration,
    /// Whether keys may be read from standard input while it runs.
    pub(crate) takes_keys: bool,
    /// Whether to make use of what paths have carried before, and to keep what this one does.
    pub(crate) remembers: bool,
}

/// How to reach the other machine and whom to trust.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// Private keys, tried first to last.
    pub(crate) identities: Vec<PathBuf>,
    /// In place of the user's SSH configuration.
    pub(crate) config_file: Option<PathBuf>,
    /// In place of the user's known hosts.
    pub(crate) known_hosts: Option<PathBuf>,
    /// The only host key to accept.
    pub(crate) host_key_pin: Option<String>,
    /// Remember the key of a new host without asking.
    pub(crate) accept_new: bool,
    /// Program and arguments in place of the built-in SSH.
    pub(crate) ssh_program: Option<Vec<OsString>>,
    /// Which addresses of the host count.
    pub(crate) family: Family,
    /// `None` leaves it to the SSH configuration.
    pub(crate) connect_timeout: Option<Duration>,
}

/// Why a command line that parses still makes no sense, or cannot succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Token(#[from] TokenError),
    /// One argument is not a place.
    #[error("{0}")]
    Place(#[from] PlaceError),
    /// Fewer than two places.
    #[error("a source and a destination are needed, as in haul FILE host:")]
    TooFewPlaces,
    /// `--measure` with other than one place.
    #[error("--measure takes one host and no files, as in haul --measure user@host")]
    MeasureOneHost,
    /// Nothing is remote.
    #[error(
        "all places are on this machine; one side must be host:path (cp and rsync copy locally)"
    )]
    BothLocal,
    /// Nothing is local.
    #[error("both sides are remote; one must be on this machine, so run haul on either host")]
    BothRemote,
    /// Local and remote sources in one command.
    #[error("\"{0}\" is on this machine but another source is not; move them in two commands")]
    MixedSources(String),
    /// Remote sources on several hosts or accounts.
    #[error("sources are on \"{0}\" and on \"{1}\"; one command fetches from one account")]
    SeveralHosts(String, String),
    /// `-P` contradicts the URL.
    #[error("-P says port {0} but the URL says {1}; give one of them")]
    TwoPorts(u16, u16),
    /// `--policy fixed` without `-l`.
    #[error("--policy fixed needs the rate to keep to; add -l, such as -l 500M")]
    FixedWithoutRate,
    /// `-m` above `-l`.
    #[error("the minimum rate (-m) is above the target rate (-l)")]
    MinAboveTarget,
    /// Partial files and backups would have the same names.
    #[error("--backup-suffix and --partial-suffix are the same; give them two, or leave one out")]
    SameSuffixes,
    /// `--ssh-program` that is not a command line.
    #[error("--ssh-program {0}")]
    SshProgram(#[from] WordsError),
    /// `--host-key` with an external SSH, which could not be made to obey.
    #[error("--host-key is for the built-in SSH; with --ssh-program, let known_hosts decide")]
    PinWithSshProgram,
    /// `-S` with a line break or another control character.
    #[error("-S \"{0}\" contains a control character")]
    RemoteHaul(String),
    /// `--remote-log` with one.
    #[error("--remote-log \"{0}\" contains a control character")]
    RemoteLog(String),
    /// `--host-key` that is not a fingerprint.
    #[error("--host-key \"{0}\" is not a fingerprint; ssh-keygen -lf shows it as SHA256:…")]
    Fingerprint(String),
    /// `--privileged` or `--strict-attrs` alone.
    #[error("--privileged and --strict-attrs are of attributes to keep; say which, with -a or -p")]
    NothingKept,
    /// The list of sources is not there.
    #[error("cannot read the list of sources {path}: {source}")]
    List {
        /// As typed, escaped.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A stream beside other sources.
    #[error("- is one stream; move it in a command of its own")]
    StreamBeside,
    /// A stream with what only files have.
    #[error(
        "- is a stream: it has no place to keep or move it from, and no range; leave out \
         --file-pair-list, --src-base and, for standard input, --range, --grow, --remove-after and \
         --move-after"
    )]
    StreamPlaced,
    /// Events and a file on one output.
    #[error("standard output takes the file, the events of --json or the log of -L -: one of them")]
    StreamAndEvents,
    /// A file of unknown time that is to be compared by time.
    #[error(
        "--overwrite never and older say nothing of a stream or a growing file; leave it out, or \
         say always"
    )]
    StreamKeeps,
    /// Standard input or output cannot be used.
    #[error("cannot use the standard stream: {0}")]
    Stream(io::Error),
    /// A list of pairs that ends in the middle of one.
    #[error("the last source in {0} has no line that says where it lands")]
    Pairs(String),
    #[error("--file-pair-list takes all sources from the list; name only the destination")]
    PairsWithSources,
    #[error(transparent)]
    Protect(#[from] crate::protect::ProtectError),
    /// A file of patterns is not there.
    #[error(transparent)]
    Patterns(#[from] PatternFileError),
    /// A file named on the command line is not there.
    #[error("cannot read {path}: {source}")]
    Source {
        /// As typed, escaped.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl JobError {
    /// Its line in the table of exit statuses.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Source { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorCode::NoSuchSource,
                _ => ErrorCode::SourceUnreadable,
            },
            _ => ErrorCode::Usage,
        }
    }
}

impl Job {
    /// Understands what was typed. Looks at local sources (a missing one is told before anybody
    /// logs in), and at nothing else outside the arguments.
    pub(crate) fn resolve(args: &Args) -> Result<Self, JobError> {
        let lists = match args.measuring.measure {
            Some(_) => Lists::default(),
            None => Lists::read(args)?,
        };
        let streamed = Streamed::of(args, lists.sources.len())?;
        let mut route = match args.measuring.measure {
            Some(_) => Route::measure(&args.places, &args.measuring)?,
            None => Route::resolve(&args.places, lists.sources)?,
        };
        // Only the command that goes before may still make what is missing.
        if args.hooks.pre.is_none() && streamed == Streamed::Nothing {
            route.check_sources()?;
        }
        let target = with_port(route.target, args.ssh.port)?;
        let mut options = job_options(args)?;
        options.taking.targets = lists.targets.into_iter().map(Into::into).collect();
        streamed.name_sources(&mut route.sources);
        streamed.open(&mut options)?;
        options.token = token::read(&args.token)?;
        let remote_command = remote_command(args, route.direction, &options)?;
        let transfer = haul_transfer::Job {
            direction: route.direction,
            sources: route.sources,
            destination: route.destination,
            measure: args.measuring.measure.map(|extent| extent.0),
            options,
        };
        Ok(Self {
            hooks: Hooks::new(&args.hooks, &target, &transfer),
            given: args.given.clone(),
            target,
            login: login(&args.ssh, &args.security)?,
            remote_command,
            control: args.rate.control.clone(),
            transfer,
            // What a stream gave, or took, cannot be had again, and a dry run would tell everything twice.
            retry_for: match streamed {
                Streamed::Nothing if !args.transfer.dry_run => args.transfer.retry_for,
                _ => Duration::ZERO,
            },
            takes_keys: streamed != Streamed::Input,
            remembers: !args.rate.no_remember,
        })
    }
}

/// What moves which way.
struct Route {
    direction: Direction,
    target: Target,
    sources: Vec<Vec<u8>>,
    destination: Vec<u8>,
}

impl Route {
    fn measure(typed: &[OsString], args: &MeasuringArgs) -> Result<Self, JobError> {
        let [host] = typed else {
            return Err(JobError::MeasureOneHost);
        };
        Ok(Self {
            direction: if args.reverse {
                Direction::Download
            } else {
                Direction::Upload
            },
            target: RemotePlace::parse_host(host)?.host,
            sources: Vec::new(),
            destination: Vec::new(),
        })
    }

    /// `listed` are further sources, which need no mark to be taken for names of this machine.
    fn resolve(typed: &[OsString], listed: Vec<OsString>) -> Result<Self, JobError> {
        let [sources @ .., destination] = typed else {
            return Err(JobError::TooFewPlaces);
        };
        if sources.is_empty() && listed.is_empty() {
            return Err(JobError::TooFewPlaces);
        }
        let destination = Place::parse(destination)?;
        let listed = listed.into_iter().map(|name| match destination {
            Place::Remote(_) => Ok(Place::Local(name.into())),
            Place::Local(_) => Place::parse(&name),
        });
        let sources: Vec<Place> = sources
            .iter()
            .map(|source| Place::parse(source))
            .chain(listed)
            .collect::<Result<_, _>>()?;
        match destination {
            Place::Remote(destination) => Self::upload(sources, destination),
            Place::Local(destination) => Self::download(sources, destination),
        }
    }

    /// Whether sources of this machine exist.
    fn check_sources(&self) -> Result<(), JobError> {
        let local = match self.direction {
            Direction::Upload => &self.sources[..],
            Direction::Download => &[],
        };
        local.iter().try_for_each(|path| {
            let looked = fs::symlink_metadata(OsStr::from_bytes(path)).map(drop);
            looked.map_err(|source| JobError::Source {
                path: escaped(path),
                source,
            })
        })
    }

    fn upload(sources: Vec<Place>, destination: RemotePlace) -> Result<Self, JobError> {
        let mut paths = Vec::with_capacity(sources.len());
        for source in sources {
            let Place::Local(path) = source else {
                return Err(JobError::BothRemote);
            };
            paths.push(path.into_os_string().into_vec());
        }
        Ok(Self {
            direction: Direction::Upload,
            target: destination.host,
            sources: paths,
            destination: destination.path,
        })
    }

    fn download(sources: Vec<Place>, destination: PathBuf) -> Result<Self, JobError> {
        let mut target: Option<Target> = None;
        let mut local = None;
        let mut paths = Vec::with_capacity(sources.len());
        for source in sources {
            match source {
                Place::Local(path) => local = Some(path),
                Place::Remote(place) => {
                    let first = target.get_or_insert_with(|| place.host.clone());
                    if *first != place.host {
                        return Err(JobError::SeveralHosts(account(first), account(&place.host)));
                    }
                    paths.push(place.path);
                }
            }
        }
        match (target, local) {
            (None, _) => Err(JobError::BothLocal),
            (Some(_), Some(path)) => {
                Err(JobError::MixedSources(escaped(path.as_os_str().as_bytes())))
            }
            (Some(target), None) => Ok(Self {
                direction: Direction::Download,
                target,
                sources: paths,
                destination: destination.into_os_string().into_vec(),
            }),
        }
    }
}

/// `user@host:port`, as far as known, for a message.
fn account(target: &Target) -> String {
    let user = target
        .user
        .as_ref()
        .map_or_else(String::new, |user| format!("{user}@"));
    let port = target
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{user}{}{port}", target.host)
}

fn with_port(mut target: Target, typed: Option<u16>) -> Result<Target, JobError> {
    match (typed, target.port) {
        (Some(typed), Some(url)) if typed != url => Err(JobError::TwoPorts(typed, url)),
        (typed, url) => {
            target.port = typed.or(url);
            Ok(target)
        }
    }
}

fn job_options(args: &Args) -> Result<JobOptions, JobError> {
    let limits = rates(&args.rate)?;
    let mut options = JobOptions::default();
    if let Some(suites) = offered_suites(&args.security, version::aes().is_some()) {
        options.suites = suites;
    }
    options.policy = limits.policy;
    options.rate_target_bps = limits.target_bps;
    options.rate_min_bps = limits.min_bps;
    options.ecn = args.rate.ecn;
    options.taking = Taking {
        selection: select::selection(&args.transfer)?,
        ..taking::taking(&args.taking)
    };
    options.placing = placing(&args.transfer)?;
    // What lands in places of its own wants a directory to land in.
    options.placing.create_dir |=
        args.taking.src_base.is_some() || args.taking.file_pair_list.is_some();
    options.proofs = proofs(&args.proof);
    options.preserve = args.keep.resolve().ok_or(JobError::NothingKept)?;
    options.resume = match args.transfer.resume {
        0 => Resume::Never,
        1 => Resume::Attributes,
        2 => Resume::Samples,
        _ => Resume::Digest,
    };
    if let Some(ports) = &args.transfer.udp_ports {
        options.udp_ports = ports.0.clone();
    }
    options.protection = args.protect.resolve()?;
    options.any_source = args.transfer.any_source;
    options.fallback = !args.transfer.no_fallback && args.measuring.measure.is_none();
    options.file_events = wants_files(&args.output);
    Ok(options)
}

fn placing(args: &TransferArgs) -> Result<Placing, JobError> {
    let suffix = |suffix: &Option<String>| {
        suffix
            .as_deref()
            .map(|text| text.as_bytes().to_vec().into())
    };
    let (backup_suffix, partial_suffix) = (&args.backup_suffix, &args.partial_suffix);
    if backup_suffix.is_some() && backup_suffix == partial_suffix {
        return Err(JobError::SameSuffixes);
    }
    Ok(Placing {
        backup_suffix: suffix(backup_suffix),
        partial_suffix: suffix(partial_suffix),
        create_dir: args.create_dir,
        overwrite: match args.overwrite {
            OverwriteName::Diff => Overwrite::Diff,
            OverwriteName::Always => Overwrite::Always,
            OverwriteName::Never => Overwrite::Never,
            OverwriteName::Older => Overwrite::Older,
            OverwriteName::DiffOlder => Overwrite::DiffOlder,
        },
        fsync: match args.fsync {
            FsyncName::Never => Fsync::Never,
            FsyncName::End => Fsync::End,
            FsyncName::Each => Fsync::Each,
        },
        delete: args.delete,
        dry_run: args.dry_run,
    })
}

fn proofs(args: &ProofArgs) -> Proofs {
    let all = args.manifest.is_some() || args.b3sum.is_some() || args.sha256sum.is_some();
    let is_off = args.verify == VerifyName::None;
    Proofs {
        wanted: all || !is_off,
        all,
        digests: DigestOptions {
            sha256: args.sha256sum.is_some(),
        },
    }
}

/// Whether anybody will look at an event for every file.
fn wants_files(output: &OutputArgs) -> bool {
    output.json || output.verbose >= 2
}

fn rates(args: &RateArgs) -> Result<Limits, JobError> {
    let policy = match args.policy {
        PolicyName::Fair => Policy::Fair,
        PolicyName::Fixed => Policy::Fixed,
        PolicyName::High => Policy::High,
        PolicyName::Low => Policy::Low,
    };
    let target = args.rate.map(|rate| rate.0);
    let min = args.min_rate.map_or(0, |rate| rate.0);
    if policy == Policy::Fixed && target.is_none() {
        return Err(JobError::FixedWithoutRate);
    }
    if target.is_some_and(|target| min > target) {
        return Err(JobError::MinAboveTarget);
    }
    Ok(Limits {
        policy,
        target_bps: target,
        min_bps: min,
    })
}

/// Suites to offer, preferred first; `None` for the usual ones.
fn offered_suites(args: &SecurityArgs, aes_in_hardware: bool) -> Option<Vec<SuiteId>> {
    if args.no_encryption {
        return Some(vec![SuiteId::NoneCmac]);
    }
    match args.cipher? {
        Cipher::Suite(suite) => Some(vec![suite]),
        Cipher::Auto if aes_in_hardware => Some(vec![
            SuiteId::Aes128Gcm,
            SuiteId::Aes128Cfb,
            SuiteId::ChaCha20Poly1305,
        ]),
        Cipher::Auto => Some(vec![
            SuiteId::ChaCha20Poly1305,
            SuiteId::Aes128Cfb,
            SuiteId::Aes128Gcm,
        ]),
    }
}

/// The command line of the other end. Every word but the program's path is ours and plain.
fn remote_command(
    args: &Args,
    direction: Direction,
    options: &JobOptions,
) -> Result<String, JobError> {
    let program = &args.ssh.remote_haul;
    if program.is_empty() || program.contains(char::is_control) {
        return Err(JobError::RemoteHaul(escaped(program.as_bytes())));
    }
    let mut command = format!(
        "{} --remote --proto {FRAMING}",
        words::quote_program(program)
    );
    if let Some(ports) = &args.transfer.udp_ports {
        command.push_str(&format!(" --udp-ports {ports}"));
    }
    if args.transfer.any_source {
        command.push_str(" --any-source");
    }
    if options.suites.contains(&SuiteId::NoneCmac) {
        command.push_str(" --allow-none");
    }
    if direction == Direction::Upload && options.preserve.privileged {
        command.push_str(" --allow-privileged");
    }
    if let Some(place) = &args.output.remote_log {
        if place.contains(char::is_control) {
            return Err(JobError::RemoteLog(escaped(place.as_bytes())));
        }
        command.push_str(&format!(" --log={}", words::quote(place)));
    }
    Ok(command)
}

fn login(ssh: &SshArgs, security: &SecurityArgs) -> Result<Login, JobError> {
    let pin = &security.host_key;
    if let Some(pin) = pin.as_ref().filter(|pin| !is_fingerprint(pin)) {
        return Err(JobError::Fingerprint(escaped(pin.as_bytes())));
    }
    let ssh_program = match &ssh.ssh_program {
        None => None,
        Some(_) if pin.is_some() => return Err(JobError::PinWithSshProgram),
        Some(text) => Some(external_ssh(text, ssh)?),
    };
    Ok(Login {
        identities: ssh.identity.clone(),
        config_file: ssh.ssh_config.clone(),
        known_hosts: security.known_hosts.clone(),
        host_key_pin: pin.clone(),
        accept_new: security.accept_new,
        ssh_program,
        family: match (ssh.ipv4, ssh.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            (false, false) => Family::Any,
        },
        connect_timeout: ssh.connect_timeout,
    })
}

/// Program and arguments, with what the built-in SSH would be told through its options.
fn external_ssh(text: &str, ssh: &SshArgs) -> Result<Vec<OsString>, JobError> {
    let mut words: Vec<OsString> = words::split(text)?
        .into_iter()
        .map(OsString::from)
        .collect();
    if let Some(timeout) = ssh.connect_timeout {
        // ssh(1) counts whole seconds and takes 0 for none.
        let seconds = timeout.as_secs_f64().ceil();
        words.extend(["-o".into(), format!("ConnectTimeout={seconds:.0}").into()]);
    }
    Ok(words)
}

/// `SHA256:` and 32 bytes in base64 without padding, as OpenSSH prints them.
fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:").is_some_and(|digest| {
        let digest = digest.trim_end_matches('=');
        digest.len() == 43
            && digest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    })
}

#[cfg(test)]
mod tests;
