use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use haul_wire::{
    WireError,
    control::{FRAME_HEADER_LEN, Framed, NOISE_LEN_MAX, PREAMBLE, VERSIONS, datagrams, escaped},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
};
use zeroize::Zeroizing;

use crate::{Misbehaviour, Phase, TransferError, detour::Inlet};

/// Bytes of a preamble before the framing's version.
const MARK: &[u8] = PREAMBLE.split_at(5).0;
/// What a frame's buffer grows by, so that a length alone makes nobody allocate.
const GROWTH: usize = 64 * 1024;
/// What is read at a time: a frame of datagrams and the next one's beginning.
const READ_LEN: usize = 128 * 1024;

/// What the reading task found.
pub(crate) enum Arrived {
    /// The preamble, after this much noise.
    Preamble { noise: Vec<u8> },
    /// The body of one frame.
    Frame(Zeroizing<Vec<u8>>),
    /// Nothing more will come.
    End(End),
}

/// Why nothing more comes.
pub(crate) enum End {
    /// The stream was closed before a preamble came.
    NoPreamble { noise: Vec<u8> },
    /// The preamble is that of another framing.
    Framing { version: u8 },
    /// More noise than is tolerated.
    Noise,
    /// The stream was closed.
    Closed,
    /// The stream broke.
    Broken(io::Error),
    /// A frame of a forbidden length.
    Length(WireError),
}

impl End {
    pub(crate) fn into_error(self, during: Phase) -> TransferError {
        match self {
            Self::NoPreamble { noise } => TransferError::RemoteMissing {
                output: escaped(noise.trim_ascii()),
            },
            Self::Framing { version } => TransferError::VersionMismatch {
                ours: VERSIONS[0].to_string(),
                theirs: version.to_string(),
            },
            Self::Noise => Misbehaviour::Noise.into(),
            Self::Closed => TransferError::ConnectionLost {
                during,
                cause: String::new(),
            },
            Self::Broken(error) => TransferError::ConnectionLost {
                during,
                cause: error.to_string(),
            },
            Self::Length(error) => error.into(),
        }
    }
}

/// Reads until the stream ends, or nobody listens any more.
pub(crate) async fn run<R: AsyncRead + Unpin>(
    reader: R,
    preamble: bool,
    arrived: mpsc::Sender<Arrived>,
    inlet: Inlet,
    bytes: Arc<AtomicU64>,
) {
    let mut reader = BufReader::with_capacity(READ_LEN, reader);
    let end = read(&mut reader, preamble, &arrived, &inlet, &bytes).await;
    // Nobody listening means that nobody cares why it ended.
    let _ = arrived.send(Arrived::End(end)).await;
}

async fn read<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    preamble: bool,
    arrived: &mpsc::Sender<Arrived>,
    inlet: &Inlet,
    bytes: &AtomicU64,
) -> End {
    if preamble {
        let noise = match skip_noise(reader).await {
            Ok(noise) => noise,
            Err(end) => return end,
        };
        bytes.fetch_add((noise.len() + PREAMBLE.len()) as u64, Relaxed);
        if arrived.send(Arrived::Preamble { noise }).await.is_err() {
            return End::Closed;
        }
    }
    // Datagrams are sealed: there is nothing in them to wipe, and no need for a new buffer.
    let mut scratch = Vec::new();
    loop {
        let read = read_frame(reader, arrived, inlet, &mut scratch).await;
        match read {
            Ok(len) => bytes.fetch_add((FRAME_HEADER_LEN + len) as u64, Relaxed),
            Err(end) => return end,
        };
    }
}

/// Reads up to and including the preamble and returns what came before it.
async fn skip_noise<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> Result<Vec<u8>, End> {
    let mut seen = Vec::new();
    loop {
        match reader.read_u8().await {
            Ok(byte) => seen.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(End::NoPreamble { noise: seen });
            }
            Err(error) => return Err(End::Broken(error)),
        }
        let noise_len = seen.len().saturating_sub(PREAMBLE.len());
        let tail = &seen[noise_len..];
        if tail == PREAMBLE {
            seen.truncate(noise_len);
            return Ok(seen);
        }
        if let [mark @ .., version, b'\n'] = tail
            && mark == MARK
        {
            return Err(End::Framing { version: *version });
        }
        if noise_len >= NOISE_LEN_MAX {
            return Err(End::Noise);
        }
    }
}

/// Reads the next frame and takes it where it belongs; how long its body was.
async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    arrived: &mpsc::Sender<Arrived>,
    inlet: &Inlet,
    scratch: &mut Vec<u8>,
) -> Result<usize, End> {
    let mut header = [0; FRAME_HEADER_LEN];
    reader.read_exact(&mut header).await.map_err(at_end)?;
    match Framed::of(header).map_err(End::Length)? {
        Framed::Padding => Ok(0),
        Framed::Message(len) => {
            let mut body = Zeroizing::new(Vec::new());
            read_body(reader, &mut body, len).await?;
            let sent = arrived.send(Arrived::Frame(body)).await;
            sent.map(|()| len).map_err(|_| End::Closed)
        }
        Framed::Datagrams(len) => {
            read_body(reader, scratch, len).await?;
            let (stride, bytes) = datagrams(scratch).map_err(End::Length)?;
            inlet.deliver(stride, bytes);
            Ok(len)
        }
    }
}

async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    body: &mut Vec<u8>,
    len: usize,
) -> Result<(), End> {
    body.truncate(len);
    let mut have = 0;
    while have < len {
        let next = len.min(have + GROWTH);
        body.resize(next.max(body.len()), 0);
        reader
            .read_exact(&mut body[have..next])
            .await
            .map_err(at_end)?;
        have = next;
    }
    Ok(())
}

fn at_end(error: io::Error) -> End {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        End::Closed
    } else {
        End::Broken(error)
    }
}
