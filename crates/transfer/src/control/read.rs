use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use haul_wire::{
    WireError,
    control::{FRAME_HEADER_LEN, NOISE_LEN_MAX, PADDING, PREAMBLE, VERSIONS, escaped, frame_len},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
};
use zeroize::Zeroizing;

use crate::{Misbehaviour, Phase, TransferError};

/// Bytes of a preamble before the framing's version.
const MARK: &[u8] = PREAMBLE.split_at(5).0;
/// What a frame's buffer grows by, so that a length alone makes nobody allocate.
const GROWTH: usize = 64 * 1024;

/// What the reading task found.
pub(super) enum Arrived {
    /// The preamble, after this much noise.
    Preamble { noise: Vec<u8> },
    /// The body of one frame.
    Frame(Zeroizing<Vec<u8>>),
    /// Nothing more will come.
    End(End),
}

/// Why nothing more comes.
pub(super) enum End {
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
    pub(super) fn into_error(self, during: Phase) -> TransferError {
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
pub(super) async fn run<R: AsyncRead + Unpin>(
    reader: R,
    preamble: bool,
    arrived: mpsc::Sender<Arrived>,
    bytes: Arc<AtomicU64>,
) {
    let mut reader = BufReader::new(reader);
    let end = read(&mut reader, preamble, &arrived, &bytes).await;
    // Nobody listening means that nobody cares why it ended.
    let _ = arrived.send(Arrived::End(end)).await;
}

async fn read<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    preamble: bool,
    arrived: &mpsc::Sender<Arrived>,
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
    loop {
        let body = match read_frame(reader).await {
            Ok(body) => body,
            Err(end) => return end,
        };
        let body_len = body.as_ref().map_or(0, |body| body.len());
        bytes.fetch_add((FRAME_HEADER_LEN + body_len) as u64, Relaxed);
        if let Some(body) = body
            && arrived.send(Arrived::Frame(body)).await.is_err()
        {
            return End::Closed;
        }
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

/// The body of the next frame; `None` for padding.
async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
) -> Result<Option<Zeroizing<Vec<u8>>>, End> {
    let mut header = [0; FRAME_HEADER_LEN];
    reader.read_exact(&mut header).await.map_err(at_end)?;
    if header == PADDING {
        return Ok(None);
    }
    let len = frame_len(header).map_err(End::Length)?;
    let mut body = Zeroizing::new(Vec::new());
    while body.len() < len {
        let have = body.len();
        body.resize(len.min(have + GROWTH), 0);
        reader.read_exact(&mut body[have..]).await.map_err(at_end)?;
    }
    Ok(Some(body))
}

fn at_end(error: io::Error) -> End {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        End::Closed
    } else {
        End::Broken(error)
    }
}
