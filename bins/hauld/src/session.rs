use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use haul_policy::{Door, Rules, Visitor};

use haul_transfer::{
    Direction, Event, FileRecord, RespondSetup, Seats, Summary, TransferError, escaped, respond,
};
use jiff::Timestamp;
use russh::{
    Channel, ChannelId, ChannelOpenFailure,
    keys::HashAlg,
    server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session as Ssh, VerifiedPublicKey},
};
use tokio::sync::{mpsc, watch};

use crate::{args::Args, cap::Cap, keys, log};

/// What a session must do that is refused; also the exit status sshd's users know for it.
const REFUSED: &str = "only haul transfers are served here\n";
const REFUSED_STATUS: u32 = 77;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) args: Args,
    /// The served directory, resolved.
    pub(crate) root: PathBuf,
    pub(crate) caps: Caps,
    /// Turns true when the server is to end.
    pub(crate) stopped: watch::Receiver<bool>,
}

/// What all sessions of a direction may use together, where that is limited.
pub(crate) struct Caps {
    pub(crate) up: Option<Arc<Cap>>,
    pub(crate) down: Option<Arc<Cap>>,
}

/// One SSH connection: a login by key, one channel, one command.
pub(crate) struct Session {
    shared: Arc<Shared>,
    peer: SocketAddr,
    local: SocketAddr,
    logged_in: watch::Sender<bool>,
    who: String,
    user: String,
    key: String,
    channel: Option<Channel<Msg>>,
    channels: usize,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        local: SocketAddr,
        logged_in: watch::Sender<bool>,
    ) -> Self {
        let who = peer.to_string();
        Self {
            shared,
            peer,
            local,
            logged_in,
            who,
            user: String::new(),
            key: String::new(),
            channel: None,
            channels: 0,
        }
    }

    fn setup(&self) -> RespondSetup {
        let Shared {
            args,
            root,
            caps,
            stopped,
        } = &*self.shared;
        let mut setup = RespondSetup::new(root.clone());
        setup.jail = Some(root.clone());
        setup.allow_none = args.allow_none;
        setup.allow_privileged = args.allow_privileged;
        setup.allow_upload = !args.download_only;
        setup.allow_download = !args.upload_only;
        setup.allow_measure = !args.no_measure;
        setup.rate_max_bps = args.rate_max.map(|rate| rate.0);
        setup.upload_seats = caps.up.clone().map(|cap| Seats::new(move || cap.seat()));
        setup.download_seats = caps.down.clone().map(|cap| Seats::new(move || cap.seat()));
        setup.udp_ports = args.udp_ports.clone();
        setup.bind = Some(self.local.ip().to_canonical());
        setup.advertise = Some(self.local.ip().to_canonical());
        setup.ssh_peer = Some(self.peer.ip().to_canonical());
        setup.any_source = args.any_source;
        setup.cancel = Some(stopped.clone());
        setup
    }

    /// What the policy says of this user, if there is one.
    fn door(&self) -> Option<Door> {
        let path = self.shared.args.config.as_ref()?;
        let visitor = Visitor {
            user: self.user.clone(),
            groups: Vec::new(),
            address: Some(self.peer.ip().to_canonical()),
            key: Some(self.key.clone()),
            now: Timestamp::now(),
        };
        let mut door = Door::open("hauld", path, visitor);
        let root = door.rules().ok().and_then(Rules::root).cloned();
        if let Some(root) = root.filter(|root| !is_inside(root, &self.shared.root)) {
            door.shut("config", format!("{} is not inside --root", root.display()));
        }
        if let Err(refusal) = door.rules() {
            log(&format!("{}: {}: {refusal}", self.who, refusal.code));
        }
        Some(door)
    }
}

impl Handler for Session {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let fingerprint = key.public_key.fingerprint(HashAlg::Sha256);
        if !keys::is_authorized(&self.shared.args.authorized_keys, key.public_key) {
            log(&format!(
                "{}: key {fingerprint} is not authorized",
                self.peer
            ));
            return Ok(Auth::reject());
        }
        self.who = format!("{}@{} {fingerprint}", user.escape_debug(), self.peer);
        (self.user, self.key) = (user.to_owned(), fingerprint.to_string());
        self.logged_in.send_replace(true);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        self.channels += 1;
        if self.channels > 1 {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        let Some(channel) = self.channel.take() else {
            return ssh.channel_failure(id);
        };
        ssh.channel_success(id)?;
        let handle = ssh.handle();
        if !is_ours(command) {
            log(&format!(
                "{}: refused {:?}",
                self.who,
                String::from_utf8_lossy(command)
            ));
            tokio::spawn(refuse(handle, id));
            return Ok(());
        }
        let (mut setup, who) = (self.setup(), self.who.clone());
        let door = self.door();
        if let Some(door) = &door {
            setup = door.apply(setup);
        }
        let (told, mut events) = mpsc::unbounded_channel();
        setup.events = Some(told);
        tokio::spawn(async move {
            log(&format!("{who}: begins"));
            let (reader, writer) = tokio::io::split(channel.into_stream());
            let serving = respond(reader, writer, setup);
            tokio::pin!(serving);
            let outcome = loop {
                tokio::select! {
                    biased;
                    Some(event) = events.recv() => tell(&who, &event),
                    outcome = &mut serving => break outcome,
                }
            };
            while let Ok(event) = events.try_recv() {
                tell(&who, &event);
            }
            log(&format!("{who}: {}", describe(&outcome)));
            if let Some(Err(error)) = door.map(|door| door.record(outcome.as_ref())) {
                log(&format!("the audit trail cannot be written: {error}"));
            }
            let status = outcome.map_or_else(|error| u32::from(error.exit_code()), |_| 0);
            end(&handle, id, status).await;
        });
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), Self::Error> {
        ssh.channel_success(id)?;
        log(&format!("{}: refused a shell", self.who));
        tokio::spawn(refuse(ssh.handle(), id));
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        _value: &str,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }
}

/// Whether a directory that is there is this one or below it, wherever links lead.
fn is_inside(path: &Path, root: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with(root))
}

/// Whether the command is the one a haul client gives, with whatever options and path to the binary:
/// nothing of it is executed here.
fn is_ours(command: &[u8]) -> bool {
    let Ok(command) = std::str::from_utf8(command) else {
        return false;
    };
    let mut words = command.split_ascii_whitespace();
    let program = words.next().unwrap_or_default().trim_matches('\'');
    program.rsplit('/').next() == Some("haul") && words.next() == Some("--remote")
}

/// Logs what is worth it of a running transfer.
fn tell(who: &str, event: &Event) {
    let text = match event {
        Event::Request(asked) => {
            let what = match asked.direction {
                Direction::Upload => "asks to put into",
                Direction::Download => "asks for",
            };
            let paths = asked
                .paths
                .iter()
                .map(|path| format!(" \"{}\"", escaped(path)));
            format!("{what}{}", paths.collect::<String>())
        }
        Event::File(FileRecord {
            path,
            failure: Some(why),
            ..
        }) => format!("failed: {}: {why}", escaped(path)),
        Event::Warning(warning) => format!("warning: {}", warning.text),
        _ => return,
    };
    log(&format!("{who}: {text}"));
}

fn describe(outcome: &Result<Summary, TransferError>) -> String {
    match outcome {
        Ok(summary) => format!(
            "done: {} bytes in {} files, {:.3} s, {:.0} Mbit/s",
            summary.bytes,
            summary.files,
            summary.seconds,
            summary.goodput_bps as f64 / 1e6
        ),
        Err(error) => format!("failed: {error}"),
    }
}

async fn refuse(handle: Handle, id: ChannelId) {
    let _ = handle
        .extended_data(id, 1, REFUSED.as_bytes().to_vec())
        .await;
    end(&handle, id, REFUSED_STATUS).await;
}

/// Ends the channel in order. A client that has gone needs no farewell.
async fn end(handle: &Handle, id: ChannelId, status: u32) {
    let _ = handle.exit_status_request(id, status).await;
    let _ = handle.eof(id).await;
    let _ = handle.close(id).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_command_is_served() {
        for ours in [
            "haul --remote",
            "haul --remote --proto 1",
            "/opt/x/haul --remote",
            "'haul' --remote",
        ] {
            assert!(is_ours(ours.as_bytes()), "{ours}");
        }
        for foreign in [
            "",
            "haul",
            "sh",
            "scp -t .",
            "xhaul --remote",
            "haul; --remote",
            "haul -c",
        ] {
            assert!(!is_ours(foreign.as_bytes()), "{foreign}");
        }
        assert!(!is_ours(b"\xff"));
    }
}
