//! Questions to the user, on the terminal and nowhere else: standard input and output may be pipes,
//! and a script must never wait for somebody who is not there.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    sync::Mutex,
};

use haul_ssh::Prompt;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The controlling terminal, wherever the standard streams lead.
const TERMINAL: &str = "/dev/tty";

/// The terminal's settings from before a question that is still open.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether there is a terminal to ask on.
pub(crate) fn is_possible() -> bool {
    open().is_ok()
}

/// Asks; `None` when the user gives no answer.
pub(crate) fn answer(prompt: &Prompt) -> Option<Zeroizing<String>> {
    let terminal = open().ok()?;
    remember(tcgetattr(&terminal).ok());
    let answer = if prompt.echo() {
        read_visible(terminal, prompt)
    } else {
        rpassword::prompt_password(prompt)
    };
    remember(None);
    answer.ok().map(Zeroizing::new)
}

/// Gives the terminal its settings back when the program ends in the middle of a question.
pub(crate) fn restore_terminal() {
    let before = BEFORE.lock().ok().and_then(|mut before| before.take());
    if let (Some(before), Ok(terminal)) = (before, open()) {
        // The program is ending; a terminal that refuses is past helping.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
        let _ = (&terminal).write_all(b"\n");
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(TERMINAL)
}

fn remember(settings: Option<Termios>) {
    if let Ok(mut before) = BEFORE.lock() {
        *before = settings;
    }
}

fn read_visible(mut terminal: File, prompt: &Prompt) -> io::Result<String> {
    write!(terminal, "{prompt}")?;
    let mut line = String::new();
    if BufReader::new(terminal).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
