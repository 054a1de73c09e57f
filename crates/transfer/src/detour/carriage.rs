//! What carries datagrams: the control channel, and further channels beside it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use haul_wire::control::PREAMBLE;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::{Mutex, mpsc},
};

use super::{BUFFER_BYTES, Inlet};
use crate::control::read::{self, Arrived};

/// Where frames of datagrams wait for a channel, which is no longer than that of a router.
pub(crate) fn queue() -> (Queue, Outlet) {
    let (frames, waiting) = mpsc::unbounded_channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let outlet = Outlet {
        waiting: Arc::new(Mutex::new(waiting)),
        bytes: Arc::clone(&bytes),
    };
    (Queue { frames, bytes }, outlet)
}

/// The end of the queue where frames come in.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Adds frames, or drops them when the queue is full; `false` when nobody takes any more.
    pub(super) fn push(&self, frames: Vec<u8>) -> bool {
        let len = frames.len();
        if self.bytes.fetch_add(len, Relaxed) + len > BUFFER_BYTES {
            self.bytes.fetch_sub(len, Relaxed);
            return !self.frames.is_closed();
        }
        self.frames.send(frames).is_ok()
    }
}

/// The other end: whichever channel is idle takes the next frames.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    waiting: Arc<Mutex<mpsc::UnboundedReceiver<Vec<u8>>>>,
    bytes: Arc<AtomicUsize>,
}

impl Outlet {
    /// The next frames; `None` when there will be none. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<Vec<u8>> {
        let frames = self.waiting.lock().await.recv().await?;
        self.bytes.fetch_sub(frames.len(), Relaxed);
        Some(frames)
    }
}

/// What a further channel needs to carry datagrams of a session.
#[derive(Debug, Clone)]
pub(crate) struct Carriage {
    pub(crate) inlet: Inlet,
    pub(crate) outlet: Outlet,
    /// Bytes that have crossed any of the channels.
    pub(crate) bytes: Arc<AtomicU64>,
}

impl Carriage {
    /// Carries datagrams over this channel until it closes or the session ends. Whoever `greets` writes the
    /// preamble; the other one uses the channel when that has come, since before it is a shell's.
    pub(crate) async fn carry<R, W>(self, reader: R, mut writer: W, greets: bool)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (arrived_out, mut arrived) = mpsc::channel(1);
        let reading = read::run(
            reader,
            !greets,
            arrived_out,
            self.inlet.clone(),
            Arc::clone(&self.bytes),
        );
        let reading = tokio::spawn(reading);
        let is_greeted = if greets {
            writer.write_all(&PREAMBLE).await.is_ok()
        } else {
            matches!(arrived.recv().await, Some(Arrived::Preamble { .. }))
        };
        if is_greeted {
            self.write(&mut writer, &mut arrived).await;
        }
        let _ = writer.shutdown().await;
        reading.abort();
    }

    /// Writes what there is, until there is no more or the other end says something.
    async fn write<W>(&self, writer: &mut W, arrived: &mut mpsc::Receiver<Arrived>)
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            let frames = tokio::select! {
                frames = self.outlet.next() => frames,
                // No message has a place here, so this is the end, one way or the other.
                _ = arrived.recv() => None,
            };
            let Some(frames) = frames else { return };
            // What was on its way over a channel that breaks is lost, as on any path.
            if writer.write_all(&frames).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            self.bytes.fetch_add(frames.len() as u64, Relaxed);
        }
    }
}
