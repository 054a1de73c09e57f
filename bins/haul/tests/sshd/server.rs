//! A real sshd with keys of its own, and haul to be run against it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    ops::Deref,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    ends::{Ends, HAUL},
    keys,
    outcome::{events, of_type, stderr},
};

/// Where Debian, Fedora and macOS keep it.
const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];

/// A server on a port of its own, ended when dropped.
pub(crate) struct Server {
    ends: Ends,
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
        let summaries = of_type(&self.events, "summary");
        summaries
            .first()
            .map_or(Value::Null, |event| event[field].clone())
    }
}

impl Deref for Server {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.ends
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// With these options before the key in `authorized_keys`, and these further lines of configuration.
    pub(crate) fn with(key_options: &str, lines: &str) -> Self {
        let sshd = SSHD
            .iter()
            .find(|path| fs::exists(path).unwrap_or(false))
            .unwrap_or_else(|| {
                panic!("no sshd on this machine: scripts/setup --tests installs openssh-server")
            });
        // sshd refuses to start without its privilege separation directory.
        let _ = fs::create_dir_all("/run/sshd");
        let ends = Ends::new();
        keys::generate(&ends, &["host", "key", "stranger"]);
        let port = free_port();
        let bin = Path::new(HAUL).parent().unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey {}\n\
             AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\n\
             SetEnv PATH={}:/usr/bin:/bin\n{lines}\n",
            ends.path("host").display(),
            ends.path("authorized").display(),
            bin.display(),
        );
        let key = fs::read_to_string(ends.path("key.pub")).unwrap();
        fs::write(ends.path("authorized"), format!("{key_options} {key}")).unwrap();
        fs::write(ends.path("config"), config).unwrap();
        let host_key = fs::read_to_string(ends.path("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {host_key}[::1]:{port} {host_key}");
        fs::write(ends.path("known_hosts"), known).unwrap();
        let mut sshd = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(ends.path("config"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        await_listening(&mut sshd);
        Self { ends, sshd, port }
    }

    /// haul with this server's keys, before its other arguments.
    pub(crate) fn haul(&self, arguments: &[&str]) -> Command {
        let mut command = self.ends.bare();
        command
            .args(["-F", "none", "-P", &self.port.to_string()])
            .args(arguments);
        if !arguments.contains(&"-S") {
            command.args(["-S", HAUL]);
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
        Run {
            status: output.status.code().unwrap_or(-1),
            stderr: stderr(&output),
            events: events(&output.stdout),
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
