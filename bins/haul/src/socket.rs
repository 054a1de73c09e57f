//! `--control`: a UNIX socket on which scripts steer a running transfer, one command a line, one
//! JSON answer a line.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use haul_transfer::{InForce, Limits};
use rustix::{fs::Mode, process::umask};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::broadcast::error::RecvError,
    time::timeout,
};

use crate::{
    events,
    steer::{Helm, News, Order, SteerError},
};

/// Longest command that is read, in bytes.
const COMMAND_LEN_MAX: u64 = 1024;
/// How long the sender of data may take to say what it makes of a command.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Something else is there.
    #[error("--control {0}: exists and is not a socket; name a path that is free")]
    Occupied(String),
    /// Somebody listens there.
    #[error("--control {0}: another program listens there; name another path")]
    InUse(String),
    /// The system refuses.
    #[error("--control {path}: {source}")]
    System {
        /// The path, escaped.
        path: String,
        /// The kernel's word.
        source: io::Error,
    },
}

/// The socket's file while it is ours, by device and inode.
static FILE: Mutex<Option<(PathBuf, u64, u64)>> = Mutex::new(None);

/// A socket that nobody is served on yet; its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: Option<StdListener>,
}

impl Socket {
    /// Listens at `path`, for this user alone. Only a socket that nobody listens on is replaced.
    /// Changes the process's umask for a moment: for when there are no threads yet.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let shown = path.display().to_string().escape_debug().to_string();
        let refuse = |source| SocketError::System {
            path: shown.clone(),
            source,
        };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refuse(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::Occupied(shown));
            }
            Ok(_) => match StdStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(refuse)?;
                }
                Ok(_) => return Err(SocketError::InUse(shown)),
                Err(error) => return Err(refuse(error)),
            },
        }
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = StdListener::bind(path);
        umask(before);
        let listener = bound.map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let ours = fs::symlink_metadata(path).map_err(refuse)?;
        let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        *file = Some((path.to_path_buf(), ours.dev(), ours.ino()));
        Ok(Self {
            listener: Some(listener),
        })
    }

    /// Serves whoever connects, as long as the runtime lasts.
    ///
    /// # Errors
    /// The runtime refuses the socket.
    pub(crate) fn serve(&mut self, helm: Helm) -> io::Result<()> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let listener = UnixListener::from_std(listener)?;
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    // Whoever goes away in the middle of a command needs no answer.
                    Ok((stream, _)) => drop(tokio::spawn(converse(stream, helm.clone()))),
                    // Out of descriptors: it passes.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes the socket's file, unless another has taken its place.
pub(crate) fn remove() {
    let file = FILE.lock().ok().and_then(|mut file| file.take());
    if let Some((path, device, inode)) = file
        && fs::symlink_metadata(&path).is_ok_and(|f| (f.dev(), f.ino()) == (device, inode))
    {
        // A directory that has become read-only keeps it; the next run replaces it.
        let _ = fs::remove_file(&path);
    }
}

async fn converse(stream: UnixStream, helm: Helm) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(COMMAND_LEN_MAX)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 == COMMAND_LEN_MAX && line.last() != Some(&b'\n') {
            return say(&mut writer, &refusal("the command is too long")).await;
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim() {
            "" => {}
            "watch" => return watch(&mut writer, &helm).await,
            "status" => {
                let news = helm.news().borrow().clone();
                say(&mut writer, &status(&news)).await?;
            }
            command => {
                let answer = match command.parse::<Order>() {
                    Ok(order) => obey(order, &helm).await,
                    Err(error) => Err(error),
                };
                let answer = answer.unwrap_or_else(|error| refusal(&error.to_string()));
                say(&mut writer, &answer).await?;
            }
        }
    }
}

/// Gives the order, and waits for what the sender of data makes of it once there is one.
async fn obey(order: Order, helm: &Helm) -> Result<Value, SteerError> {
    let mut news = helm.news();
    let before = news.borrow_and_update().clone();
    let asked = helm.give(order)?;
    let mut in_force = None;
    if order != Order::Cancel && before.in_force.is_some() {
        let answered = news.wait_for(|news| {
            news.told > before.told && news.in_force.is_some_and(|told| told.asked == asked)
        });
        if let Ok(Ok(news)) = timeout(ANSWER_PATIENCE, answered).await {
            in_force = news.in_force;
        }
    }
    Ok(json!({
        "ok": true,
        "asked": limits(&asked),
        "in_force": in_force.as_ref().map(kept),
    }))
}

fn status(news: &News) -> Value {
    json!({
        "ok": true,
        "asked": news.in_force.map(|told| limits(&told.asked)),
        "in_force": news.in_force.as_ref().map(kept),
        "progress": news.progress.as_ref().map(events::progress),
    })
}

fn limits(limits: &Limits) -> Value {
    json!({
        "policy": limits.policy.name(),
        "target_bps": limits.target_bps,
        "min_bps": limits.min_bps,
    })
}

fn kept(told: &InForce) -> Value {
    let mut kept = limits(&told.limits());
    kept["ceiling_bps"] = json!(told.ceiling_bps);
    kept
}

fn refusal(why: &str) -> Value {
    json!({ "ok": false, "error": why })
}

/// Every event from now on, until the transfer ends or the listener goes.
async fn watch(writer: &mut OwnedWriteHalf, helm: &Helm) -> io::Result<()> {
    let mut lines = helm.lines();
    say(writer, &json!({ "ok": true })).await?;
    loop {
        match lines.recv().await {
            Ok(line) => {
                writer.write_all(line.as_bytes()).await?;
                writer.write_all(b"\n").await?;
            }
            // A listener that is too slow misses events, and goes on with the latest.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn say(writer: &mut OwnedWriteHalf, answer: &Value) -> io::Result<()> {
    writer.write_all(format!("{answer}\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_uses_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        fs::write(&path, "mine").unwrap();
        let refused = Socket::bind(&path).unwrap_err();
        assert!(matches!(refused, SocketError::Occupied(_)), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();

        drop(StdListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = Socket::bind(&path).unwrap_err();
        assert!(matches!(refused, SocketError::InUse(_)), "{refused}");
        drop(socket);
        assert!(!path.exists());
    }
}
