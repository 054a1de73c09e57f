//! Transfers that are steered while they run: by commands on the control socket, and by keys on a
//! terminal that always gets its settings back.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    ends::HAUL,
    server::Server,
    telling::{await_bytes, telling},
};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A transfer of 40 Mbyte at a rate that would take a minute, with a control socket.
struct Slow {
    server: Server,
    child: Child,
    events: Box<dyn Iterator<Item = Value>>,
}

impl Slow {
    fn upload() -> Self {
        Self::start(|there| (vec!["file".to_owned(), format!("127.0.0.1:{there}/")], true))
    }

    fn download() -> Self {
        Self::start(|there| {
            (
                vec![format!("127.0.0.1:{there}/file"), "back".to_owned()],
                false,
            )
        })
    }

    fn start(places: impl Fn(String) -> (Vec<String>, bool)) -> Self {
        let server = Server::start();
        let (places, up) = places(server.there().display().to_string());
        let source = if up { server.here() } else { server.there() };
        fs::write(source.join("file"), vec![7; 40_000_000]).unwrap();
        let socket = server.path("control").display().to_string();
        let mut arguments = vec![
            "--json",
            "--control",
            &socket,
            "--policy",
            "fixed",
            "-l",
            "5M",
        ];
        arguments.extend(places.iter().map(String::as_str));
        let mut child = server.spawn(&arguments);
        let mut events = Box::new(telling(&mut child));
        await_bytes(&mut events, 1);
        Self {
            server,
            child,
            events,
        }
    }

    /// The next event like this.
    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.events.find(wanted).expect("such an event")
    }

    fn ctl(&self, command: &[&str]) -> (i32, Value, String) {
        let output = Command::new(HAUL)
            .arg("--ctl")
            .arg(self.socket())
            .args(command)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            serde_json::from_slice(&output.stdout).unwrap_or_default(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn socket(&self) -> PathBuf {
        self.server.path("control")
    }

    fn end(mut self) -> i32 {
        self.events.by_ref().for_each(drop);
        let status = self.child.wait().unwrap().code().unwrap();
        assert!(!self.socket().exists(), "the socket is left");
        status
    }
}

#[test]
fn a_script_steers_transfers_both_ways() {
    for start in [Slow::upload, Slow::download] {
        let mut slow = start();
        let (_, status, _) = slow.ctl(&["status"]);
        assert_eq!(status["in_force"]["target_bps"], 5_000_000, "{status}");
        assert_ne!(status["progress"]["bytes"], 0, "{status}");

        let (code, answer, _) = slow.ctl(&["rate", "8M"]);
        assert_eq!(code, 0);
        assert_eq!(answer["in_force"]["target_bps"], 8_000_000, "{answer}");
        let rate = slow.event(|event| event["type"] == "rate" && event["asked_by"] == "user");
        assert_eq!(rate["in_force_bps"], 8_000_000, "{rate}");
        slow.event(|event| {
            event["type"] == "progress"
                && event["rate_bps"]
                    .as_f64()
                    .is_some_and(|bps| (bps - 8e6).abs() < 1e5)
        });

        let (_, answer, _) = slow.ctl(&["policy", "fair"]);
        assert_eq!(answer["in_force"]["policy"], "fair", "{answer}");
        let (_, answer, _) = slow.ctl(&["min", "1M"]);
        assert_eq!(answer["in_force"]["min_bps"], 1_000_000, "{answer}");
        let (_, answer, _) = slow.ctl(&["rate", "none"]);
        assert_eq!(answer["asked"]["target_bps"], Value::Null, "{answer}");
        assert_eq!(slow.end(), 0);
    }
}

#[test]
fn what_makes_no_sense_is_refused_on_one_line_and_changes_nothing() {
    let slow = Slow::upload();
    for (command, words) in [
        (&["rate", "none"][..], "fixed needs a target"),
        (&["rate", "300MB"], "bits per second"),
        (&["min", "9M"], "above the target"),
        (&["policy", "rude"], "one of fixed, high, fair, low"),
        (&["stop"], "unknown command"),
    ] {
        let (code, _, error) = slow.ctl(command);
        assert!(code == 2 && error.contains(words), "{command:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let (_, status, _) = slow.ctl(&["status"]);
    assert_eq!(status["in_force"]["target_bps"], 5_000_000, "{status}");

    let mut watch = Command::new(HAUL)
        .arg("--ctl")
        .arg(slow.socket())
        .arg("watch")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"progress\""));
    let (code, _, _) = slow.ctl(&["cancel"]);
    assert_eq!(code, 0);
    let socket = slow.socket();
    assert_eq!(slow.end(), 130);
    lines.map_while(Result::ok).for_each(drop);
    assert!(watch.wait().unwrap().success());
    let gone = Command::new(HAUL)
        .arg("--ctl")
        .arg(socket)
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(10));
}

/// An interactive shell on a terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn open(server: &Server) -> Self {
        fs::write(server.here().join("rc"), "PS1='ready> '\n").unwrap();
        let shell = "bash --noprofile --noediting --rcfile rc -i";
        let mut child = Command::new("script")
            .args(["-qfec", shell, "/dev/null"])
            .current_dir(server.here())
            .env("TERM", "xterm")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script(1) of util-linux");
        let mut output = child.stdout.take().unwrap();
        let (out, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if out.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = child.stdin.take().unwrap();
        let mut terminal = Self {
            child,
            keys,
            screen,
            seen: String::new(),
        };
        terminal.until("ready> ");
        // Wide enough for the live line.
        terminal.command("stty rows 50 cols 200");
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Presses again and again, for what is typed before haul listens is not for it.
    fn press_until(&mut self, keys: &str, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.seen.contains(words) {
            self.press(keys);
            let again = Instant::now() + Duration::from_millis(400);
            let left = || again.saturating_duration_since(Instant::now());
            while !self.seen.contains(words)
                && let Ok(bytes) = self.screen.recv_timeout(left())
            {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        self.until(words);
    }

    /// What is shown until and with these words.
    fn until(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(words) {
                return self.seen.drain(..at + words.len()).collect();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.screen.recv_timeout(left) else {
                let end = self
                    .seen
                    .char_indices()
                    .nth_back(600)
                    .map_or(0, |(at, _)| at);
                panic!("no {words:?} in {:?}", &self.seen[end..]);
            };
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// What a command of the shell prints.
    fn command(&mut self, line: &str) -> String {
        self.press(line);
        self.press("\n");
        self.until("\n");
        self.until("ready> ")
    }

    /// The settings of the terminal as the shell's children find them.
    fn settings(&mut self) -> String {
        let shown = self.command("stty -g");
        let settings = shown.lines().map(str::trim).find(|line| line.contains(':'));
        settings.expect("settings").to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// haul's command line for a shell.
fn typed(server: &Server, arguments: &[&str]) -> String {
    let command = server.haul(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    words.join(" ")
}

#[test]
fn k115_keys_change_the_rate_and_the_terminal_comes_back_as_it_was() {
    let server = Server::start();
    fs::write(server.here().join("file"), vec![7; 40_000_000]).unwrap();
    let place = format!("127.0.0.1:{}/", server.there().display());
    let haul = typed(&server, &["--policy", "fixed", "-l", "4M", "file", &place]);
    let mut terminal = Terminal::open(&server);
    let before = terminal.settings();

    // Keys, help and the end by a key.
    terminal.press(&format!("{haul}\n"));
    terminal.until("at most 4.0 Mbit/s");
    terminal.press("?");
    terminal.until("haul: keys:");
    terminal.press("+");
    terminal.until("target 5.0 Mbit/s");
    terminal.press("-");
    terminal.until("target 4.0 Mbit/s");
    terminal.press("0");
    terminal.until("needs a target rate");
    terminal.press("p");
    terminal.until("now policy fair");
    terminal.press("q");
    terminal.until("ready> ");
    assert_eq!(
        terminal.command("echo $?").lines().next().map(str::trim),
        Some("130")
    );
    assert_eq!(terminal.settings(), before);

    // Stopped, the shell has its terminal; resumed, the keys work again.
    terminal.press(&format!("{haul}\n"));
    terminal.until("at most 4.0 Mbit/s");
    terminal.press("+");
    terminal.until("target 5.0 Mbit/s");
    terminal.press("\x1a");
    terminal.until("Stopped");
    terminal.until("ready> ");
    assert_eq!(terminal.settings(), before);
    // In the background it goes on, and leaves the terminal alone.
    terminal.command("bg");
    let jobs = terminal.command("sleep 0.6; jobs");
    assert!(jobs.contains("Running"), "{jobs}");
    assert_eq!(terminal.settings(), before);
    terminal.press("fg\n");
    terminal.until("haul");
    terminal.press_until("+", "target ");

    // A signal that kills leaves no trace on the terminal either.
    terminal.press("\x1c");
    terminal.until("ready> ");
    assert_eq!(terminal.settings(), before);
}
