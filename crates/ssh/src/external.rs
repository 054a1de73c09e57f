//! `--ssh-program`: another program makes the connection, with the caller's pipe as its stdin and
//! stdout. That covers what libssh2 does not: jump hosts, FIDO tokens, Kerberos, certificates.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::clock::{remaining, timespec};
use crate::error::SshError;
use crate::options::Options;
use crate::session::{Ending, Remote, RemoteExit, Session, Shared};
use crate::target::Target;

/// How long the program may take to end once the caller is gone, and once it is told to terminate.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of stderr taken at once.
const STDERR_CHUNK: usize = 4 << 10;

/// The program's arguments. Nothing but `-T` is passed that the user did not ask for, so that other
/// programs with ssh's basic options will do.
fn arguments(target: &Target, options: &Options, command: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-T".into()];
    arguments.extend(options.family.option().map(OsString::from));
    let mut option = |name: &str, value: OsString| {
        arguments.push(name.into());
        arguments.push(value);
    };
    if !options.interactive {
        option("-o", "BatchMode=yes".into());
    }
    if let Some(port) = target.port {
        option("-p", port.to_string().into());
    }
    if let Some(user) = &target.user {
        option("-l", user.into());
    }
    for key in &options.identities {
        option("-i", key.into());
    }
    if let Some(file) = &options.config_file {
        option("-F", file.into());
    }
    if !options.known_hosts.is_empty() {
        // ssh splits the value at blanks; quotes keep a name together.
        let quoted = |file: &std::path::PathBuf| format!("\"{}\"", file.display());
        let files: Vec<_> = options.known_hosts.iter().map(quoted).collect();
        option(
            "-o",
            format!("UserKnownHostsFile={}", files.join(" ")).into(),
        );
    }
    if options.accept_new {
        option("-o", "StrictHostKeyChecking=accept-new".into());
    }
    arguments.extend(["--".into(), target.host.clone().into(), command.into()]);
    arguments
}

/// Starts the program. `target` has been checked; `host_name` is what the configuration calls it.
///
/// # Errors
/// [`SshError::Program`] when it cannot be started.
pub(crate) fn start(
    program: &[OsString],
    target: &Target,
    options: &Options,
    command: &str,
    host_name: String,
) -> Result<Session, SshError> {
    let name = program
        .first()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let failed = |e: io::Error| SshError::Program {
        program: name.clone(),
        source: Arc::new(e),
    };
    let (executable, own) = program
        .split_first()
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let pair = || UnixStream::pair().map_err(|e| SshError::system("socket pair", e));
    let (stream, pipe) = pair()?;
    let (hold, held) = pair()?;
    let end = || {
        pipe.try_clone()
            .map(OwnedFd::from)
            .map_err(|e| SshError::system("socket", e))
    };
    // A process group of its own: a terminal's interrupt reaches us alone, and when we end the
    // program its children end with it.
    let mut child = Command::new(executable)
        .args(own)
        .args(arguments(target, options, command))
        .stdin(Stdio::from(end()?))
        .stdout(Stdio::from(end()?))
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let shared = Arc::new(Shared::default());
    let ending = Ending::new(&shared);
    let stderr = child.stderr.take();
    let mut watch = Watch {
        child,
        stderr,
        pipe,
        held,
        shared: Arc::clone(&shared),
    };
    let worker = thread::Builder::new()
        .name("ssh-program".to_owned())
        .spawn(move || ending.tell(watch.run()))
        .map_err(|e| SshError::system("thread", e))?;
    Ok(Session {
        stream,
        peer: None,
        host_name,
        warnings: Vec::new(),
        remote: Remote::new(shared, hold, worker),
        channels: None,
    })
}

/// Watches over the running program.
struct Watch {
    child: Child,
    stderr: Option<ChildStderr>,
    pipe: UnixStream,
    held: UnixStream,
    shared: Arc<Shared>,
}

impl Watch {
    fn run(&mut self) -> Result<RemoteExit, SshError> {
        let result = self.serve();
        if result.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
        // A helper the program leaves behind (ControlPersist) may hold the pipe open; the caller
        // must see the end all the same.
        let _ = self.pipe.shutdown(Shutdown::Both);
        result
    }

    /// Collects stderr until the program has ended; ends it some time after the caller is gone.
    fn serve(&mut self) -> Result<RemoteExit, SshError> {
        let failed = |e: rustix::io::Errno| SshError::system("watching the ssh program", e);
        if let Some(stderr) = &self.stderr {
            rustix::io::ioctl_fionbio(stderr, true).map_err(failed)?;
        }
        let pid = Pid::from_child(&self.child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        let mut patience = Patience::Unlimited;
        loop {
            let waits = patience
                .deadline()
                .map_or_else(|| timespec(Duration::MAX), remaining);
            let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
            if patience == Patience::Unlimited {
                fds.push(PollFd::new(&self.held, PollFlags::empty()));
                fds.push(PollFd::new(&self.pipe, PollFlags::empty()));
            }
            let fixed = fds.len();
            if let Some(stderr) = &self.stderr {
                fds.push(PollFd::new(stderr, PollFlags::IN));
            }
            match poll(&mut fds, Some(&waits)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(failed(e)),
            }
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let (has_ended, gone) = (ready(&fds[0]), fds[1..fixed].iter().any(ready));
            self.read_stderr();
            if has_ended {
                let status = self.child.wait().map_err(|e| SshError::system("wait", e))?;
                return Ok(exit(status));
            }
            if gone {
                let _ = self.pipe.shutdown(Shutdown::Both);
                patience = Patience::Leave(Instant::now() + GRACE);
            }
            if let Some(signal) = patience.overdue() {
                self.signal(signal);
                if signal == Signal::KILL {
                    let _ = self.child.wait();
                    return Ok(RemoteExit::Abandoned);
                }
                patience = Patience::Terminated(Instant::now() + GRACE);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn read_stderr(&mut self) {
        let mut chunk = [0; STDERR_CHUNK];
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut chunk) {
                Ok(0) => self.stderr = None,
                Ok(count) => self.shared.push_stderr(&chunk[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// How much longer the program may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// The caller is there.
    Unlimited,
    /// The caller is gone; until then the program may end by itself.
    Leave(Instant),
    /// It has been asked to terminate; then it is killed.
    Terminated(Instant),
}

impl Patience {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Unlimited => None,
            Self::Leave(at) | Self::Terminated(at) => Some(at),
        }
    }

    fn overdue(self) -> Option<Signal> {
        let at = self.deadline().filter(|at| Instant::now() >= *at)?;
        Some(if self == Self::Terminated(at) {
            Signal::KILL
        } else {
            Signal::TERM
        })
    }
}

fn exit(status: ExitStatus) -> RemoteExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => RemoteExit::Code(code),
        (None, signal) => RemoteExit::Signal(signal.unwrap_or(0).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;

    #[test]
    fn only_what_is_set_is_passed() {
        let text = |target: &Target, options: &Options| -> Vec<String> {
            let all = arguments(target, options, "haul --remote");
            all.iter()
                .map(|a| a.to_string_lossy().into_owned())
                .collect()
        };
        let mut options = Options {
            interactive: true,
            ..Options::new()
        };
        let bare = Target::new("host");
        assert_eq!(text(&bare, &options), ["-T", "--", "host", "haul --remote"]);

        options.interactive = false;
        options.identities = vec!["/k 1".into(), "/k2".into()];
        options.config_file = Some("/c".into());
        options.known_hosts = vec!["/k h".into()];
        options.accept_new = true;
        options.family = Family::V6;
        let full = Target {
            user: Some("jane".into()),
            host: "host".into(),
            port: Some(2222),
        };
        assert_eq!(
            text(&full, &options),
            [
                "-T",
                "-6",
                "-o",
                "BatchMode=yes",
                "-p",
                "2222",
                "-l",
                "jane",
                "-i",
                "/k 1",
                "-i",
                "/k2",
                "-F",
                "/c",
                "-o",
                "UserKnownHostsFile=\"/k h\"",
                "-o",
                "StrictHostKeyChecking=accept-new",
                "--",
                "host",
                "haul --remote",
            ]
        );
    }
}
