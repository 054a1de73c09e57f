//! The control channel: messages over any byte stream, read and written by one task each.
//!
//! The tasks make receiving cancel-safe and keep a peer that does not read from blocking the
//! conversation: the queue towards it is bounded, and a full queue ends the session.

pub(crate) mod read;
mod write;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use haul_wire::control::{Joinable, Message, PREAMBLE, frame};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use zeroize::Zeroizing;

use crate::{Misbehaviour, Phase, TransferError};
use read::Arrived;

use crate::detour::{self, Carriage, Detour, Inlet, Joining, Queue};

/// Messages that may wait for the peer to read.
const QUEUE_DEPTH: usize = 64;
/// Messages read ahead of the conversation.
const READ_AHEAD: usize = 8;
/// Messages about the flow of data that may come before it does; of more, the latest count.
const EARLY_MAX: usize = 16;
/// Until both hellos have been exchanged.
pub(crate) const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Until data flows.
pub(crate) const SETUP_PATIENCE: Duration = Duration::from_secs(30);
/// How long the last words may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// One end of the control conversation.
pub(crate) struct Control {
    arrived: mpsc::Receiver<Arrived>,
    /// What came before its time.
    early: VecDeque<Message>,
    /// `None` once the last words have been said.
    queue: Option<mpsc::Sender<Zeroizing<Vec<u8>>>>,
    /// The way out for datagrams, which must neither hold up the conversation nor fill its queue.
    datagrams: Queue,
    carriage: Carriage,
    detour: Option<Detour>,
    joining: Option<Joining>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
    is_responder: bool,
    /// Whether the other end has been told why this one ends.
    said_why: bool,
    /// Where the conversation is, for errors.
    pub(crate) phase: Phase,
    /// When the last message came.
    pub(crate) heard_at: Instant,
}

/// A message and the exact bytes that carried it, for the transcript.
pub(crate) struct Verbatim {
    pub(crate) message: Message,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Control {
    /// The initiator's end: the peer's preamble is awaited by [`Self::greeting`].
    pub(crate) fn initiator<R, W>(reader: R, writer: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        Self::start(reader, writer, true)
    }

    /// The responder's end: the preamble leaves at once.
    pub(crate) fn responder<R, W>(reader: R, writer: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let control = Self::start(reader, writer, false);
        control
            .enqueue(Zeroizing::new(PREAMBLE.to_vec()))
            .unwrap_or_default();
        control
    }

    fn start<R, W>(reader: R, writer: W, preamble: bool) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (arrived_out, arrived) = mpsc::channel(READ_AHEAD);
        let (queue, queue_in) = mpsc::channel(QUEUE_DEPTH);
        let (datagrams, outlet) = detour::queue();
        let carriage = Carriage {
            inlet: Inlet::default(),
            outlet,
            bytes: Arc::default(),
        };
        Self {
            arrived,
            early: VecDeque::new(),
            queue: Some(queue),
            datagrams,
            detour: None,
            joining: None,
            reader: tokio::spawn(read::run(
                reader,
                preamble,
                arrived_out,
                carriage.inlet.clone(),
                Arc::clone(&carriage.bytes),
            )),
            writer: tokio::spawn(write::run(
                writer,
                queue_in,
                carriage.outlet.clone(),
                Arc::clone(&carriage.bytes),
            )),
            carriage,
            is_responder: !preamble,
            said_why: false,
            phase: Phase::Hello,
            heard_at: Instant::now(),
        }
    }

    /// Waits for the responder's preamble and returns the noise before it.
    ///
    /// # Errors
    /// [`TransferError::RemoteMissing`] when the stream ends without one, and what
    /// [`Self::receive`] returns.
    pub(crate) async fn greeting(&mut self, deadline: Instant) -> Result<Vec<u8>, TransferError> {
        match self.next(deadline, "greeting").await? {
            Arrived::Preamble { noise } => Ok(noise),
            Arrived::Frame(_) => Err(Misbehaviour::Range("greeting").into()),
            Arrived::End(end) => Err(end.into_error(self.phase)),
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`TransferError::ConnectionLost`] when the peer has not read for so long that the queue is
    /// full. A broken stream is no error here: reading tells why it broke.
    pub(crate) fn send(&self, message: &Message) -> Result<(), TransferError> {
        self.send_verbatim(message).map(drop)
    }

    /// Queues a message and returns the exact bytes that carry it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) fn send_verbatim(
        &self,
        message: &Message,
    ) -> Result<Zeroizing<Vec<u8>>, TransferError> {
        let body = Zeroizing::new(message.encode()?);
        self.enqueue(Zeroizing::new(frame(&body)?))?;
        Ok(body)
    }

    /// Tells the other end why this one ends, once, unless it knows or is gone.
    pub(crate) fn say_why(&mut self, error: &TransferError) {
        if std::mem::replace(&mut self.said_why, true) {
            return;
        }
        let words = match error.last_words() {
            Some(Message::Error(fault)) if self.is_responder && self.phase == Phase::Request => {
                Message::Refused(fault)
            }
            Some(other) => other,
            None => return,
        };
        // A peer that does not read cannot be told.
        let _ = self.send(&words);
    }

    /// Says single messages from another thread, as long as the conversation lasts.
    pub(crate) fn messenger(&self) -> impl Fn(&Message) + Send + 'static {
        let queue = self.queue.as_ref().map(mpsc::Sender::downgrade);
        move |message| {
            let queue = queue.as_ref().and_then(mpsc::WeakSender::upgrade);
            if let (Some(queue), Ok(body)) = (queue, message.encode())
                && let Ok(bytes) = frame(&body)
            {
                // What the conversation itself does about a peer that does not read is enough.
                let _ = queue.try_send(Zeroizing::new(bytes));
            }
        }
    }

    /// Says something that may have to wait until the other end has read what was said before.
    ///
    /// # Errors
    /// [`TransferError::ConnectionLost`] when it does not read for so long.
    pub(crate) async fn send_within(
        &self,
        message: &Message,
        patience: Duration,
    ) -> Result<(), TransferError> {
        let bytes = Zeroizing::new(frame(&message.encode()?)?);
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        // That the stream has broken the reading half finds out.
        let sent = timeout(patience, queue.send(bytes)).await;
        sent.map_or_else(|_| Err(self.unread()), |_| Ok(()))
    }

    fn unread(&self) -> TransferError {
        TransferError::ConnectionLost {
            during: self.phase,
            cause: "the other end does not read".to_owned(),
        }
    }

    fn enqueue(&self, bytes: Zeroizing<Vec<u8>>) -> Result<(), TransferError> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        match queue.try_send(bytes) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.unread()),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Keeps a message that the other end, which is further on, said too early; the next
    /// [`Self::receive`] gives it back.
    pub(crate) fn postpone(&mut self, message: Message) {
        if self.early.len() == EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(message);
    }

    /// The next message, whatever it is. Cancel-safe.
    ///
    /// # Errors
    /// [`TransferError::ConnectionLost`] at the end of the stream and
    /// [`TransferError::PeerMisbehaved`] for what does not parse.
    pub(crate) async fn receive(&mut self) -> Result<Message, TransferError> {
        if let Some(message) = self.early.pop_front() {
            return Ok(message);
        }
        let arrived = self.arrived.recv().await;
        self.heard_at = Instant::now();
        match arrived {
            Some(Arrived::Frame(body)) => Ok(Message::decode(&body)?),
            Some(Arrived::Preamble { .. }) => Err(Misbehaviour::Range("greeting").into()),
            Some(Arrived::End(end)) => Err(end.into_error(self.phase)),
            None => Err(read::End::Closed.into_error(self.phase)),
        }
    }

    /// Opens this end of the detour, on this address of this machine itself; `engine` is where datagrams
    /// are awaited, if that is known. Returns where they are to be sent.
    ///
    /// # Errors
    /// What [`Detour::open`] returns.
    pub(crate) fn open_detour(
        &mut self,
        at: IpAddr,
        engine: Option<SocketAddr>,
    ) -> Result<SocketAddr, TransferError> {
        let detour = Detour::open(at, engine, &self.carriage.inlet, self.datagrams.clone())?;
        let address = detour.address();
        self.detour = Some(detour);
        Ok(address)
    }

    /// Lets further channels join, from now on; `None` where the system gives no way to.
    pub(crate) fn let_join(&mut self) -> Option<Joinable> {
        let (joining, joinable) = Joining::open(self.carriage.clone()).ok()?;
        self.joining = Some(joining);
        Some(joinable)
    }

    /// What a further channel needs to carry datagrams of this session.
    pub(crate) fn carriage(&self) -> Carriage {
        self.carriage.clone()
    }

    /// The next message with the bytes that carried it. An `Error`, `Refused` or `Cancel` of the
    /// peer is an error of this function: it may come instead of anything.
    ///
    /// # Errors
    /// What [`Self::receive`] returns, [`TransferError::SetupTimeout`] naming `awaited`,
    /// [`TransferError::Remote`] and [`TransferError::Cancelled`].
    pub(crate) async fn expect(
        &mut self,
        deadline: Instant,
        awaited: &'static str,
    ) -> Result<Verbatim, TransferError> {
        let body = match self.next(deadline, awaited).await? {
            Arrived::Frame(body) => body,
            Arrived::Preamble { .. } => return Err(Misbehaviour::Range("greeting").into()),
            Arrived::End(end) => return Err(end.into_error(self.phase)),
        };
        match Message::decode(&body)? {
            Message::Error(fault) | Message::Refused(fault) => Err(TransferError::remote(fault)),
            Message::Cancel => Err(TransferError::Cancelled { by_peer: true }),
            message => Ok(Verbatim { message, body }),
        }
    }

    async fn next(
        &mut self,
        deadline: Instant,
        awaited: &'static str,
    ) -> Result<Arrived, TransferError> {
        let began = Instant::now();
        let arrived = timeout_at(deadline, self.arrived.recv())
            .await
            .map_err(|_| TransferError::SetupTimeout {
                awaited,
                waited: deadline.saturating_duration_since(began),
            })?;
        self.heard_at = Instant::now();
        Ok(arrived.unwrap_or(Arrived::End(read::End::Closed)))
    }

    /// What a message that has no place here makes of the conversation.
    pub(crate) fn unexpected(&self, message: &Message) -> TransferError {
        Misbehaviour::OutOfOrder {
            got: message.name(),
            during: self.phase,
        }
        .into()
    }

    /// Bytes that crossed the channel so far, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.carriage.bytes.load(Relaxed)
    }

    /// Lets what is queued leave and closes this end of the stream. Nothing can be sent after it.
    pub(crate) async fn finish(&mut self) {
        self.queue = None;
        self.detour = None;
        self.joining = None;
        // A peer that reads no more loses the last words; that is its own doing.
        let _ = timeout_at(Instant::now() + FAREWELL, &mut self.writer).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

#[cfg(test)]
mod tests;
