//! A real sshd with keys of its own, and haul to be run against it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// Where Debian, Fedora and macOS keep it.
const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];

/// A server on a port of its own, ended when dropped.
pub(crate) struct Server {
    dir: TempDir,
    sshd: Child,
    pub(crate) port: u16,
}

/// What a finished run of haul left.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stderr: String,
    pub(crate) events: Vec<Value>,
}

impl Run {
    /// A field of the summary.
    pub(crate) fn summary(&self, field: &str) -> Value {
        let summary = self.events.iter().find(|event| event["type"] == "summary");
        summary.map_or(Value::Null, |event| event[field].clone())
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let sshd = SSHD
            .iter()
            .find(|path| fs::exists(path).unwrap_or(false))
            .unwrap_or_else(|| {
                panic!("no sshd on this machine: scripts/setup --tests installs openssh-server")
            });
        // sshd refuses to start without its privilege separation directory.
        let _ = fs::create_dir_all("/run/sshd");
        let dir = tempfile::Builder::new()
            .prefix("haul-sshd.")
            .tempdir()
            .unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("here")).unwrap();
        fs::create_dir(path("there")).unwrap();
        for key in ["host", "key", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status()
                .expect("ssh-keygen: scripts/setup --tests installs openssh-client");
            assert!(made.success());
        }
        let port = free_port();
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_haul"));
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey {}\n\
             AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\n\
             SetEnv PATH={}:/usr/bin:/bin\n",
            path("host").display(),
            path("key.pub").display(),
            bin.parent().unwrap().display(),
        );
        fs::write(path("config"), config).unwrap();
        let host_key = fs::read_to_string(path("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {host_key}[::1]:{port} {host_key}");
        fs::write(path("known_hosts"), known).unwrap();
        let mut sshd = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        await_listening(&mut sshd);
        Self { dir, sshd, port }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn here(&self) -> PathBuf {
        self.path("here")
    }

    pub(crate) fn there(&self) -> PathBuf {
        self.path("there")
    }

    /// haul with this server's keys, before its other arguments.
    pub(crate) fn haul(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haul"));
        command
            .args(["-F", "none", "-P", &self.port.to_string()])
            .args(arguments)
            .current_dir(self.here())
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !arguments.contains(&"-S") {
            command.args(["-S", env!("CARGO_BIN_EXE_haul")]);
        }
        if !arguments.contains(&"-i") {
            command.arg("-i").arg(self.path("key"));
        }
        if !arguments
            .iter()
            .any(|word| ["--known-hosts", "--host-key"].contains(word))
        {
            command.arg("--known-hosts").arg(self.path("known_hosts"));
        }
        command
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.haul(arguments).spawn().unwrap()
    }

    /// Runs with `--json` to the end.
    pub(crate) fn json(&self, arguments: &[&str]) -> Run {
        let output = self
            .haul(&[&["--json"], arguments].concat())
            .output()
            .unwrap();
        let lines = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Run {
            status: output.status.code().unwrap_or(-1),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            events: lines
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// sshd says on its standard error when it listens; afterwards somebody has to go on reading.
fn await_listening(sshd: &mut Child) {
    let mut lines = BufReader::new(sshd.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines.by_ref().map_while(Result::ok) {
        let listening = line.contains("listening on 127.0.0.1");
        said.push(line);
        if listening {
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return;
        }
    }
    panic!("sshd did not start: {said:?}");
}
