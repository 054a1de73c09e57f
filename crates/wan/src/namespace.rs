//! Network namespaces: one thread each, because a namespace is entered by threads.

use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    sync::mpsc,
    thread::JoinHandle,
};

use nix::sched::{CloneFlags, unshare};

use crate::WanError;

/// Set for the copy of this program that runs inside a user namespace.
const INSIDE: &str = "HAUL_WAN_INSIDE";

/// TCP's buffers: least, at first, most.
const TCP_BUFFERS: &str = "4096 131072 134217728";

type Task = Box<dyn FnOnce() + Send>;

/// A network namespace of this process's own. Its thread, and with it the namespace once no
/// program in it is left, ends when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new namespace, in which nothing but the loopback device is there.
    ///
    /// # Errors
    /// [`WanError::Privileges`] when this process may not make one.
    pub fn new(name: &str) -> Result<Self, WanError> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (entered, result) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("net-{name}"))
            .spawn(move || {
                let outcome = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
                let ok = outcome.is_ok();
                if entered.send(outcome).is_ok() && ok {
                    while let Ok(task) = inbox.recv() {
                        task();
                    }
                }
            })?;
        result
            .recv()
            .map_err(|_| WanError::Ended)?
            .map_err(WanError::Privileges)?;
        let namespace = Self {
            tasks: Some(tasks),
            thread: Some(thread),
        };
        namespace.configure(&["link", "set", "lo", "up"])?;
        namespace.run(prepare_tcp)?;
        Ok(namespace)
    }

    /// Runs `work` on the namespace's thread: sockets it opens and programs it starts are inside.
    ///
    /// # Errors
    /// [`WanError::Ended`] when an earlier piece of work panicked.
    pub fn run<T, F>(&self, work: F) -> Result<T, WanError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = mpsc::channel();
        let task: Task = Box::new(move || {
            // Nobody waits any more when the caller has panicked.
            let _ = done.send(work());
        });
        let tasks = self.tasks.as_ref().ok_or(WanError::Ended)?;
        tasks.send(task).map_err(|_| WanError::Ended)?;
        result.recv().map_err(|_| WanError::Ended)
    }

    /// Starts a program inside.
    ///
    /// # Errors
    /// [`WanError::System`] when it cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Child, WanError> {
        Ok(self.run(move || command.spawn())??)
    }

    /// A command that is killed when the namespace's thread ends, however it ends.
    pub fn command(program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
    }

    /// Runs ip(8) inside.
    pub(crate) fn configure(&self, words: &[&str]) -> Result<(), WanError> {
        let words: Vec<String> = words.iter().map(|word| String::from(*word)).collect();
        let program = format!("ip {}", words.join(" "));
        let failed = |reason: String| WanError::Program { program, reason };
        match self.run(move || Command::new("ip").args(words).output())? {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(failed(reason))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Runs do not learn from those before, and windows fit every path.
fn prepare_tcp() {
    for (name, value) in [
        ("tcp_no_metrics_save", "1"),
        ("tcp_rmem", TCP_BUFFERS),
        ("tcp_wmem", TCP_BUFFERS),
    ] {
        // A kernel that lacks one has no such limit or memory.
        let _ = fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been noticed by whoever waited for the work.
            let _ = thread.join();
        }
    }
}

/// Makes sure that this process may make network namespaces: as root it returns at once, otherwise
/// the program is run again inside a user namespace of its own, as the same user. Call it first in
/// `main`.
///
/// # Errors
/// [`WanError::Privileges`] when the system allows no user namespaces.
pub fn inside_user_namespace() -> Result<(), WanError> {
    if rustix::process::geteuid().is_root() || env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let program = env::current_exe()?;
    // Returns only when it failed.
    let error = Command::new("unshare")
        .args(["--user", "--map-current-user", "--keep-caps", "--"])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(WanError::Privileges(error))
}
