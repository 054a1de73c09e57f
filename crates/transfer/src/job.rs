use std::{
    fmt, fs::File, io, net::IpAddr, ops::RangeInclusive, os::unix::net::UnixStream, path::PathBuf,
    sync::Arc, time::Duration,
};

pub use haul_disk::{DigestOptions, Digests, Proofs, Protection};
use haul_flow::Policy;
use haul_wire::SuiteId;
pub use haul_wire::control::{
    After, Direction, Fsync, Measure, Overwrite, Placing, Preserve, Remembered, Resume, Selection,
    Symlinks, Taking, Token,
};
use tokio::sync::{mpsc, watch};

use crate::{Event, Gate, Limits, Seats};

/// UDP ports a responder uses unless told otherwise.
pub const DEFAULT_UDP_PORTS: RangeInclusive<u16> = 33001..=33100;
/// Any UDP port the system has free.
pub const ANY_UDP_PORT: RangeInclusive<u16> = 0..=0;
/// Bytes a receiver is ready to hold between network and disk.
pub const DEFAULT_RECEIVE_BUFFER_BYTES: u64 = 32 << 20;

/// What the initiator wants moved.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which way, seen from here.
    pub direction: Direction,
    /// Upload: local paths. Download: paths on the other host as typed; patterns, `~` and relative
    /// names are resolved there, in the user's home. At least one.
    pub sources: Vec<Vec<u8>>,
    /// Upload: path on the other host as typed; empty is the user's home. Download: local path.
    pub destination: Vec<u8>,
    /// Move bytes from memory to memory, past both disks, until then; `sources` and `destination`
    /// stay empty.
    pub measure: Option<Measure>,
    /// How.
    pub options: JobOptions,
}

impl Job {
    /// Why protection that was asked for cannot be had, if it cannot: nothing may go without it then.
    pub(crate) fn unprotectable(&self) -> Option<&'static str> {
        let options = &self.options;
        options.protection.as_ref()?;
        if self.direction == Direction::Download || self.measure.is_some() {
            return Some(
                "only what is uploaded can be protected: haul-protect encrypts files where they are",
            );
        }
        if options.is_in_order() {
            return Some(
                "a stream, a growing file or a part of one cannot be protected on its way: encrypt it with haul-protect",
            );
        }
        if options.proofs.wanted {
            return Some(
                "digests would tell what protected files are: do without --verify and lists of digests; haul-protect decrypt checks every byte",
            );
        }
        (options.preserve.hard_links)
            .then_some("protected files have a key each, and no second name: do without -H and -a")
    }

    /// In a dry run sources stay where they are, too.
    pub(crate) fn harmless(mut self) -> Self {
        if self.options.placing.dry_run {
            self.options.taking.after = After::Keep;
            self.options.taking.remove_empty_dirs = false;
        }
        self
    }
}

/// How the initiator wants it moved. The defaults assume nothing about the link.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Suites offered, preferred first. [`SuiteId::NoneCmac`] among them is the opt-in to moving
    /// data unencrypted. Default: every suite that encrypts.
    pub suites: Vec<SuiteId>,
    /// Who decides the rate. Default: [`Policy::Fair`].
    pub policy: Policy,
    /// The rate of [`Policy::Fixed`], the ceiling of the others, in bits per second of UDP payload.
    pub rate_target_bps: Option<u64>,
    /// Never slower than this, in bits per second. Default 0. Hazard: starves whoever shares the
    /// link.
    pub rate_min_bps: u64,
    /// What the path carried before; wrong memories cost little. Default: nothing is known.
    pub remembered: Option<Remembered>,
    /// Whether whoever sends marks packets as able to carry notice of congestion (ECN, RFC 3168); the
    /// marks are given up where they do not arrive. [`Policy::Fixed`] never does. Default: no, because
    /// some networks treat marked packets differently.
    pub ecn: bool,
    /// What the sender takes, and what becomes of it there. Default: no directories; a source that is
    /// one is then an error.
    pub taking: Taking,
    /// Limits to change to while data flows, at whichever end sends. Default: none ever come.
    pub limit_changes: Option<watch::Receiver<Limits>>,
    /// What the receiver does with what is there and with what arrives. Default: files are replaced
    /// unless they are the same.
    pub placing: Placing,
    /// What of files is carried over beside their contents. Default: nothing.
    pub preserve: Preserve,
    /// What the receiver has already need not be sent. Default: files of the same size and time, what an
    /// earlier run finished, and parts of what it did not.
    pub resume: Resume,
    /// Whether both ends compute a digest of every file that is sent, and compare; whether this one tells
    /// of them in [`crate::Event::Digest`]. Default: no.
    pub proofs: Proofs,
    /// Upload: whom the contents of files are sealed for, before they leave this machine. Everything is sent anew
    /// then, by every run and after every lost connection, since each begins with fresh keys. Default: nobody.
    pub protection: Option<Protection>,
    /// Upload: the one file is what comes out of this; `sources` holds its name, for the case that the
    /// destination is a directory. Default: files are read.
    pub input: Option<Arc<File>>,
    /// Download: the one file is written here in its order, and `destination` means nothing. Default:
    /// files are made.
    pub output: Option<Arc<File>>,
    /// What shows that somebody has allowed the transfer, where the other end wants that shown. Default: nothing.
    pub token: Option<Token>,
    /// UDP ports asked of the other end. Default [`ANY_UDP_PORT`]: its own choice.
    pub udp_ports: RangeInclusive<u16>,
    /// Local address for UDP. Default: whatever routes to the peer.
    pub bind: Option<IpAddr>,
    /// Accept datagrams from addresses other than the one SSH reached. Default: no.
    pub any_source: bool,
    /// Send datagrams over the control channel where UDP does not get through. Default: yes.
    pub fallback: bool,
    /// Further channels for that, where one carries less than the path could. Default: none can be had.
    pub channels: Option<Channels>,
    /// After how long to look, then, whether UDP gets through by now, and from then on at growing
    /// intervals. Default 1 s.
    pub knock_after: Duration,
    /// Emit [`crate::Event::File`] for every file, not only for those that fail. Default: no, for a million of
    /// them is a lot.
    pub file_events: bool,
    /// Time between two [`crate::Event::Progress`]. Default 200 ms.
    pub progress_interval: Duration,
    /// Bytes this end buffers between network and disk when it receives.
    pub receive_buffer_bytes: u64,
}

/// Opens a further channel to a session that is joined by this name.
type OpenChannel = dyn Fn(u128) -> io::Result<UnixStream> + Send + Sync;

/// The way to further channels to the other end's host, each connected with a `haul --remote --join NAME`
/// there. Opening one may block.
#[derive(Clone)]
pub struct Channels(Arc<OpenChannel>);

impl Channels {
    /// Channels that are opened by `open`.
    pub fn new(open: impl Fn(u128) -> io::Result<UnixStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(crate) fn open(&self, name: u128) -> io::Result<UnixStream> {
        (self.0)(name)
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channels")
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            suites: encrypting_suites(),
            policy: Policy::Fair,
            rate_target_bps: None,
            rate_min_bps: 0,
            remembered: None,
            ecn: false,
            taking: Taking::default(),
            limit_changes: None,
            placing: Placing::default(),
            preserve: Preserve::default(),
            resume: Resume::default(),
            proofs: Proofs::default(),
            protection: None,
            input: None,
            output: None,
            token: None,
            udp_ports: ANY_UDP_PORT,
            bind: None,
            any_source: false,
            fallback: true,
            channels: None,
            knock_after: Duration::from_secs(1),
            file_events: false,
            progress_interval: Duration::from_millis(200),
            receive_buffer_bytes: DEFAULT_RECEIVE_BUFFER_BYTES,
        }
    }
}

impl JobOptions {
    /// Whether the receiver looks what is there before it is sent.
    pub(crate) fn is_judged(&self) -> bool {
        self.asked_resume() != Resume::Never || self.placing.is_judged()
    }

    /// What is asked of the other end. Where a file is written in its order, the sender is told how far it
    /// may go by the way of what need not be sent; of a range, size and time tell nothing.
    pub(crate) fn asked_resume(&self) -> Resume {
        match (&self.output, self.taking.range) {
            (Some(_), _) => Resume::Attributes,
            (None, Some(_)) => Resume::Never,
            // What is there of a protected file has another key, whatever its size and time.
            (None, None) if self.protection.is_some() => Resume::Never,
            (None, None) => self.resume,
        }
    }

    /// Whether it is one file of which what comes goes in order: no one knows all of it beforehand.
    pub(crate) fn is_in_order(&self) -> bool {
        let Taking {
            range,
            grow_seconds,
            ..
        } = &self.taking;
        self.input.is_some() || self.output.is_some() || range.is_some() || grow_seconds.is_some()
    }

    /// What is proved. Where nothing is sent, nothing is.
    pub(crate) fn asked_proofs(&self) -> Proofs {
        if self.placing.dry_run {
            return Proofs::NONE;
        }
        self.proofs
    }

    /// Changes the limits to begin with.
    pub fn set_limits(&mut self, limits: Limits) {
        self.policy = limits.policy;
        self.rate_target_bps = limits.target_bps;
        self.rate_min_bps = limits.min_bps;
    }

    /// The limits to begin with.
    pub fn limits(&self) -> Limits {
        Limits {
            policy: self.policy,
            target_bps: self.rate_target_bps,
            min_bps: self.rate_min_bps,
        }
    }
}

/// What the responder allows, and where it stands. None of it can be changed by the initiator.
#[derive(Debug, Clone)]
pub struct RespondSetup {
    /// Relative paths, `~` and an empty destination mean this directory.
    pub home: PathBuf,
    /// When given, nothing outside this directory can be named, and `/` means this directory.
    pub jail: Option<PathBuf>,
    /// Suites allowed.
    pub suites: Vec<SuiteId>,
    /// Allow [`SuiteId::NoneCmac`] when the initiator offers it. Default: no.
    pub allow_none: bool,
    /// Whether data may flow towards this end. Default: yes.
    pub allow_upload: bool,
    /// Whether data may leave this end. Default: yes.
    pub allow_download: bool,
    /// Whether data may be moved from memory to memory, to measure the path. Default: yes.
    pub allow_measure: bool,
    /// Whether what arrives may get [what gives power](Preserve::privileged). Default: no.
    pub allow_privileged: bool,
    /// Who decides whether a request is served, and within which bounds. Default: nobody need be asked.
    pub gate: Option<Gate>,
    /// Ceiling of the sending rate in bits per second, whatever is asked for. Default: none.
    pub rate_max_bps: Option<u64>,
    /// Where uploads share a cap with other sessions. Default: nowhere.
    pub upload_seats: Option<Seats>,
    /// Where downloads do.
    pub download_seats: Option<Seats>,
    /// UDP ports that may be used. Default [`DEFAULT_UDP_PORTS`].
    pub udp_ports: RangeInclusive<u16>,
    /// Address for UDP. Default: any of the family the initiator names.
    pub bind: Option<IpAddr>,
    /// Address to tell the initiator to send to. Default: the one SSH reached.
    pub advertise: Option<IpAddr>,
    /// Where the SSH connection comes from, when known; datagrams must come from there too.
    pub ssh_peer: Option<IpAddr>,
    /// Accept datagrams from any address, as odd address translators need. Default: no.
    pub any_source: bool,
    /// Whether [`crate::join`] leads here: other processes of this account may bring further channels for
    /// datagrams that UDP does not carry. Default: no.
    pub joinable: bool,
    /// Bytes this end buffers between network and disk when it receives.
    pub receive_buffer_bytes: u64,
    /// Hears how it goes, for a log.
    pub events: Option<mpsc::UnboundedSender<Event>>,
    /// Turns true when this end is to stop, as by a signal.
    pub cancel: Option<watch::Receiver<bool>>,
}

impl RespondSetup {
    /// The defaults, for a user whose home is `home`.
    pub fn new(home: PathBuf) -> Self {
        Self {
            home,
            jail: None,
            suites: encrypting_suites(),
            allow_none: false,
            allow_upload: true,
            allow_download: true,
            allow_measure: true,
            allow_privileged: false,
            gate: None,
            rate_max_bps: None,
            upload_seats: None,
            download_seats: None,
            udp_ports: DEFAULT_UDP_PORTS,
            bind: None,
            advertise: None,
            ssh_peer: None,
            any_source: false,
            joinable: false,
            receive_buffer_bytes: DEFAULT_RECEIVE_BUFFER_BYTES,
            events: None,
            cancel: None,
        }
    }
}

fn encrypting_suites() -> Vec<SuiteId> {
    SuiteId::ALL
        .into_iter()
        .filter(|suite| *suite != SuiteId::NoneCmac)
        .collect()
}
