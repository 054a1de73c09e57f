//! Login shell and forced command of accounts that strangers reach: serves transfers, within the server's
//! policy, and does nothing else.
//!
//! ```text
//! sshd ─► haul-shell [--config FILE] [--key SHA256:…] [-c COMMAND]       SSH_ORIGINAL_COMMAND
//!            │ only what haul itself asks for
//!            └─► haul --remote --restricted …      beside this program, in an environment of its own
//! ```
//!
//! As a login shell it has no options: the policy is `/etc/haul/haul.toml` then. As a forced command it has those
//! of `ForceCommand` or `authorized_keys`, which an ordinary login shell hands on.
//!
//! No shell is ever called, nothing is looked up in a path, and nothing that a client says reaches another
//! program but a version, and the name of a session.

mod command;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, setrlimit, umask},
};

use crate::command::Asked;

/// What everybody hears who asks for anything else.
const REFUSAL: &str = "unauthorized to transfer";
/// Exit status that goes with it: `EX_NOPERM` of sysexits.h.
const REFUSED: u8 = 77;
/// Exit status where this is set up wrongly.
const BROKEN: u8 = 2;

/// Set by sshd where this is a forced command: what the client asked for.
const ORIGINAL_COMMAND: &str = "SSH_ORIGINAL_COMMAND";
/// What of the environment goes on: where the connection comes from, how it was authenticated (with
/// `ExposeAuthInfo yes`), whose account it is, and the time zone of logs.
const KEPT: [&str; 6] = [
    "SSH_CONNECTION",
    "SSH_USER_AUTH",
    "HOME",
    "USER",
    "LOGNAME",
    "TZ",
];

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
enum ShellError {
    #[error(
        "haul-shell: \"{0}\" is none of its options: --config FILE, --key SHA256:…, -c COMMAND"
    )]
    Option(String),
    #[error("haul-shell: {0} needs a value")]
    NoValue(&'static str),
    #[error("haul-shell: cannot tell where this program is: {0}")]
    NoPlace(io::Error),
    #[error("haul-shell: cannot start {}: {source}", .program.display())]
    Start { program: PathBuf, source: io::Error },
}

/// The words on the command line.
#[derive(Debug, Default)]
struct Words {
    config: Option<OsString>,
    key: Option<OsString>,
    command: Option<OsString>,
}

fn main() -> ExitCode {
    let words = match Words::parse(env::args_os().skip(1)) {
        Ok(words) => words,
        Err(error) => return broken(&error),
    };
    let asked = env::var_os(ORIGINAL_COMMAND).or_else(|| words.command.clone());
    let Some(asked) = asked.and_then(|command| Asked::parse(command.as_bytes())) else {
        let _ = writeln!(io::stderr(), "{REFUSAL}");
        return ExitCode::from(REFUSED);
    };
    broken(&serve(&words, &asked))
}

fn broken(error: &ShellError) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(BROKEN)
}

impl Words {
    fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, ShellError> {
        let mut this = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let (place, name) = match word.as_bytes() {
                b"--config" => (&mut this.config, "--config"),
                b"--key" => (&mut this.key, "--key"),
                b"-c" => (&mut this.command, "-c"),
                // A login shell's, in an option of su(1) or where somebody logs in at a console.
                b"-l" | b"--login" => continue,
                _ => {
                    return Err(ShellError::Option(
                        word.to_string_lossy().escape_debug().collect(),
                    ));
                }
            };
            *place = Some(words.next().ok_or(ShellError::NoValue(name))?);
        }
        Ok(this)
    }
}

/// Becomes `haul --remote`; comes back only when that does not work.
fn serve(words: &Words, asked: &Asked) -> ShellError {
    let this = match env::current_exe() {
        Ok(this) => this,
        Err(error) => return ShellError::NoPlace(error),
    };
    let program = this.with_file_name("haul");
    umask(Mode::from_raw_mode(0o077));
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Without it a core file may be left where the account may write; nothing else depends on it.
    let _ = setrlimit(Resource::Core, none);
    let mut command = Command::new(&program);
    command.env_clear();
    command.envs(
        KEPT.iter()
            .filter_map(|name| Some((name, env::var_os(name)?))),
    );
    command.args(["--remote", "--restricted"]);
    for (option, value) in [("--config", &words.config), ("--key", &words.key)] {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    let option =
        |name: &str, value: &str| [OsStr::new(name), OsStr::new(value)].map(OsStr::to_owned);
    match asked {
        Asked::Serve { proto } => command.args(option("--proto", proto)),
        Asked::Join { proto, name } => command
            .args(option("--proto", proto))
            .args(option("--join", name)),
    };
    let source = command.exec();
    ShellError::Start { program, source }
}
