//! A far end to talk to: an emulated link with a real sshd behind it.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use haul_wan::{FAR_ADDRESS, FAR_ADDRESS_V6, Link, Namespace, Wan};
use tempfile::TempDir;

use crate::{link::Changes, signals};

/// Where files are kept: in memory, so that no disk is measured.
const MEMORY: &str = "/dev/shm";
const SSH_PORT: u16 = 22;
/// Where programs keep what they remember of earlier runs: each lab begins without any.
pub(crate) const MEMORY_OF_PATHS: &str = "XDG_STATE_HOME";
const SSHD: &str = "/usr/sbin/sshd";
/// How long sshd may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// An emulated link, an sshd at its far end, and a folder with what a client needs to log in.
pub(crate) struct Lab {
    pub(crate) wan: Arc<Wan>,
    sshd: Child,
    folder: TempDir,
}

impl Lab {
    /// Builds all of it.
    pub(crate) fn start(link: &Link) -> anyhow::Result<Self> {
        if !Path::new(SSHD).exists() {
            bail!("there is no {SSHD}; scripts/setup --tests installs it (openssh-server)");
        }
        let folder = tempfile::Builder::new()
            .prefix("haul-lab.")
            .tempdir_in(MEMORY)
            .context("cannot make a folder in memory")?;
        signals::remove_when_ended(folder.path());
        let bin = bin_folder()?;
        write_configuration(folder.path(), &bin)?;
        let wan = Arc::new(Wan::start(link)?);
        // In a process namespace of its own, so that its sessions end with it.
        let mut command = Namespace::command("unshare");
        command
            .args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"])
            .args([SSHD, "-D", "-f"])
            .arg(folder.path().join("sshd_config"))
            .arg("-E")
            .arg(folder.path().join("sshd.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let sshd = wan.far().spawn(command).context("cannot start sshd")?;
        let lab = Self { wan, sshd, folder };
        lab.await_sshd()?;
        Ok(lab)
    }

    /// Has the link change from now on as told.
    pub(crate) fn change(&self, changes: Changes, link: &Link) {
        changes.begin(Arc::downgrade(&self.wan), link);
    }

    /// A folder in memory that both ends see.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For `ssh -F`: the far end is called `far`.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("config")
    }

    /// A command at the near end.
    pub(crate) fn near(program: impl AsRef<Path>) -> Command {
        Namespace::command(&program.as_ref().to_string_lossy())
    }

    /// Waits until sshd listens: its process has started when a connection from its own side is
    /// accepted.
    fn await_sshd(&self) -> anyhow::Result<()> {
        let address: SocketAddr = format!("{FAR_ADDRESS}:{SSH_PORT}").parse()?;
        let listens = self.wan.far().run(move || {
            let began = std::time::Instant::now();
            while began.elapsed() < PATIENCE {
                if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            false
        })?;
        if !listens {
            let log = fs::read_to_string(self.folder().join("sshd.log")).unwrap_or_default();
            bail!("sshd does not start: {}", log.trim());
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

/// Where cargo installs programs, such as other movers.
pub(crate) fn cargo_bin() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(".cargo/bin")
}

/// For programs of the near end: what is beside this program first, what cargo installed last.
pub(crate) fn search_path() -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [bin_folder()?]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain([cargo_bin()]);
    Ok(std::env::join_paths(folders)?)
}

/// Where haul is: beside this program.
pub(crate) fn bin_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("this program is nowhere")?;
    if !folder.join("haul").exists() {
        bail!(
            "no haul beside {}; build both: cargo build --release -p haul -p haul-bench",
            program.display()
        );
    }
    Ok(folder.to_path_buf())
}

fn write_configuration(folder: &Path, bin: &Path) -> anyhow::Result<()> {
    for name in ["host", "key"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(folder.join(name))
            .status()
            .context("cannot run ssh-keygen")?;
        if !made.success() {
            bail!("ssh-keygen failed");
        }
    }
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").context("cannot make /run/sshd")?;
    }
    let at = folder.display();
    let host_key = fs::read_to_string(folder.join("host.pub"))?;
    let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?;
    fs::write(
        folder.join("known_hosts"),
        format!("{FAR_ADDRESS} {host_key}{FAR_ADDRESS_V6} {host_key}"),
    )?;
    let mut server = fs::File::create(folder.join("sshd_config"))?;
    write!(
        server,
        "Port {SSH_PORT}\nListenAddress {FAR_ADDRESS}\nListenAddress {FAR_ADDRESS_V6}\n\
         HostKey {at}/host\n\
         AuthorizedKeysFile {at}/key.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
         UseDNS no\nMaxStartups 100\nSubsystem sftp internal-sftp\n\
         SetEnv PATH={}:{}:/usr/local/bin:/usr/bin:/bin {MEMORY_OF_PATHS}={at}/far\n",
        bin.display(),
        cargo_bin().display()
    )?;
    let mut client = fs::File::create(folder.join("config"))?;
    for (name, address) in [("far", FAR_ADDRESS), ("far6", FAR_ADDRESS_V6)] {
        write!(
            client,
            "Host {name}\n    HostName {address}\n    User {}\n    IdentityFile {at}/key\n    \
             IdentitiesOnly yes\n    UserKnownHostsFile {at}/known_hosts\n    BatchMode yes\n",
            user.trim()
        )?;
    }
    Ok(())
}

/// A file of that many bytes that no compression shortens, at `path`.
pub(crate) fn make_file(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = fs::File::create(path)?;
    let mut random = fastrand::Rng::with_seed(bytes);
    let mut chunk = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        random.fill(&mut chunk);
        let taken = left.min(chunk.len() as u64) as usize;
        file.write_all(&chunk[..taken])?;
        left -= taken as u64;
    }
    Ok(())
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(one: &Path, other: &Path) -> anyhow::Result<bool> {
    use std::io::Read;
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut left)?;
        if length == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..length])?;
        if left[..length] != right[..length] {
            return Ok(false);
        }
    }
}
