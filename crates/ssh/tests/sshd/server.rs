//! A real sshd on the loopback interface, with keys made for the occasion.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use haul_ssh::{Options, Session, SshError, Target};

const SSHD: &str = "/usr/sbin/sshd";
/// Nothing here should take longer; what waits this long has hung.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a tool of OpenSSH's, which must be installed: these tests prove nothing without it.
pub fn tool(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| {
        panic!(
            "{:?} cannot run ({e}): install openssh-client",
            command.get_program()
        )
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(path);
    tool(&mut command);
}

/// A directory of throw-away keys, made once and kept for later runs.
pub fn keys() -> &'static Path {
    static KEYS: OnceLock<PathBuf> = OnceLock::new();
    KEYS.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let finished = base.join("haul-ssh-keys-1");
        if !finished.exists() {
            let made = tempfile::tempdir_in(base).unwrap();
            for (name, kind, passphrase) in [
                ("host-ed25519", "ed25519", ""),
                ("host-ecdsa", "ecdsa", ""),
                ("host-rsa", "rsa", ""),
                ("ca", "ed25519", ""),
                ("user-ed25519", "ed25519", ""),
                ("user-ecdsa", "ecdsa", ""),
                ("user-rsa", "rsa", ""),
                ("user-encrypted", "ed25519", "open sesame"),
                ("stranger", "ed25519", ""),
                ("stranger-encrypted", "ed25519", "open sesame"),
            ] {
                keygen(&made.path().join(name), kind, passphrase);
            }
            // Another process may have been faster; its keys are as good.
            let _ = std::fs::rename(made.keep(), &finished);
        }
        finished
    })
}

pub fn key(name: &str) -> PathBuf {
    keys().join(name)
}

/// `type base64` of a public key.
pub fn public(name: &str) -> String {
    let text = std::fs::read_to_string(keys().join(format!("{name}.pub"))).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The fingerprint `ssh-keygen -l` prints.
pub fn fingerprint(name: &str) -> String {
    let output = tool(Command::new("ssh-keygen").arg("-lf").arg(key(name)));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').nth(1).unwrap().to_owned()
}

pub fn local_user() -> String {
    let output = tool(Command::new("id").arg("-un"));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running sshd and the client's home directory beside it.
pub struct Server {
    pub directory: tempfile::TempDir,
    pub port: u16,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// A server with all host keys that lets all `user-…` keys in.
    pub fn new() -> Self {
        Self::with(&["host-ed25519", "host-ecdsa", "host-rsa"], "")
    }

    /// A server with these host keys and these lines of configuration.
    pub fn with(host_keys: &[&str], extra: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("home/.ssh")).unwrap();
        let mut authorized = std::fs::File::create(directory.path().join("authorized")).unwrap();
        for name in ["user-ed25519", "user-ecdsa", "user-rsa", "user-encrypted"] {
            writeln!(authorized, "{}", public(name)).unwrap();
        }
        // sshd wants this directory for privilege separation when it runs as root.
        if std::fs::create_dir_all("/run/sshd").is_err() {
            assert_ne!(local_user(), "root", "/run/sshd cannot be made");
        }
        for _ in 0..10 {
            if let Some(server) = Self::try_start(&directory, host_keys, extra) {
                let (port, child, log) = server;
                return Self {
                    directory,
                    port,
                    child,
                    log,
                };
            }
        }
        panic!("sshd found no free port in ten attempts");
    }

    /// Starts sshd on a port that was free a moment ago; `None` if it no longer is.
    fn try_start(
        directory: &tempfile::TempDir,
        host_keys: &[&str],
        extra: &str,
    ) -> Option<(u16, Child, Arc<Mutex<String>>)> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = directory.path().join("sshd_config");
        let mut text: String = host_keys
            .iter()
            .map(|name| format!("HostKey {}\n", key(name).display()))
            .collect();
        // sshd takes the first value that it finds.
        text += &format!(
            "{extra}\nListenAddress 127.0.0.1\nListenAddress ::1\nPort {port}\nPidFile none\n\
             AuthorizedKeysFile {}\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nLogLevel VERBOSE\nMaxStartups 100\n",
            directory.path().join("authorized").display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{SSHD} cannot run ({e}): install openssh-server"));
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (report, started) = mpsc::channel();
        let copy = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("Server listening on 127.0.0.1") {
                    let _ = report.send(());
                }
                *copy.lock().unwrap() += &(line + "\n");
            }
        });
        if started.recv_timeout(PATIENCE).is_ok() {
            return Some((port, child, log));
        }
        let _ = child.kill();
        let _ = child.wait();
        let text = log.lock().unwrap().clone();
        assert!(text.contains("in use"), "sshd does not start:\n{text}");
        None
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What sshd has said once `text` is in it: it gets here a little later than its answers.
    pub fn log_until(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < deadline, "never said {text}:\n{log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn target(&self) -> Target {
        Target {
            user: Some(local_user()),
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
        }
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.directory.path().join("home/.ssh/known_hosts")
    }

    /// Writes the user's known-hosts file; `@` stands for the server's name in it.
    pub fn know(&self, text: &str) {
        let name = format!("[127.0.0.1]:{}", self.port);
        // In one step: a test may have several sessions begin at the same time.
        let new = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        std::fs::write(new.path(), text.replace("HOST", &name)).unwrap();
        new.persist(self.known_hosts()).unwrap();
    }

    /// Options of a user at home in this server's directory, with the server known and one key.
    pub fn options(&self) -> Options {
        if !self.known_hosts().exists() {
            self.know(&format!("HOST {}\n", public("host-ed25519")));
        }
        Options {
            identities: vec![key("user-ed25519")],
            ..self.stranger()
        }
    }

    /// Options of a user who has no key and knows no host.
    pub fn stranger(&self) -> Options {
        Options {
            home: Some(self.directory.path().join("home")),
            config_file: Some("none".into()),
            system_known_hosts: Vec::new(),
            agent: None,
            interactive: false,
            ..Options::new()
        }
    }

    pub fn run(&self, options: Options, command: &str) -> Result<Session, SshError> {
        haul_ssh::connect(&self.target(), options, command)
    }

    /// Runs a command that must start, with its output until it ends.
    pub fn output(&self, options: Options, command: &str) -> String {
        let mut session = self
            .run(options, command)
            .unwrap_or_else(|e| panic!("{e}\nsshd says:\n{}", self.log()));
        session.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        session.stream.read_to_string(&mut text).unwrap();
        session.close().unwrap();
        text
    }

    /// The error of a connection that must not come about.
    pub fn error(&self, options: Options) -> SshError {
        match self.run(options, "echo this must not run") {
            Ok(_) => panic!("connected\nsshd says:\n{}", self.log()),
            Err(e) => e,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
